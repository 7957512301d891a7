-- Creates a SKU: $1 code, $2 name, $3 GTIN, $4 attributes. No row: the code exists.
INSERT INTO sku (code, name, gtin, attributes) VALUES ($1, $2, $3, $4)
ON CONFLICT (code) DO NOTHING
RETURNING code, name, gtin, attributes, version, create_time, update_time
