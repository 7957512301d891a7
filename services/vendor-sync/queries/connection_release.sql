-- Lets the connection go: $1 code, $2 holder.
UPDATE connection SET lease_holder = NULL, lease_until = NULL WHERE code = $1 AND lease_holder = $2
