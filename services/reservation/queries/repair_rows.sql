-- The rows of stock that the reservations in $1 are about: by their allocations, and by the ledger of the SKUs that they asked for or that are in $2.
SELECT a.sku, a.location FROM allocation a WHERE a.reservation_id = ANY ($1)
UNION
SELECT l.sku, l.location
FROM ledger l
WHERE l.cause_id = ANY ($1)
  AND l.sku = ANY ($2::text[] || ARRAY(SELECT x ->> 0 FROM reservation r CROSS JOIN LATERAL jsonb_array_elements(r.lines) x WHERE r.id = ANY ($1)))
ORDER BY 1, 2
