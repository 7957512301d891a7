-- What the other codes of a number's SKU count: $1 id. Units, and a lower number that waits.
SELECT feed_state.units, waiting.new_units
FROM quarantined
JOIN feed_state ON feed_state.connection = quarantined.connection AND feed_state.sku = quarantined.sku AND feed_state.vendor_sku <> quarantined.vendor_sku
LEFT JOIN quarantined AS waiting
  ON waiting.connection = feed_state.connection AND waiting.vendor_sku = feed_state.vendor_sku AND waiting.sku = feed_state.sku
 AND waiting.state = 'PENDING' AND waiting.is_limited
WHERE quarantined.quarantine_id = $1 AND quarantined.connection <> 'house' AND feed_state.units IS NOT NULL
