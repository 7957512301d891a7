-- What the codes of a connection said last, and lower numbers of theirs that wait and limit what is offered: $1 connection.
SELECT feed_state.vendor_sku, feed_state.sku, feed_state.units, feed_state.quantity, waiting.new_units
FROM feed_state
LEFT JOIN quarantined AS waiting
  ON waiting.connection = feed_state.connection AND waiting.vendor_sku = feed_state.vendor_sku AND waiting.sku = feed_state.sku
 AND waiting.state = 'PENDING' AND waiting.is_limited
WHERE feed_state.connection = $1
