-- Stores the counts of a request: $1 run, $2 batch, $3 SKUs, $4 units, $5 rows, $6 effects, $7 what must be on hand or NULL.
INSERT INTO run_count (run_id, batch, sku, units, rows, effect, expected_on_hand)
SELECT $1, $2, sku, units, rows, effect, expected_on_hand
FROM unnest($3::text[], $4::bigint[], $5::integer[], $6::text[], $7::bigint[]) AS count (sku, units, rows, effect, expected_on_hand)
