-- Takes the turn to audit for $1 for $2 microseconds, or prolongs it; unless another replica's has not ended. One row either way: whether it is ours, how far the pass
-- is, when the last whole pass began and ended, Postgres's clock, what is open by kind, and how many units of it were oversold: at least one each.
WITH taken AS (
    UPDATE audit_turn SET holder = $1, held_until = clock_timestamp() + $2::bigint * interval '1 microsecond'
    WHERE holder = $1 OR held_until < clock_timestamp() OR holder IS NULL
    RETURNING holder)
SELECT jsonb_build_object(
    'ours', EXISTS (SELECT FROM taken), 'after_sku', t.after_sku, 'last_began_at', micros(t.last_began_at), 'last_ended_at', micros(t.last_ended_at),
    'now', micros(clock_timestamp()),
    'oversold', (SELECT coalesce(sum(greatest(units, 1)), 0)::bigint FROM discrepancy WHERE resolved_at IS NULL AND kind = 'OVERSOLD'),
    'open', (SELECT coalesce(jsonb_agg(jsonb_build_array(o.kind, o.count)), '[]')
             FROM (SELECT kind, count(*) FROM discrepancy WHERE resolved_at IS NULL GROUP BY kind) o))
FROM audit_turn t
