-- Decides on a number that waits: $1 id, $2 state, $3 who, $4 why, $5 units instead of its own or NULL. No row: it does not wait, or is not there.
-- A number that is not believed and limits nothing needs nothing more.
UPDATE quarantined
SET state = $2, decide_time = clock_timestamp(), decided_by = $3, decision_reason = $4, next_attempt_time = clock_timestamp(),
    decided_units = CASE WHEN $2 = 'APPROVED' AND kind = 'COUNT' THEN coalesce($5, new_units) END,
    done_time = CASE WHEN $2 = 'REJECTED' AND NOT is_limited THEN clock_timestamp() END
WHERE quarantine_id = $1 AND state = 'PENDING'
RETURNING quarantine_id
