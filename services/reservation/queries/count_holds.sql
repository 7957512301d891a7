-- How many holds are in time and how many are over and not swept, each counted to 100,000, by the index of holds.
SELECT (SELECT count(*) FROM (SELECT FROM reservation WHERE state = 'HELD' AND expires_at > statement_timestamp() LIMIT 100000) h),
       (SELECT count(*) FROM (SELECT FROM reservation WHERE state = 'HELD' AND expires_at <= statement_timestamp() LIMIT 100000) h)
