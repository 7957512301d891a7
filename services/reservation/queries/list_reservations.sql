-- A page of reservations before key $1, newest first, at most $4, only of owner $2 unless that is empty and only in state $3 unless that is empty. A hold past its
-- time counts as EXPIRED.
SELECT record_json(r), micros(statement_timestamp())
FROM reservation r
WHERE r.id < $1 AND ($2 = '' OR r.owner = $2)
  AND CASE $3 WHEN '' THEN TRUE
              WHEN 'HELD' THEN r.state = 'HELD' AND r.expires_at > statement_timestamp()
              WHEN 'EXPIRED' THEN r.state = 'EXPIRED' OR (r.state = 'HELD' AND r.expires_at <= statement_timestamp())
              ELSE r.state = $3 END
ORDER BY r.id DESC LIMIT $4
