-- Postgres's clock and holds past their time, the oldest first: $1 how many at most.
SELECT jsonb_build_object(
    'now', micros(clock_timestamp()),
    'due', (SELECT coalesce(jsonb_agg(d.id), '[]')
            FROM (SELECT r.id FROM reservation r
                  WHERE r.state = 'HELD' AND r.expires_at <= statement_timestamp()
                  ORDER BY r.expires_at LIMIT $1) d))
