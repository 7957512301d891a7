-- A page of a vendor's offers: $1 vendor, $2 and $3 location and vendor code of the last offer of the page before, $4 rows.
SELECT vendor, location, vendor_sku, sku, pack_size, create_time
FROM offer
WHERE vendor = $1 AND (location, vendor_sku) > ($2, $3)
ORDER BY location, vendor_sku
LIMIT $4
