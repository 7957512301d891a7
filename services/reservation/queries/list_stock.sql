-- A page of stock after ($1, $2), at most $4 rows, only of location $3 unless that is empty. Due holds are not counted.
SELECT level_json(s) || jsonb_build_object('due', coalesce((
           SELECT sum(a.quantity)::bigint FROM reservation r JOIN allocation a ON a.reservation_id = r.id
           WHERE r.state = 'HELD' AND r.expires_at <= statement_timestamp() AND a.sku = s.sku AND a.location = s.location), 0))
FROM stock s
WHERE (s.sku, s.location) > ($1, $2) AND ($3 = '' OR s.location = $3)
ORDER BY s.sku, s.location LIMIT $4
