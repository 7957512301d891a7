-- Stages rows of a file, each code once in a call: $1 attempt, $2 codes, $3 lines, $4 names, $5 GTINs, $6 attributes as JSON. Answers the rows whose code the
-- file had before, with the line on which it stood.
WITH arrived AS MATERIALIZED (
    SELECT code, line, name, gtin, attributes::jsonb AS attributes
    FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[]) AS asked (code, line, name, gtin, attributes)
), staged AS (
    INSERT INTO import_row (import_id, code, line, name, gtin, attributes)
    SELECT $1, code, line, name, gtin, attributes FROM arrived
    ON CONFLICT (import_id, code) DO NOTHING
    RETURNING line
)
SELECT arrived.code, arrived.line, import_row.line AS first_line
FROM arrived
JOIN import_row ON import_row.import_id = $1 AND import_row.code = arrived.code COLLATE "C"
WHERE NOT EXISTS (SELECT FROM staged WHERE staged.line = arrived.line)
ORDER BY arrived.line
