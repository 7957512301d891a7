-- A page of what a query finds: $1 the query, $2 its words as a tsquery's text or NULL when it has none, $3 archived ones only, sold ones only (false) or NULL for both, $4 at most so many
-- from each way of finding, $5 and $6 score and code of the last match of the page before or NULL, $7 rows. The score is in millionths.
-- Typing errors are looked for only when few are found without them, and none by its whole code: who knows what he wants does not pay for it. OFFSET 0 keeps the limit out of the choice
-- of a plan: in the order of the codes every SKU would be compared.
WITH near AS MATERIALIZED (
    (SELECT code, fold(code) = fold($1) AS whole FROM sku
    WHERE fold(code) COLLATE "C" >= fold($1) AND fold(code) COLLATE "C" < fold($1) || chr(1114111)
        AND ($3::boolean IS NULL OR (archive_time IS NOT NULL) = $3)
    ORDER BY fold(code) COLLATE "C", code LIMIT $4)
    UNION
    (SELECT code, gtin = $1 FROM sku
    WHERE gtin COLLATE "C" >= $1 AND gtin COLLATE "C" < $1 || chr(1114111)
        AND ($3::boolean IS NULL OR (archive_time IS NOT NULL) = $3)
    ORDER BY gtin COLLATE "C", code LIMIT $4)
    UNION
    (SELECT code, false FROM (
        SELECT code, name FROM sku
        WHERE words(name) @@ to_tsquery('pg_catalog.simple', fold($2)) AND ($3::boolean IS NULL OR (archive_time IS NOT NULL) = $3)
        OFFSET 0
    -- Short names are the likest: whoever looks for a chair finds what is called so before ten thousand chair covers.
    ) AS named ORDER BY octet_length(name), code LIMIT $4)
), far AS MATERIALIZED (
    SELECT code FROM (
        SELECT code, word_similarity(fold($1), remembered(code, gtin, name)) AS likeness FROM sku
        WHERE $2 IS NOT NULL AND (SELECT count(*) < 20 AND coalesce(bool_and(NOT whole), true) FROM near)
            AND remembered(code, gtin, name) %> fold($1) AND ($3::boolean IS NULL OR (archive_time IS NOT NULL) = $3)
        OFFSET 0
    ) AS typed ORDER BY likeness DESC, code LIMIT $4
), scored AS (
    SELECT sku.code, sku.name, sku.gtin, sku.attributes, sku.policy, sku.archive_time, sku.version, sku.create_time, sku.update_time,
        round(1000000 * greatest(
            CASE WHEN sku.code = $1 OR sku.gtin = $1 THEN 1.0 WHEN fold(sku.code) = fold($1) THEN 0.99 END,
            CASE WHEN starts_with(fold(sku.code), fold($1)) THEN 0.90 + 0.08 * char_length($1) / char_length(sku.code) END,
            CASE WHEN starts_with(sku.gtin, $1) THEN 0.80 + 0.08 * char_length($1) / char_length(sku.gtin) END,
            CASE WHEN words(sku.name) @@ to_tsquery('pg_catalog.simple', fold($2)) THEN 0.50 + 0.25 * similarity(fold($1), fold(sku.name)) END,
            0.50 * word_similarity(fold($1), remembered(sku.code, sku.gtin, sku.name))
        ))::bigint AS score
    FROM (SELECT code FROM near UNION SELECT code FROM far) AS found
    JOIN sku ON sku.code = found.code
)
SELECT * FROM scored
WHERE $5::bigint IS NULL OR score < $5 OR (score = $5 AND code > $6)
ORDER BY score DESC, code
LIMIT $7
