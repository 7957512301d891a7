-- Stores adjustments that a guard stopped, as one: $1 id, $2 SKU that was stopped, $3 its location, $4 the change as it was written, $5 units before, $6 units
-- after, $7 rules, $8 explanation, $9 exposure, $10 who, $11 why, $12 the request.
INSERT INTO quarantined
    (quarantine_id, kind, connection, vendor_sku, sku, location, raw_quantity, old_units, new_units, rules, explanation, exposure, as_of, sequence, typed_by,
     typed_note, adjustments)
VALUES ($1, 'ADJUSTMENT', 'house', $2, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp(), 0, $10, $11, $12)
