-- Says that the holder still works on the connection: $1 code, $2 holder, $3 for how many seconds. No row affected: another one took over.
UPDATE connection
SET lease_until = clock_timestamp() + make_interval(secs => $3::double precision)
WHERE code = $1 AND lease_holder = $2
