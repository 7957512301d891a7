-- A location by its code.
SELECT code, name, vendor, create_time FROM location WHERE code = $1
