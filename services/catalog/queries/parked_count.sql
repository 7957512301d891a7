-- How many SKUs are parked: $1 destination.
SELECT count(*) FROM parked WHERE destination = $1
