-- The files of a connection's folder that are known: $1 code. With each, for how many seconds it has been known like this.
SELECT file_name, size_bytes, modify_time, extract(epoch FROM clock_timestamp() - seen_time)::double precision AS age_seconds, run_id
FROM drop_file
WHERE connection = $1
