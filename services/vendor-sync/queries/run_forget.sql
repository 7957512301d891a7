-- Drops the report and the file of a finished run: $1 run. The counts go with their requests.
WITH rows AS (
    DELETE FROM run_row WHERE run_id = $1
), batches AS (
    DELETE FROM run_batch WHERE run_id = $1
), content AS (
    DELETE FROM run_content WHERE run_id = $1
)
UPDATE run SET report_kept = false WHERE run_id = $1 AND state <> 'APPLYING'
