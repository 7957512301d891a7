-- Allocations on the rows ($1 SKUs, $2 locations) with committed units of which something is known at the vendor, the oldest first, at most $3; with each what the feed
-- of the row's count says of its lag.
SELECT jsonb_build_object('id', p.reservation_id, 'quantity', p.quantity, 'progress', progress_json(p)), f.reflection_lag
FROM unnest($1::text[], $2::text[]) AS k(sku, location)
JOIN progress p ON p.sku = k.sku AND p.location = k.location AND p.is_pending
LEFT JOIN stock s ON s.sku = k.sku AND s.location = k.location
LEFT JOIN feed f ON f.connection = s.connection
ORDER BY p.reservation_id LIMIT $3
