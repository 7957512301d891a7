-- A page of SKUs: $1 the last code of the page before, $2 the least code wanted, $3 the least code past those wanted or NULL, $4 rows.
SELECT code, name, gtin, attributes, version, create_time, update_time
FROM sku
WHERE code > $1 AND code >= $2 AND ($3::text IS NULL OR code < $3)
ORDER BY code
LIMIT $4
