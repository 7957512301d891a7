-- Locks the SKUs of a slice that differ from the file, in the order of their codes as every import does, and leaves the others alone: $1 attempt, $2 the last
-- code of the slice before, $3 the slice's last code.
SELECT sku.code, import_row.line,
    jsonb_array_length(jsonb_path_query_array((sku.attributes - import_row.removed) || import_row.attributes, '$.keyvalue()')) AS attribute_count
FROM import_row
JOIN sku ON sku.code = import_row.code
WHERE import_row.import_id = $1 AND import_row.code > $2 AND import_row.code <= $3
    -- Said of both, so that a slice reads its own range of SKUs and not all of them.
    AND sku.code > $2 AND sku.code <= $3
    AND (sku.name <> import_row.name
        OR (import_row.gtin_given AND sku.gtin IS DISTINCT FROM import_row.gtin)
        OR sku.attributes <> (sku.attributes - import_row.removed) || import_row.attributes
        OR sku.policy <> (sku.policy - import_row.policy_removed) || import_row.policy)
ORDER BY sku.code
FOR NO KEY UPDATE OF sku
