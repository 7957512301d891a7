-- What is not done and what waits for a person, by partial indexes that hold only that; each counted to 10,000.
SELECT least(runs.count, 10000) AS unfinished_runs, coalesce(runs.seconds, 0) AS unfinished_seconds,
       numbers.count AS waiting_numbers, coalesce(numbers.seconds, 0) AS waiting_number_seconds,
       files.count AS held_files, coalesce(files.seconds, 0) AS held_file_seconds,
       (SELECT count(*) FROM connection WHERE state = 'ACTIVE') AS active_connections,
       (SELECT count(*) FROM connection WHERE state = 'PAUSED') AS paused_connections
FROM (SELECT count(*), extract(epoch FROM clock_timestamp() - min(create_time))::float8 AS seconds
      FROM (SELECT create_time FROM run WHERE state = 'APPLYING' LIMIT 10000) r) runs,
     (SELECT count(*), extract(epoch FROM clock_timestamp() - min(create_time))::float8 AS seconds
      FROM (SELECT create_time FROM quarantined WHERE state = 'PENDING' ORDER BY create_time, quarantine_id LIMIT 10000) q) numbers,
     (SELECT count(*), extract(epoch FROM clock_timestamp() - min(create_time))::float8 AS seconds
      FROM (SELECT create_time FROM run WHERE state = 'HELD' LIMIT 10000) h) files
