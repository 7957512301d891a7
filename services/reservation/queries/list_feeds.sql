-- Feeds after connection $1, at most $2, and Postgres's clock.
SELECT jsonb_build_object('connection', f.connection, 'location', f.location, 'as_of', micros(f.as_of), 'sequence', f.sequence,
                          'promised_interval', f.promised_interval, 'now', micros(statement_timestamp()))
FROM feed f WHERE f.connection > $1 ORDER BY f.connection LIMIT $2
