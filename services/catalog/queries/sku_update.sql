-- Changes a SKU, locked by sku_lock.sql: $1 code, $2 name, $3 GTIN, $4 attributes, $5 policy, $6 whether it is archived. A trigger logs the change.
UPDATE sku SET
    name = $2,
    gtin = $3,
    attributes = $4,
    policy = $5,
    archive_time = CASE WHEN $6::boolean THEN coalesce(archive_time, now()) END,
    version = version + 1,
    update_time = now()
WHERE code = $1
RETURNING code, name, gtin, attributes, policy, archive_time, version, create_time, update_time
