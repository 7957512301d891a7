-- A page of stock after ($1, $2), at most $4 rows, only of location $3 unless that is empty; due is what of held belongs to nobody.
WITH due AS MATERIALIZED (
    SELECT sku, location, sum(quantity)::bigint AS units FROM due_allocation GROUP BY sku, location)
SELECT level_json(s) || jsonb_build_object('due', coalesce(d.units, 0))
FROM stock s LEFT JOIN due d ON d.sku = s.sku AND d.location = s.location
WHERE (s.sku, s.location) > ($1, $2) AND ($3 = '' OR s.location = $3)
ORDER BY s.sku, s.location LIMIT $4
