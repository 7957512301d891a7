-- Marks a run of connection $1, as of ($2 micros, $3), as one that says something of all the connection's rows, unless a newer one is.
INSERT INTO mark AS m (connection, as_of, sequence)
VALUES ($1, from_micros($2), $3)
ON CONFLICT (connection) DO UPDATE SET as_of = excluded.as_of, sequence = excluded.sequence
WHERE (m.as_of, m.sequence) < (excluded.as_of, excluded.sequence)
