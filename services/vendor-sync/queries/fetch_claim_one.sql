-- Takes a connection to look at its folder or address now, unless somebody does: $1 code, $2 the holder, $3 for how many seconds.
UPDATE connection
SET fetch_holder = $2, fetch_until = clock_timestamp() + make_interval(secs => $3::double precision)
WHERE code = $1 AND (fetch_until IS NULL OR fetch_until < clock_timestamp())
