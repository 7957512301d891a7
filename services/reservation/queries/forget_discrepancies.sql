-- Forgets at most $2 discrepancies that were resolved more than $1 microseconds ago.
DELETE FROM discrepancy
WHERE id IN (SELECT d.id FROM discrepancy d WHERE d.resolved_at < clock_timestamp() - $1::bigint * interval '1 microsecond' ORDER BY d.resolved_at LIMIT $2)
