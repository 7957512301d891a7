-- A page of a run's report: $1 run, $2 the last ordinal of the page before or -1, $3 an outcome or NULL, $4 rows.
SELECT run_row.ordinal, run_row.line, run_row.vendor_sku, run_row.raw_quantity, run_row.sku, run_row.units,
       coalesce(run_count.outcome, run_row.fate) AS outcome,
       concat_ws('; ', nullif(run_row.note, ''), nullif(run_count.note, '')) AS note,
       run_count.previous_on_hand, run_count.shortfall, run_row.quarantine_id
FROM run_row
LEFT JOIN run_count ON run_count.run_id = run_row.run_id AND run_count.sku = run_row.sku AND run_row.fate = 'COUNTED'
WHERE run_row.run_id = $1 AND run_row.ordinal > $2 AND ($3::text IS NULL OR coalesce(run_count.outcome, run_row.fate) = $3)
ORDER BY run_row.ordinal
LIMIT $4
