-- What is known of codes: $1 vendor, $2 location, $3 the vendor's codes.
SELECT offer.vendor_sku, offer.sku, offer.pack_size, sku_offers.archived
FROM offer
JOIN sku_offers ON sku_offers.sku = offer.sku
WHERE offer.vendor = $1 AND offer.location = $2 AND offer.vendor_sku = ANY($3::text[])
