-- Creates the SKUs of a slice that do not exist, in the order of their codes as every import does: $1 attempt, $2 the last code of the slice before, $3 the
-- slice's last code. A row with a backorder limit and no locations is for a SKU that exists: import_unlocated.sql dropped the others.
INSERT INTO sku (code, name, gtin, attributes, policy)
SELECT code, coalesce(name, ''), gtin, attributes, policy
FROM import_row
WHERE import_id = $1 AND code > $2 AND code <= $3 AND (policy ? 'locations' OR NOT policy ? 'backorder_limit')
ORDER BY code
ON CONFLICT (code) DO NOTHING
