-- Notes that a run's rows and counts are stored: $1 run, $2 rows, $3 stale, $4 unmapped, $5 rejected, $6 quarantined, $7 warnings, $8 rows of the file and
-- $9 share of its commonest number, both NULL for a file that is stale as a whole.
UPDATE run
SET plan_time = clock_timestamp(), attempts = 0, reason = '', rows = $2, stale = $3, unmapped = $4, rejected = $5, quarantined = $6, warnings = $7,
    file_rows = $8, file_top_permille = $9
WHERE run_id = $1
