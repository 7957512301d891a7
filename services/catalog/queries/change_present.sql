-- Where the log stands: its identity and the present snapshot of transactions.
SELECT log_id, pg_current_snapshot()::text AS present FROM change_log
