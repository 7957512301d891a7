-- Stock of the SKUs in $1 at location $2; due is what of held belongs to nobody.
WITH due AS MATERIALIZED (
    SELECT sku, sum(quantity)::bigint AS units FROM due_allocation WHERE sku = ANY ($1) AND location = $2 GROUP BY sku)
SELECT level_json(s) || jsonb_build_object('due', coalesce(d.units, 0))
FROM stock s LEFT JOIN due d ON d.sku = s.sku
WHERE s.sku = ANY ($1) AND s.location = $2
ORDER BY s.sku
