-- Locks a SKU for a change of it: $1 code. No row: there is none.
SELECT code, name, gtin, attributes, policy, archive_time, version, create_time, update_time
FROM sku
WHERE code = $1
FOR NO KEY UPDATE
