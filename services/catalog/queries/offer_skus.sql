-- The SKUs of offers: $1 vendors, $2 locations, $3 vendor codes.
SELECT DISTINCT offer.sku
FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (vendor, location, vendor_sku)
JOIN offer USING (vendor, location, vendor_sku)
