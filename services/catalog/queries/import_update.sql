-- Brings SKUs, locked by import_differing.sql, to what the file says: $1 attempt, $2 codes, $3 whether the file has names, $4 whether it has GTINs, $5 the
-- attributes that it has.
UPDATE sku SET
    name = CASE WHEN $3::boolean THEN import_row.name ELSE sku.name END,
    gtin = CASE WHEN $4::boolean THEN import_row.gtin ELSE sku.gtin END,
    attributes = (sku.attributes - $5::text[]) || import_row.attributes,
    version = sku.version + 1,
    update_time = now()
FROM import_row
WHERE import_row.import_id = $1 AND import_row.code = ANY ($2::text[]) AND sku.code = ANY ($2::text[])
    AND sku.code = import_row.code
