-- The decision on a connection's numbers that is to be carried out next: $1 connection. None while a run is half applied: what it says is not known yet.
SELECT quarantine_id, state, kind, connection, run_id, line, vendor_sku, sku, location, raw_quantity, old_units, new_units, rules, explanation, exposure, as_of,
       sequence, is_limited, typed_by, typed_note, adjustments, create_time, decide_time, decided_by, decision_reason, decided_units, sent_units,
       sent_effect, sent_place, outcome, outcome_note, done_time, attempts
FROM quarantined
WHERE connection = $1 AND decide_time IS NOT NULL AND done_time IS NULL AND next_attempt_time <= clock_timestamp()
  AND NOT EXISTS (SELECT FROM run WHERE run.connection = $1 AND run.state = 'APPLYING' AND run.plan_time IS NOT NULL)
ORDER BY decide_time, quarantine_id
LIMIT 1
