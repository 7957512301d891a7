-- A page of quarantined numbers, newest first: $1 and $2 time and id of the last one of the page before or NULL, $3 rows, $4 state, $5 connection, $6 run,
-- $7 SKU, the last three or NULL.
SELECT quarantine_id, state, kind, connection, run_id, line, vendor_sku, sku, location, raw_quantity, old_units, new_units, rules, explanation, exposure, as_of,
       sequence, is_limited, typed_by, typed_note, adjustments, create_time, decide_time, decided_by, decision_reason, decided_units, sent_units,
       sent_effect, sent_place, outcome, outcome_note, done_time, attempts
FROM quarantined
WHERE state = $4 AND ($1::timestamptz IS NULL OR (create_time, quarantine_id) < ($1, $2::uuid))
  AND ($5::text IS NULL OR connection = $5) AND ($6::uuid IS NULL OR run_id = $6) AND ($7::text IS NULL OR sku = $7)
ORDER BY create_time DESC, quarantine_id DESC
LIMIT $3
