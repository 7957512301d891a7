-- The codes after one of SKUs of which reservation may know: $1 the code, $2 rows.
SELECT code FROM sku WHERE restricted AND code > $1 ORDER BY code LIMIT $2
