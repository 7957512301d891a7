-- The next $2 reservations after key $1: the last of them, how many, and those that should have taken units and have none, or whose state does not fit what became of
-- their units.
WITH page AS MATERIALIZED (SELECT id, state, state_at FROM reservation WHERE id > $1 ORDER BY id LIMIT $2)
SELECT jsonb_build_object(
    'last', (SELECT p.id FROM page p ORDER BY p.id DESC LIMIT 1), 'count', (SELECT count(*) FROM page),
    'found', (SELECT coalesce(jsonb_agg(jsonb_build_array(p.id, c.detail, micros(p.state_at))), '[]')
              FROM page p
              CROSS JOIN LATERAL (SELECT contradiction(p.state, count(*), sum(q.open), sum(q.fulfilled), sum(q.touched)) AS detail FROM promise q WHERE q.reservation_id = p.id) c
              WHERE c.detail IS NOT NULL))
