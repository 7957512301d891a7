-- Takes what is told of SKUs, where its version is higher than the one that is known: $1 SKUs in their order, $2 versions, $3 whether archived. Answers the
-- SKUs that were taken; their rows are locked until the end of the transaction. In order, so that two at once do not wait for each other.
INSERT INTO sku_offers AS known (sku, version, archived)
SELECT told.sku, told.version, told.archived
FROM unnest($1::text[], $2::bigint[], $3::boolean[]) AS told (sku, version, archived)
ORDER BY told.sku COLLATE "C"
ON CONFLICT (sku) DO UPDATE
SET version = excluded.version, archived = excluded.archived, update_time = clock_timestamp()
WHERE known.version < excluded.version
RETURNING sku
