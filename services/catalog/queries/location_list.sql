-- A page of locations: $1 the last code of the page before, $2 rows.
SELECT code, name, vendor, version, create_time, update_time FROM location WHERE code > $1 ORDER BY code LIMIT $2
