-- Takes a connection whose folder or address is due to be looked at and that nobody looks at: $1 the holder, $2 for how many seconds, $3 whether folders can be
-- reached from here. No row: there is none. SKIP LOCKED, because every replica asks.
UPDATE connection
SET fetch_holder = $1, fetch_until = clock_timestamp() + make_interval(secs => $2::double precision)
WHERE code = (
    SELECT code
    FROM connection
    WHERE (drop_path IS NOT NULL OR pull_url IS NOT NULL) AND ($3 OR drop_path IS NULL)
      AND fetch_due <= clock_timestamp()
      AND (fetch_until IS NULL OR fetch_until < clock_timestamp())
    ORDER BY fetch_due
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING code
