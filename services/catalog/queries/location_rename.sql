-- Gives a location another name: $1 code, $2 name.
UPDATE location SET name = $2, version = version + 1, update_time = now() WHERE code = $1
RETURNING code, name, vendor, version, create_time, update_time
