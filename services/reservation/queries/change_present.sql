-- Which life of the record this is, and the present snapshot of transactions.
SELECT id AS incarnation, pg_current_snapshot()::text AS present FROM record_incarnation
