-- Creates a run, in the transaction that took its number and with it the connection's lock: $1 run, $2 connection, $3 number, $4 as_of, $5 file name,
-- $6 SHA-256, $7 bytes, $8 how it came, $9 location or NULL, $10 who typed it, $11 why. Its sequence follows those of the same as_of.
INSERT INTO run
    (run_id, connection, number, as_of, sequence, file_name, content_sha256, content_bytes, create_time, next_attempt_time, origin, location, typed_by,
     typed_note)
SELECT $1, $2, $3, $4, (SELECT count(*) FROM run WHERE connection = $2 AND as_of = $4), $5, $6, $7, clock_timestamp(), clock_timestamp(), $8, $9, $10, $11
