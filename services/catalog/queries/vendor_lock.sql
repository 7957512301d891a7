-- Locks a vendor for a change of it: $1 code. No row: there is none.
SELECT code, name, version, create_time, update_time FROM vendor WHERE code = $1 FOR NO KEY UPDATE
