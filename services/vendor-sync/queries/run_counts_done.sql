-- Stores what reservation said of counts and adds their rows to the run's totals: $1 run, $2 SKUs, $3 outcomes, $4 on_hand before, $5 shortfalls, $6 notes.
-- Two writing CTEs touch two tables, so their order does not matter.
WITH said AS (
    SELECT sku, outcome, previous_on_hand, shortfall, note
    FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[])
        AS said (sku, outcome, previous_on_hand, shortfall, note)
), stored AS (
    UPDATE run_count
    SET outcome = said.outcome, previous_on_hand = said.previous_on_hand, shortfall = said.shortfall, note = said.note
    FROM said
    WHERE run_count.run_id = $1 AND run_count.sku = said.sku AND run_count.outcome = 'PENDING'
    RETURNING run_count.outcome, run_count.rows
), sums AS (
    SELECT coalesce(sum(rows) FILTER (WHERE outcome = 'APPLIED'), 0) AS applied,
           coalesce(sum(rows) FILTER (WHERE outcome = 'UNCHANGED'), 0) AS unchanged,
           coalesce(sum(rows) FILTER (WHERE outcome = 'STALE'), 0) AS stale,
           coalesce(sum(rows) FILTER (WHERE outcome IN ('REJECTED', 'CONFLICT')), 0) AS rejected
    FROM stored
)
UPDATE run
SET applied = run.applied + sums.applied, unchanged = run.unchanged + sums.unchanged, stale = run.stale + sums.stale,
    rejected = run.rejected + sums.rejected, attempts = 0, reason = ''
FROM sums
WHERE run.run_id = $1
