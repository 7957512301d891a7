-- How selling stands, by partial indexes that hold little: how many SKUs are paused; for how long, in microseconds, the oldest committed units of which something is
-- known at the vendor have waited for a count that reflects them; rows that are short and their units, over 10,000 rows at most.
SELECT (SELECT count(*) FROM selling WHERE paused_at IS NOT NULL) AS paused_skus,
       (SELECT greatest(0, micros(statement_timestamp()) - micros(p.known_at)) FROM progress p WHERE p.is_pending ORDER BY p.known_at LIMIT 1) AS oldest_micros,
       short.rows AS short_rows, short.units AS short_units
FROM (SELECT count(*) AS rows, coalesce(sum(s.shortfall), 0)::bigint AS units
      FROM (SELECT shortfall FROM stock WHERE shortfall > 0 LIMIT 10000) s) short
