-- Which of these codes are no location's: $1 codes, $2 at most so many.
SELECT code FROM unnest($1::text[]) AS asked (code)
WHERE NOT EXISTS (SELECT FROM location WHERE location.code = asked.code COLLATE "C")
LIMIT $2
