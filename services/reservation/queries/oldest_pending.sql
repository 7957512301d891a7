-- How selling stands, by partial indexes that hold little: how many SKUs are paused; for how long, in microseconds, the oldest committed units have waited for a count that
-- reflects them; rows that are short and their units, over 10,000 rows at most.
--
-- Units wait since something was first known of them at the vendor; where numbers are without booked orders and nothing is known, since they were sold (of the 1,000
-- oldest open sales). Where they are with everything on the shelf, unshipped units rightly wait, and so do those that were promised beyond what was there.
SELECT (SELECT count(*) FROM selling WHERE paused_at IS NOT NULL) AS paused_skus,
       greatest(
           (SELECT greatest(0, micros(statement_timestamp()) - micros(p.known_at)) FROM progress p WHERE p.is_pending ORDER BY p.known_at LIMIT 1),
           (SELECT greatest(0, micros(statement_timestamp()) - micros(r.state_at))
            FROM (SELECT id, state_at FROM reservation WHERE state = 'CONFIRMED' ORDER BY state_at LIMIT 1000) r
            JOIN allocation a ON a.reservation_id = r.id AND a.backordered = 0
            JOIN stock s ON s.sku = a.sku AND s.location = a.location AND s.meaning = 'AVAILABLE'
            LEFT JOIN progress p ON p.reservation_id = a.reservation_id AND p.sku = a.sku AND p.location = a.location
            WHERE p.known_at IS NULL AND a.quantity > coalesce(p.released + p.withdrawn + p.reflected, 0)
            ORDER BY r.state_at LIMIT 1)) AS oldest_micros,
       short.rows AS short_rows, short.units AS short_units
FROM (SELECT count(*) AS rows, coalesce(sum(s.shortfall), 0)::bigint AS units
      FROM (SELECT shortfall FROM stock WHERE shortfall > 0 LIMIT 10000) s) short
