-- The counts of a request: $1 run, $2 batch. Without those that reservation did not accept.
SELECT sku, units, effect, expected_on_hand FROM run_count WHERE run_id = $1 AND batch = $2 AND outcome = 'PENDING' ORDER BY sku
