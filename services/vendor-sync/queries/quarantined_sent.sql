-- Stores what reservation will be told: $1 id, $2 units, $3 effect. Each word on one SKU of a run has its place after the run's own moment; the end of a limit
-- names that moment itself.
UPDATE quarantined
SET sent_units = $2, sent_effect = $3, sent_place = CASE WHEN $3 = 'UNLIMIT' THEN 0 ELSE (
    SELECT count(*) + 1 FROM quarantined AS sibling
    WHERE sibling.run_id = quarantined.run_id AND sibling.sku = quarantined.sku AND sibling.sent_place > 0
) END
WHERE quarantine_id = $1 AND sent_effect IS NULL
RETURNING sent_place
