-- Rows that are not as fresh as their feed, at most $1 of each feed: connection, freshness that they should have, and per row what to keep back for it: the policy's
-- own safety stock once more, or what was confirmed there within two promised intervals (looking at no more than the row's last 10,000 changes), whichever is more.
SELECT f.connection, f.freshness,
       jsonb_agg(jsonb_build_array(s.sku, s.location, CASE WHEN f.freshness = 'FRESH' THEN 0 ELSE greatest(
           coalesce((SELECT p.safety FROM policy p WHERE p.sku = s.sku), 0),
           coalesce((SELECT sum(l.committed) FROM ledger l
                     WHERE l.sku = s.sku AND l.location = s.location AND l.version > s.version - 10000
                       AND l.cause = 'CONFIRM' AND l.at > statement_timestamp() - 2 * f.promised), 0)) END))
FROM (SELECT connection, promised_interval * interval '1 microsecond' AS promised,
             CASE WHEN promised_interval IS NULL OR statement_timestamp() < as_of + 2 * promised_interval * interval '1 microsecond' THEN 'FRESH'
                  WHEN statement_timestamp() < as_of + 4 * promised_interval * interval '1 microsecond' THEN 'LATE'
                  ELSE 'STALE' END AS freshness
      FROM feed) f
CROSS JOIN LATERAL (
    SELECT s.sku, s.location, s.version FROM stock s
    WHERE s.connection = f.connection AND s.freshness = ANY (array_remove('{FRESH,LATE,STALE}', f.freshness))
    ORDER BY s.sku, s.location LIMIT $1) s
GROUP BY f.connection, f.freshness
