-- Says that an attempt is alive: $1 attempt. No row affected: the janitor took it for dead.
UPDATE import SET update_time = now() WHERE import_id = $1 AND state = 'STAGING'
