-- Counts a file that looked suspect: $1 code. Answers how many it were in a row.
UPDATE connection SET holds_in_row = holds_in_row + 1 WHERE code = $1 RETURNING holds_in_row
