-- The codes after one: $1 the code, $2 rows.
SELECT code FROM sku WHERE code > $1 ORDER BY code LIMIT $2
