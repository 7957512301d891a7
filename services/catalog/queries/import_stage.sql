-- Stages rows of a file, each code once in a call: $1 attempt, $2 codes, $3 lines, $4 names or NULL, $5 whether there is a GTIN's cell, $6 GTINs, $7 attributes
-- as JSON, $8 keys of the attributes to take away as a JSON array or NULL, $9 and $10 the same of the policy. Answers the rows whose code the file had before,
-- with the line on which it stood.
WITH arrived AS MATERIALIZED (
    SELECT code, line, name, gtin_given, gtin, attributes::jsonb AS attributes,
        coalesce(ARRAY(SELECT jsonb_array_elements_text(removed::jsonb)), '{}') AS removed,
        policy::jsonb AS policy,
        coalesce(ARRAY(SELECT jsonb_array_elements_text(policy_removed::jsonb)), '{}') AS policy_removed
    FROM unnest($2::text[], $3::bigint[], $4::text[], $5::boolean[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[])
        AS asked (code, line, name, gtin_given, gtin, attributes, removed, policy, policy_removed)
), staged AS (
    INSERT INTO import_row (import_id, code, line, name, gtin_given, gtin, attributes, removed, policy, policy_removed)
    SELECT $1, code, line, name, gtin_given, gtin, attributes, removed, policy, policy_removed FROM arrived
    ON CONFLICT (import_id, code) DO NOTHING
    RETURNING line
)
SELECT arrived.code, arrived.line, import_row.line AS first_line
FROM arrived
JOIN import_row ON import_row.import_id = $1 AND import_row.code = arrived.code COLLATE "C"
WHERE NOT EXISTS (SELECT FROM staged WHERE staged.line = arrived.line)
ORDER BY arrived.line
