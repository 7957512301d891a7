-- A page of a SKU's offers: $1 SKU, $2 to $4 vendor, location and vendor code of the last offer of the page before, $5 only this vendor's or NULL, $6 rows.
SELECT vendor, location, vendor_sku, sku, pack_size, create_time
FROM offer
WHERE sku = $1 AND (vendor, location, vendor_sku) > ($2, $3, $4) AND ($5::text IS NULL OR vendor = $5)
ORDER BY vendor, location, vendor_sku
LIMIT $6
