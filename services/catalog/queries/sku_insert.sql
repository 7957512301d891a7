-- Creates a SKU: $1 code, $2 name, $3 GTIN, $4 attributes, $5 policy. No row: the code exists.
INSERT INTO sku (code, name, gtin, attributes, policy) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (code) DO NOTHING
RETURNING code, name, gtin, attributes, policy, archive_time, version, create_time, update_time
