-- Notes that the discrepancies in $1 are gone.
UPDATE discrepancy SET resolved_at = greatest(clock_timestamp(), seen_at) WHERE id = ANY ($1) AND resolved_at IS NULL
