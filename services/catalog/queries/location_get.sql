-- A location by its code.
SELECT code, name, vendor, version, create_time, update_time FROM location WHERE code = $1
