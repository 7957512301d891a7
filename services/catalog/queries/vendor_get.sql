-- A vendor by its code.
SELECT code, name, create_time FROM vendor WHERE code = $1
