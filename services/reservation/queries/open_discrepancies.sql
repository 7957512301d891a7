-- The open discrepancies about the same as the given ones: kinds $1, SKUs $2, locations $3, reservations $4.
SELECT jsonb_build_object(
    'id', d.id, 'kind', d.kind, 'sku', d.sku, 'location', d.location, 'reservation_id', d.reservation_id, 'detail', d.detail,
    'since', micros(d.since), 'found_at', micros(d.found_at), 'seen_at', micros(d.seen_at), 'resolved_at', micros(d.resolved_at))
FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) AS g(kind, sku, location, reservation_id)
JOIN discrepancy d ON d.kind = g.kind AND d.sku = g.sku COLLATE "C" AND d.location = g.location COLLATE "C" AND d.reservation_id = g.reservation_id AND d.resolved_at IS NULL
