-- The next $2 reservations after key $1: the last of them, how many, and those that should have taken units and have none.
WITH page AS MATERIALIZED (SELECT id, state, state_at FROM reservation WHERE id > $1 ORDER BY id LIMIT $2)
SELECT jsonb_build_object(
    'last', (SELECT p.id FROM page p ORDER BY p.id DESC LIMIT 1), 'count', (SELECT count(*) FROM page),
    'found', (SELECT coalesce(jsonb_agg(jsonb_build_array(p.id, p.state || ' without allocations', micros(p.state_at))), '[]')
              FROM page p
              WHERE p.state IN ('HELD', 'CONFIRMED', 'FULFILLED', 'EXPIRED') AND NOT EXISTS (SELECT FROM allocation a WHERE a.reservation_id = p.id)))
