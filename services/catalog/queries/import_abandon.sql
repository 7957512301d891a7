-- Ends attempts that were silent for $1 seconds.
UPDATE import SET state = 'ABANDONED', update_time = now()
WHERE state = 'STAGING' AND update_time < now() - make_interval(secs => $1::double precision)
