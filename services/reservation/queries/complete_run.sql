-- Says that a run of connection $1 at location $2, as of ($3 micros, $4), was applied whole, and that numbers are promised every $5 micros (null: never). A run that
-- is older than the last one changes nothing; the last one said again may promise anew.
INSERT INTO feed AS f (connection, location, as_of, sequence, promised_interval)
VALUES ($1, $2, from_micros($3), $4, $5)
ON CONFLICT (connection) DO UPDATE
SET location = excluded.location, as_of = excluded.as_of, sequence = excluded.sequence, promised_interval = excluded.promised_interval
WHERE (f.as_of, f.sequence) <= (excluded.as_of, excluded.sequence)
