-- Which programs this schema serves, so that replicas of two releases share it while a rollout or a rollback is under way (CONTRIBUTING.md, "Migrations").

CREATE TABLE schema_serves (
    one_row boolean NOT NULL DEFAULT true CONSTRAINT schema_serves_pk PRIMARY KEY CONSTRAINT schema_serves_has_one_row CHECK (one_row),
    oldest bigint NOT NULL CONSTRAINT schema_serves_oldest_positive CHECK (oldest > 0)
);

COMMENT ON TABLE schema_serves IS 'Which programs can run on this schema; one row';
COMMENT ON COLUMN schema_serves.one_row IS 'Always true: there is one row';
COMMENT ON COLUMN schema_serves.oldest IS
    'A program starts on this schema if the latest migration that it knows is this one or a later one; raised by migrations that contract';

-- Programs before this one do not ask, and start on no schema but their own.
INSERT INTO schema_serves (oldest) VALUES (10);

GRANT SELECT ON schema_serves TO holdfast_reservation;
