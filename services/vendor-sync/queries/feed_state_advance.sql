-- Keeps what the codes of a run said: $1 run, $2 connection, $3 as_of, $4 sequence, $5 whether the file says something of every code: then a code that says the same
-- as before is not written, for the connection knows as of when it is. What reservation did not accept is not kept. A code that no offer maps
-- any more keeps its SKU, so that the SKU loses the units when the code goes. A later word stands.
INSERT INTO feed_state (connection, vendor_sku, sku, units, quantity, as_of, sequence)
SELECT DISTINCT ON (run_row.vendor_sku)
       $2, run_row.vendor_sku, run_count.sku, CASE WHEN run_count.sku IS NOT NULL THEN run_row.units END,
       CASE WHEN run_count.sku IS NOT NULL THEN run_row.quantity END, $3, $4
FROM run_row
LEFT JOIN run_count ON run_count.run_id = run_row.run_id AND run_count.sku = run_row.sku
WHERE run_row.run_id = $1 AND run_row.line > 0 AND run_row.fate IN ('COUNTED', 'UNMAPPED')
  AND (run_count.outcome IS NULL OR run_count.outcome NOT IN ('REJECTED', 'CONFLICT'))
  AND NOT ($5 AND EXISTS (
      SELECT FROM feed_state AS known
      WHERE known.connection = $2 AND known.vendor_sku = run_row.vendor_sku AND known.sku = run_count.sku
        AND known.units = run_row.units AND known.quantity IS NOT DISTINCT FROM run_row.quantity
        AND (known.as_of, known.sequence) < ($3, $4)))
ORDER BY run_row.vendor_sku
ON CONFLICT (connection, vendor_sku) DO UPDATE
SET sku = coalesce(excluded.sku, feed_state.sku),
    units = CASE WHEN excluded.sku IS NULL THEN feed_state.units ELSE excluded.units END,
    quantity = CASE WHEN excluded.sku IS NULL THEN feed_state.quantity ELSE excluded.quantity END,
    as_of = excluded.as_of, sequence = excluded.sequence
WHERE (feed_state.as_of, feed_state.sequence) < (excluded.as_of, excluded.sequence)
