-- New parts of selling policies: how fast a SKU may sell, what channels may have, and when units promised beyond what is there will be there.
-- The new conditions allow all that the old one did, so no row has to be looked at while the table is locked; 0005 looks, without keeping anybody waiting.

ALTER TABLE sku
    DROP CONSTRAINT sku_policy_shape,
    ADD CONSTRAINT sku_policy_shape CHECK (
        jsonb_typeof(policy) = 'object'
        AND policy - '{safety_stock,backorder_limit,max_per_reservation,max_per_owner,default_hold_ns,locations,max_per_minute,channel_caps,promise_time_ns,promise_lead_seconds}'::text[] = '{}'
    ) NOT VALID,
    ADD CONSTRAINT sku_policy_one_promise CHECK (NOT (policy ? 'promise_time_ns' AND policy ? 'promise_lead_seconds')) NOT VALID;
COMMENT ON COLUMN sku.policy IS 'How it may be sold: an object with those of safety_stock, backorder_limit, max_per_reservation, max_per_owner (units), default_hold_ns (nanoseconds), locations (codes, the preferred first), max_per_minute (units), channel_caps (objects of channel and quantity, by channel), promise_time_ns (nanoseconds since 1970) and promise_lead_seconds that are set.';
