-- Postgres's clock, holds past their time, the oldest first: $1 how many at most, and when the oldest one's time was over.
SELECT jsonb_build_object(
    'now', micros(clock_timestamp()),
    'oldest', (SELECT micros(r.expires_at) FROM reservation r
               WHERE r.state = 'HELD' AND r.expires_at <= statement_timestamp() ORDER BY r.expires_at LIMIT 1),
    'due', (SELECT coalesce(jsonb_agg(d.id), '[]')
            FROM (SELECT r.id FROM reservation r
                  WHERE r.state = 'HELD' AND r.expires_at <= statement_timestamp()
                  ORDER BY r.expires_at LIMIT $1) d))
