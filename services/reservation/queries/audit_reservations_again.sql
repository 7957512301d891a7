-- Those of the reservations in $1 that should have taken units and have none, or whose state does not fit what became of their units.
SELECT jsonb_build_array(r.id, contradiction(r.id, r.state), micros(r.state_at))
FROM reservation r
WHERE r.id = ANY ($1) AND contradiction(r.id, r.state) IS NOT NULL
