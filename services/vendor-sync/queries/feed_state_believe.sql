-- Keeps what a code said after a person believed it: $1 quarantined number, $2 whether reservation had a newer count: then only if the code is still known.
INSERT INTO feed_state (connection, vendor_sku, sku, units, quantity, as_of, sequence)
SELECT connection, vendor_sku, sku, decided_units, CASE WHEN decided_units % pack_size = 0 THEN decided_units / pack_size END, as_of, sequence
FROM quarantined
WHERE quarantine_id = $1 AND (NOT $2 OR EXISTS (
    SELECT FROM feed_state AS known WHERE known.connection = quarantined.connection AND known.vendor_sku = quarantined.vendor_sku
))
ON CONFLICT (connection, vendor_sku) DO UPDATE
SET sku = excluded.sku, units = excluded.units, quantity = excluded.quantity, as_of = excluded.as_of, sequence = excluded.sequence
WHERE (feed_state.as_of, feed_state.sequence) <= (excluded.as_of, excluded.sequence)
