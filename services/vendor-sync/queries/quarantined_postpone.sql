-- Puts the carrying out of a decision off: $1 id, $2 seconds.
UPDATE quarantined
SET attempts = attempts + 1, next_attempt_time = clock_timestamp() + make_interval(secs => $2::double precision)
WHERE quarantine_id = $1 AND done_time IS NULL
