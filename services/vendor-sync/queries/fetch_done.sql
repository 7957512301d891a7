-- Notes how a look went and lets the connection go: $1 code, $2 holder, $3 the revision that was looked at, $4 how it went, $5 failures in a row, $6 seconds
-- until the next look, $7 the URL if something was fetched from it, $8 its ETag, $9 its Last-Modified. If the connection was changed meanwhile, the change has
-- said when the next look is due.
UPDATE connection
SET fetch_status = $4,
    fetch_time = clock_timestamp(),
    fetch_failures = $5,
    fetch_due = CASE WHEN revision = $3 THEN clock_timestamp() + make_interval(secs => $6::double precision) ELSE fetch_due END,
    pull_etag = CASE WHEN pull_url = $7 THEN $8 ELSE pull_etag END,
    pull_last_modified = CASE WHEN pull_url = $7 THEN $9 ELSE pull_last_modified END,
    fetch_holder = CASE WHEN fetch_holder = $2 THEN NULL ELSE fetch_holder END,
    fetch_until = CASE WHEN fetch_holder = $2 THEN NULL ELSE fetch_until END
WHERE code = $1
