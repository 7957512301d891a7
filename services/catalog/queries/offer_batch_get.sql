-- A vendor's offers at a location: $1 vendor, $2 location, $3 vendor codes, each once. In the order asked for.
SELECT offer.vendor, offer.location, offer.vendor_sku, offer.sku, offer.pack_size, offer.create_time
FROM unnest($3::text[]) WITH ORDINALITY AS asked (vendor_sku, position)
JOIN offer ON offer.vendor = $1 AND offer.location = $2 AND offer.vendor_sku = asked.vendor_sku
ORDER BY asked.position
