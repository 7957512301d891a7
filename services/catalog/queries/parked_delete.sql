-- Forgets parked SKUs that a destination has taken since: $1 destination, $2 SKUs.
DELETE FROM parked WHERE destination = $1 AND sku = ANY ($2::text[])
