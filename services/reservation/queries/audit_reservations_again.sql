-- Those of the reservations in $1 that should have taken units and have none.
SELECT jsonb_build_array(r.id, r.state || ' without allocations', micros(r.state_at))
FROM reservation r
WHERE r.id = ANY ($1) AND r.state IN ('HELD', 'CONFIRMED', 'FULFILLED', 'EXPIRED')
  AND NOT EXISTS (SELECT FROM allocation a WHERE a.reservation_id = r.id)
