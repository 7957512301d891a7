-- Creates offers, in one order for all callers, so that two batches never wait for each other: $1 vendors, $2 locations, $3 vendor codes, $4 SKUs, $5 pack
-- sizes. Answers the SKUs of those that are new; those that exist are left as they are.
INSERT INTO offer (vendor, location, vendor_sku, sku, pack_size)
SELECT vendor, location, vendor_sku, sku, pack_size
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::integer[]) AS asked (vendor, location, vendor_sku, sku, pack_size)
ORDER BY vendor COLLATE "C", location COLLATE "C", vendor_sku COLLATE "C"
ON CONFLICT (vendor, location, vendor_sku) DO NOTHING
RETURNING sku
