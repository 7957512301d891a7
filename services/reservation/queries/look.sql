-- The read queue's one statement for everybody who waits: $1 the keys, $2 the SKUs. Due holds do not count (they belong to nobody), though the sweeper has not come
-- by yet.
WITH due AS MATERIALIZED (
    SELECT sku, location, sum(quantity)::bigint AS units FROM due_allocation WHERE sku = ANY ($2) GROUP BY sku, location)
SELECT jsonb_build_object(
    'read_at', micros(statement_timestamp()),
    'records', (SELECT coalesce(jsonb_agg(record_json(r)), '[]') FROM reservation r WHERE r.id = ANY ($1)),
    'available', (SELECT coalesce(jsonb_agg(jsonb_build_array(s.sku, s.location,
                      greatest(0, s.on_hand - s.held + coalesce(d.units, 0) - s.committed - s.safety + s.backorder))
                      ORDER BY s.sku, s.location), '[]')
                  FROM stock s LEFT JOIN due d ON d.sku = s.sku AND d.location = s.location
                  WHERE s.sku = ANY ($2)))
