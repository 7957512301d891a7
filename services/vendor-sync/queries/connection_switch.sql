-- Has a connection's files held ('PAUSED') or applied ('ACTIVE'): $1 code, $2 the state, $3 the reason, empty for ACTIVE. No row: it is in that state,
-- and keeps its reason.
UPDATE connection SET state = $2, state_reason = $3, revision = revision + 1 WHERE code = $1 AND state <> $2 RETURNING code
