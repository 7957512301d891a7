-- What can be reserved of rows of stock after ($1, $2), at most $3 rows, only of the SKUs in $4 unless that is empty; holds that are over still count, until the
-- sweep has changed the row's version.
SELECT s.sku, s.location, available_of(s, 0), s.version
FROM stock s
WHERE (s.sku, s.location) > ($1, $2) AND (cardinality($4::text[]) = 0 OR s.sku = ANY ($4))
ORDER BY s.sku, s.location LIMIT $3
