-- Locks a location for a change of it: $1 code. No row: there is none.
SELECT code, name, vendor, version, create_time, update_time FROM location WHERE code = $1 FOR NO KEY UPDATE
