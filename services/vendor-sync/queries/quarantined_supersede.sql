-- Ends the waiting of numbers whose codes say something newer: $1 run, $2 codes. A limit on their account goes with the newer count or is replaced by its limit.
UPDATE quarantined
SET state = 'SUPERSEDED', decide_time = clock_timestamp(), done_time = clock_timestamp()
FROM run
JOIN connection ON connection.code = run.connection
WHERE run.run_id = $1 AND quarantined.connection = run.connection AND quarantined.location = coalesce(run.location, connection.location)
  AND quarantined.vendor_sku = ANY ($2) AND quarantined.state = 'PENDING' AND quarantined.kind = 'COUNT'
  AND (quarantined.as_of, quarantined.sequence) < (run.as_of, run.sequence)
