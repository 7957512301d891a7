-- SKUs that a destination refused a while ago and that are to be tried again: $1 destination, $2 seconds, $3 at most so many.
SELECT sku FROM parked WHERE destination = $1 AND create_time < now() - make_interval(secs => $2::double precision) ORDER BY create_time, sku LIMIT $3
