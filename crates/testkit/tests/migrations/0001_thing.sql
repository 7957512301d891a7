-- A table as a service would make it, for the testkit's own tests.
CREATE TABLE thing (id bigint CONSTRAINT thing_pkey PRIMARY KEY);
GRANT SELECT, INSERT ON thing TO holdfast_catalog;
