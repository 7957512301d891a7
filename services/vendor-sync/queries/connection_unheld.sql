-- Begins to count suspect files anew: $1 code.
UPDATE connection SET holds_in_row = 0 WHERE code = $1 AND holds_in_row > 0
