-- Rows of connection $1 that are not $2, though its feed is, at most $4; numbers are promised every $3 micros. With each what to keep back for it: if the feed is
-- late, the policy's own safety stock once more, or what was confirmed there within two promised intervals (looking at no more than the row's last 1,000 changes),
-- whichever is more.
SELECT s.sku, s.location,
       CASE WHEN $2 = 'LATE' THEN greatest(
           coalesce((SELECT p.safety FROM policy p WHERE p.sku = s.sku), 0),
           coalesce((SELECT sum(l.committed) FROM ledger l
                     WHERE l.sku = s.sku AND l.location = s.location AND l.version > s.version - 1000
                       AND l.cause = 'CONFIRM' AND l.at > statement_timestamp() - 2 * $3::bigint * interval '1 microsecond'), 0))::bigint
       ELSE 0 END
FROM (SELECT s.sku, s.location, s.version
      FROM unnest(array_remove('{FRESH,LATE,STALE}'::text[], $2)) w
      CROSS JOIN LATERAL (SELECT t.sku, t.location, t.version FROM stock t WHERE t.connection = $1 AND t.freshness = w LIMIT $4) s
      LIMIT $4) s
