-- Stock of the SKUs in $1 at every location, due holds not counted.
SELECT level_json(s) || jsonb_build_object('due', coalesce((
           SELECT sum(a.quantity)::bigint FROM reservation r JOIN allocation a ON a.reservation_id = r.id
           WHERE r.state = 'HELD' AND r.expires_at <= statement_timestamp() AND a.sku = s.sku AND a.location = s.location), 0))
FROM stock s WHERE s.sku = ANY ($1)
ORDER BY s.sku, s.location
