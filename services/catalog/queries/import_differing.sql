-- Locks the SKUs of a slice that differ from the file, in the order of their codes as every import does, and leaves the others alone: $1 attempt, $2 the last
-- code of the slice before, $3 the slice's last code, $4 whether the file has names, $5 whether it has GTINs, $6 the attributes that it has.
SELECT sku.code, import_row.line,
    jsonb_array_length(jsonb_path_query_array((sku.attributes - $6::text[]) || import_row.attributes, '$.keyvalue()')) AS attribute_count
FROM import_row
JOIN sku ON sku.code = import_row.code
WHERE import_row.import_id = $1 AND import_row.code > $2 AND import_row.code <= $3
    -- Said of both, so that a slice reads its own range of SKUs and not all of them.
    AND sku.code > $2 AND sku.code <= $3
    AND (($4::boolean AND sku.name <> import_row.name)
        OR ($5::boolean AND sku.gtin IS DISTINCT FROM import_row.gtin)
        OR sku.attributes <> (sku.attributes - $6::text[]) || import_row.attributes)
ORDER BY sku.code
FOR NO KEY UPDATE OF sku
