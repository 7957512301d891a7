-- Drops the rows of a report that will be written anew: $1 run.
DELETE FROM run_row WHERE run_id = $1
