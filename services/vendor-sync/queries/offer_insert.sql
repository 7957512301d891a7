-- Adds SKUs' offers, in the transaction that dropped the ones before: $1 SKUs, $2 vendors, $3 locations, $4 vendor's codes, $5 pack sizes.
INSERT INTO offer (sku, vendor, location, vendor_sku, pack_size)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
