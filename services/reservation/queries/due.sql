-- Holds past their time, the oldest first: $1 how many at most.
SELECT id, micros(clock_timestamp()) FROM reservation
WHERE state = 'HELD' AND expires_at <= statement_timestamp()
ORDER BY expires_at LIMIT $1
