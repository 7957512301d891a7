-- Stores the counts of a request: $1 run, $2 batch, $3 SKUs, $4 units, $5 rows, $6 effects.
INSERT INTO run_count (run_id, batch, sku, units, rows, effect)
SELECT $1, $2, sku, units, rows, effect
FROM unnest($3::text[], $4::bigint[], $5::integer[], $6::text[]) AS count (sku, units, rows, effect)
