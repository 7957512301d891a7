-- A page of all offers: $1 to $3 vendor, location and vendor code of the last offer of the page before, $4 rows.
SELECT vendor, location, vendor_sku, sku, pack_size, create_time
FROM offer
WHERE (vendor, location, vendor_sku) > ($1, $2, $3)
ORDER BY vendor, location, vendor_sku
LIMIT $4
