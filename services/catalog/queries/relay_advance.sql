-- Moves the cursor of a destination, and keeps its lease: $1 destination, $2 process, $3 seconds, $4 cursor or NULL. No row affected: another process has it.
UPDATE relay SET cursor = $4, update_time = clock_timestamp(), lease_end = clock_timestamp() + make_interval(secs => $3::double precision)
WHERE destination = $1 AND holder = $2
