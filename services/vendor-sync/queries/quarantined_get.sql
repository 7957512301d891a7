-- A quarantined number: $1 id.
SELECT quarantine_id, state, kind, connection, run_id, line, vendor_sku, sku, location, raw_quantity, old_units, new_units, rules, explanation, exposure, as_of,
       sequence, is_limited, typed_by, typed_note, adjustments, create_time, decide_time, decided_by, decision_reason, decided_units, sent_units,
       sent_effect, sent_place, outcome, outcome_note, done_time, attempts
FROM quarantined
WHERE quarantine_id = $1
