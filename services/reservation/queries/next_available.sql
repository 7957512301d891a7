-- What the next $2 rows of stock after SKU $1 have, in the order of SKU and location, due holds not counted: the reconciler's way through everything.
WITH due AS MATERIALIZED (
    SELECT sku, location, sum(quantity)::bigint AS units FROM due_allocation WHERE sku > $1 GROUP BY sku, location)
SELECT jsonb_build_object(
    'read_at', micros(statement_timestamp()), 'records', '[]'::jsonb,
    'available', (SELECT coalesce(jsonb_agg(jsonb_build_array(n.sku, n.location, available_of(n.row, coalesce(d.units, 0))) ORDER BY n.sku, n.rank, n.location), '[]')
                  FROM (SELECT s.sku, s.location, s.rank, s AS row
                        FROM stock s WHERE s.sku > $1 ORDER BY s.sku, s.location LIMIT $2) n
                  LEFT JOIN due d ON d.sku = n.sku AND d.location = n.location))
