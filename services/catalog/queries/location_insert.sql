-- Creates a location: $1 code, $2 name, $3 vendor or NULL. No row: the code exists. Violates location_vendor_fkey when the vendor is unknown.
INSERT INTO location (code, name, vendor) VALUES ($1, $2, $3)
ON CONFLICT (code) DO NOTHING
RETURNING code, name, vendor, version, create_time, update_time
