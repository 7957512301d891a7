-- In a migration of its own: reading the table keeps nobody waiting, what 0004 did would meanwhile.

ALTER TABLE sku VALIDATE CONSTRAINT sku_policy_shape;
ALTER TABLE sku VALIDATE CONSTRAINT sku_policy_one_promise;
