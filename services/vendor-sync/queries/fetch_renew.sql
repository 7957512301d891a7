-- Says that the holder still looks: $1 code, $2 holder, $3 for how many seconds.
UPDATE connection
SET fetch_until = clock_timestamp() + make_interval(secs => $3::double precision)
WHERE code = $1 AND fetch_holder = $2
