-- Gives the lease of a destination back: $1 destination, $2 process.
UPDATE relay SET holder = NULL, lease_end = '-infinity' WHERE destination = $1 AND holder = $2
