-- Says that a run of connection $1 at location $2, as of ($3 micros, $4), was applied whole, that numbers are promised every $5 micros (null: never), that its clock may
-- be $6 micros from ours, and that it reflects an order $7 micros after it was sent at the latest (null: never without evidence). A run that is older than the last
-- one changes nothing; the last one said again may promise anew.
INSERT INTO feed AS f (connection, location, as_of, sequence, promised_interval, clock_margin, reflection_lag)
VALUES ($1, $2, from_micros($3), $4, $5, $6, $7)
ON CONFLICT (connection) DO UPDATE
SET location = excluded.location, as_of = excluded.as_of, sequence = excluded.sequence, promised_interval = excluded.promised_interval,
    clock_margin = excluded.clock_margin, reflection_lag = excluded.reflection_lag
WHERE (f.as_of, f.sequence) <= (excluded.as_of, excluded.sequence)
