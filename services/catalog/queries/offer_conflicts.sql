-- Offers that exist with other content than asked for: $1 to $5 as in offer_insert.sql, $6 at most so many.
SELECT offer.vendor, offer.location, offer.vendor_sku, offer.sku, offer.pack_size, offer.create_time
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::integer[]) AS asked (vendor, location, vendor_sku, sku, pack_size)
JOIN offer USING (vendor, location, vendor_sku)
WHERE (offer.sku, offer.pack_size) <> (asked.sku, asked.pack_size)
ORDER BY offer.vendor, offer.location, offer.vendor_sku
LIMIT $6
