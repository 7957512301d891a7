-- What the codes of a connection said last, and lower numbers of theirs that wait and limit what is offered: $1 connection.
SELECT feed_state.vendor_sku, feed_state.sku, feed_state.units, feed_state.quantity, waiting.new_units
FROM feed_state
LEFT JOIN LATERAL (
    SELECT pending.new_units FROM quarantined AS pending
    WHERE pending.connection = feed_state.connection AND pending.vendor_sku = feed_state.vendor_sku AND pending.sku = feed_state.sku
      AND pending.state = 'PENDING' AND pending.is_limited
    ORDER BY pending.new_units LIMIT 1
) AS waiting ON true
WHERE feed_state.connection = $1
