-- Believes lower numbers of which a cadence has passed without another word: $1 at most so many, $2 why. Answers their number.
UPDATE quarantined
SET state = 'APPROVED', decide_time = clock_timestamp(), decided_by = 'holdfast', decision_reason = $2, next_attempt_time = clock_timestamp(),
    decided_units = new_units
WHERE state = 'PENDING' AND quarantine_id IN (
    SELECT quarantine_id FROM quarantined
    WHERE state = 'PENDING' AND believe_time <= clock_timestamp()
    ORDER BY believe_time LIMIT $1
    FOR UPDATE SKIP LOCKED
)
