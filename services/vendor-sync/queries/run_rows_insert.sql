-- Stores rows of a report: $1 run, $2 ordinals, $3 lines, $4 codes, $5 quantities as they stand, $6 SKUs, $7 units, $8 fates, $9 notes, $10 numbers in the
-- vendor's units, $11 quarantined numbers.
INSERT INTO run_row (run_id, ordinal, line, vendor_sku, raw_quantity, sku, units, fate, note, quantity, quarantine_id)
SELECT $1, ordinal, line, vendor_sku, raw_quantity, sku, units, fate, note, quantity, quarantine_id
FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[], $9::text[], $10::bigint[], $11::uuid[])
    AS row (ordinal, line, vendor_sku, raw_quantity, sku, units, fate, note, quantity, quarantine_id)
