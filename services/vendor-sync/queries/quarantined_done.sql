-- Ends the carrying out of a decision: $1 id, $2 what reservation made of it, $3 a note.
UPDATE quarantined
SET done_time = clock_timestamp(), outcome = CASE WHEN state = 'APPROVED' THEN $2 END, outcome_note = $3, attempts = 0
WHERE quarantine_id = $1
