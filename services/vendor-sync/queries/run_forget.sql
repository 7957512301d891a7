-- Drops the report and the file of a run that nobody works on: $1 run. The counts go with their requests. A held file can be approved no more without its content, and
-- one that was approved a moment ago keeps it.
WITH forgotten AS (
    UPDATE run
    SET report_kept = false,
        state = CASE WHEN state = 'HELD' THEN 'REJECTED' ELSE state END,
        decide_time = CASE WHEN state = 'HELD' THEN clock_timestamp() ELSE decide_time END,
        decided_by = CASE WHEN state = 'HELD' THEN 'holdfast' ELSE decided_by END,
        decision_reason = CASE WHEN state = 'HELD' THEN 'nobody decided before its file was dropped' ELSE decision_reason END,
        end_time = CASE WHEN state = 'HELD' THEN clock_timestamp() ELSE end_time END
    WHERE run_id = $1 AND state <> 'APPLYING'
    RETURNING run_id
), rows AS (
    DELETE FROM run_row WHERE run_id IN (SELECT run_id FROM forgotten)
), batches AS (
    DELETE FROM run_batch WHERE run_id IN (SELECT run_id FROM forgotten)
)
DELETE FROM run_content WHERE run_id IN (SELECT run_id FROM forgotten)
