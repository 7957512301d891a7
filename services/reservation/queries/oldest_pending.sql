-- How many SKUs are paused, and for how long, in microseconds, the oldest committed units of which something is known at the vendor have waited for a count that
-- reflects them.
SELECT (SELECT count(*) FROM selling WHERE paused_at IS NOT NULL),
       (SELECT greatest(0, micros(statement_timestamp()) - micros(p.known_at)) FROM progress p WHERE p.is_pending ORDER BY p.known_at LIMIT 1)
