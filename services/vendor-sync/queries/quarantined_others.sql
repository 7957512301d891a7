-- What the other codes of a number's SKU count: $1 id. Units, and a lower number that waits.
SELECT feed_state.units, waiting.new_units
FROM quarantined
JOIN feed_state ON feed_state.connection = quarantined.connection AND feed_state.sku = quarantined.sku AND feed_state.vendor_sku <> quarantined.vendor_sku
LEFT JOIN LATERAL (
    SELECT pending.new_units FROM quarantined AS pending
    WHERE pending.connection = feed_state.connection AND pending.vendor_sku = feed_state.vendor_sku AND pending.sku = feed_state.sku
      AND pending.state = 'PENDING' AND pending.is_limited
    ORDER BY pending.new_units LIMIT 1
) AS waiting ON true
WHERE quarantined.quarantine_id = $1 AND quarantined.connection <> 'house' AND feed_state.units IS NOT NULL
