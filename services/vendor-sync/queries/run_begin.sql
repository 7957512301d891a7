-- Keeps with a run what its connection says when it is first worked on: $1 run. Without effect later.
UPDATE run SET mode = connection.mode, meaning = connection.meaning
FROM connection
WHERE run.run_id = $1 AND connection.code = run.connection AND run.mode IS NULL
