-- Lower numbers of the shop's own that wait and limit what is offered at a location: $1 connection, $2 location. What is there, reservation knows.
SELECT vendor_sku, sku, NULL::bigint, NULL::bigint, new_units
FROM quarantined
WHERE connection = $1 AND location = $2 AND state = 'PENDING' AND is_limited
