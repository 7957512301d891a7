-- Creates a vendor: $1 code, $2 name. No row: the code exists.
INSERT INTO vendor (code, name) VALUES ($1, $2)
ON CONFLICT (code) DO NOTHING
RETURNING code, name, version, create_time, update_time
