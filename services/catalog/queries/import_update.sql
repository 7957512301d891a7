-- Brings SKUs, locked by import_differing.sql, to what the file says: $1 attempt, $2 codes.
UPDATE sku SET
    name = coalesce(import_row.name, sku.name),
    gtin = CASE WHEN import_row.gtin_given THEN import_row.gtin ELSE sku.gtin END,
    attributes = (sku.attributes - import_row.removed) || import_row.attributes,
    policy = (sku.policy - import_row.policy_removed) || import_row.policy,
    version = sku.version + 1,
    update_time = now()
FROM import_row
WHERE import_row.import_id = $1 AND import_row.code = ANY ($2::text[]) AND sku.code = ANY ($2::text[])
    AND sku.code = import_row.code
