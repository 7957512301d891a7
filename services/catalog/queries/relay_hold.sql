-- Takes or keeps the lease of a destination: $1 destination, $2 process, $3 seconds. Answers the cursor; no row: another process has it.
UPDATE relay SET holder = $2, lease_end = clock_timestamp() + make_interval(secs => $3::double precision)
WHERE destination = $1 AND (holder = $2 OR lease_end < clock_timestamp())
RETURNING cursor
