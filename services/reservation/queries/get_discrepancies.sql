-- The discrepancies $1.
SELECT jsonb_build_object(
    'id', d.id, 'kind', d.kind, 'sku', d.sku, 'location', d.location, 'reservation_id', d.reservation_id, 'detail', d.detail,
    'since', micros(d.since), 'found_at', micros(d.found_at), 'seen_at', micros(d.seen_at), 'resolved_at', micros(d.resolved_at))
FROM discrepancy d WHERE d.id = ANY ($1) ORDER BY d.id
