-- Stock of the SKUs in $1 at every location; due is what of held belongs to nobody.
WITH due AS MATERIALIZED (
    SELECT sku, location, sum(quantity)::bigint AS units FROM due_allocation WHERE sku = ANY ($1) GROUP BY sku, location)
SELECT level_json(s) || jsonb_build_object('due', coalesce(d.units, 0))
FROM stock s LEFT JOIN due d ON d.sku = s.sku AND d.location = s.location
WHERE s.sku = ANY ($1)
ORDER BY s.sku, s.location
