-- Sales by when they were confirmed, so that the oldest of which nobody has said anything is found at once. Additive: a replica of the version before does not use it.

CREATE INDEX reservation_open_sales ON reservation (state_at) WHERE state = 'CONFIRMED';
COMMENT ON INDEX reservation_open_sales IS 'Serves the alarm about units that no count reflects: those of which no evidence came at all.';
