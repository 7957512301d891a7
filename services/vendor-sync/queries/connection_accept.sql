-- Notes the newest applied run of a connection: $1 code, $2 as_of, $3 sequence. An older one changes nothing.
UPDATE connection
SET accepted_as_of = $2, accepted_sequence = $3
WHERE code = $1 AND (accepted_as_of IS NULL OR (accepted_as_of, accepted_sequence) < ($2, $3))
