-- A page of vendors: $1 the last code of the page before, $2 rows.
SELECT code, name, version, create_time, update_time FROM vendor WHERE code > $1 ORDER BY code LIMIT $2
