-- A page of paused SKUs after $1, at most $2.
SELECT selling_json(g) FROM selling g WHERE g.sku > $1 AND g.paused_at IS NOT NULL ORDER BY g.sku LIMIT $2
