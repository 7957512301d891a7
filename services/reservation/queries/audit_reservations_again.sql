-- Those of the reservations in $1 that should have taken units and have none, or whose state does not fit what became of their units.
SELECT jsonb_build_array(r.id, c.detail, micros(r.state_at))
FROM reservation r
CROSS JOIN LATERAL (SELECT contradiction(r.state, count(*), sum(q.open), sum(q.fulfilled), sum(q.touched)) AS detail FROM promise q WHERE q.reservation_id = r.id) c
WHERE r.id = ANY ($1) AND c.detail IS NOT NULL
