-- Says that a run of connection $1 at location $2, as of ($3 micros, $4), was applied whole, that numbers are promised every $5 micros (null: never), and whether the
-- run said something of all rows ($6). A run that is not newer than the last one changes nothing.
INSERT INTO feed AS f (connection, location, as_of, sequence, covered_as_of, covered_sequence, promised_interval)
VALUES ($1, $2, from_micros($3), $4, CASE WHEN $6 THEN from_micros($3) END, CASE WHEN $6 THEN $4::bigint END, $5)
ON CONFLICT (connection) DO UPDATE
SET location = excluded.location, as_of = excluded.as_of, sequence = excluded.sequence, promised_interval = excluded.promised_interval,
    covered_as_of = coalesce(excluded.covered_as_of, f.covered_as_of), covered_sequence = coalesce(excluded.covered_sequence, f.covered_sequence)
WHERE (f.as_of, f.sequence) < (excluded.as_of, excluded.sequence)
