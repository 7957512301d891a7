-- A page of the reservations that are at risk now, at most $6, only of SKU $1 and location $2 unless these are empty, after ($3 SKU, $4 location, $5 reservation):
-- by row, the newest reservation first; and Postgres's clock.
SELECT s.sku, s.location, s.version, a.units, s.shortfall, r.record, micros(statement_timestamp())
FROM (SELECT t.sku, t.location, t.version, t.shortfall FROM stock t
      WHERE t.shortfall > 0 AND (t.sku, t.location) >= ($3, $4) AND ($1 = '' OR t.sku = $1) AND ($2 = '' OR t.location = $2)
      ORDER BY t.sku, t.location) s
CROSS JOIN LATERAL (SELECT o.reservation_id, o.units FROM at_risk_of(s.sku, s.location, s.shortfall, 100000) o
                    WHERE (s.sku, s.location) > ($3, $4) OR o.reservation_id < $5
                    ORDER BY o.reservation_id DESC LIMIT $6) a
CROSS JOIN LATERAL (SELECT record_json(t) AS record FROM reservation t WHERE t.id = a.reservation_id OFFSET 0) r
ORDER BY s.sku, s.location, a.reservation_id DESC LIMIT $6
