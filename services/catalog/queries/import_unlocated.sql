-- Drops the rows of a slice that would leave a SKU with a backorder limit and without locations, and answers their lines: $1 attempt, $2 the last code of the
-- slice before, $3 the slice's last code.
DELETE FROM import_row
WHERE import_id = $1 AND code IN (
    SELECT asked.code
    FROM import_row AS asked
    LEFT JOIN sku ON sku.code = asked.code AND sku.code > $2 AND sku.code <= $3
    CROSS JOIN LATERAL (SELECT (coalesce(sku.policy, '{}') - asked.policy_removed) || asked.policy AS policy) AS merged
    WHERE asked.import_id = $1 AND asked.code > $2 AND asked.code <= $3
        AND merged.policy ? 'backorder_limit' AND NOT merged.policy ? 'locations'
)
RETURNING line
