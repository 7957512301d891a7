-- Forgets the codes that a FULL file no longer has: $1 run, $2 connection. A code is kept whose row could not be read, and one whose SKU reservation did
-- not accept: it has to be said again.
DELETE FROM feed_state
WHERE connection = $2 AND NOT EXISTS (
    SELECT FROM run_row
    LEFT JOIN run_count ON run_count.run_id = run_row.run_id AND run_count.sku = run_row.sku
    WHERE run_row.run_id = $1 AND run_row.vendor_sku = feed_state.vendor_sku
      AND (run_row.line > 0 OR run_row.fate = 'REJECTED' OR run_count.outcome = 'REJECTED')
)
