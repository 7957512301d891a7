-- Removes offers, whose SKUs are locked: $1 vendors, $2 locations, $3 vendor codes. Answers the SKU of each that there was.
DELETE FROM offer
USING unnest($1::text[], $2::text[], $3::text[]) AS asked (vendor, location, vendor_sku)
WHERE offer.vendor = asked.vendor AND offer.location = asked.location AND offer.vendor_sku = asked.vendor_sku
RETURNING offer.sku
