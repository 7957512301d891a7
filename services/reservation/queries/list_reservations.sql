-- A page of reservations before key $1, newest first, at most $4, only of owner $2, in state $3 and with order reference $5, each unless it is empty. A hold past its
-- time counts as EXPIRED.
SELECT record_json(r), micros(statement_timestamp())
FROM reservation r
WHERE r.id < $1 AND ($2 = '' OR r.owner = $2) AND ($5 = '' OR r.order_ref = $5)
  AND CASE $3 WHEN '' THEN TRUE
              WHEN 'HELD' THEN r.state = 'HELD' AND r.expires_at > statement_timestamp()
              WHEN 'EXPIRED' THEN r.state = 'EXPIRED' OR (r.state = 'HELD' AND r.expires_at <= statement_timestamp())
              ELSE r.state = $3 END
ORDER BY r.id DESC LIMIT $4
