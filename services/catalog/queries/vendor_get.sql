-- A vendor by its code.
SELECT code, name, version, create_time, update_time FROM vendor WHERE code = $1
