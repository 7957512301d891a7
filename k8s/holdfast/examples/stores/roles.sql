-- Databases and roles for a Postgres without an operator. Run it as an administrator, with psql, once:
--
--   psql -v reservation="$A" -v reservation_owner="$B" -v catalog="$C" -v catalog_owner="$D" -v vendor_sync="$E" -v vendor_sync_owner="$F" -f roles.sql
--
-- with six passwords (openssl rand -hex 32). Per service a role that owns the database and migrates it, and one that runs: it can neither create nor alter
-- anything, and what it may read and write, the migrations grant by its name.
\set ON_ERROR_STOP on

CREATE ROLE holdfast_reservation_owner LOGIN PASSWORD :'reservation_owner';
CREATE ROLE holdfast_reservation LOGIN PASSWORD :'reservation';
CREATE ROLE holdfast_catalog_owner LOGIN PASSWORD :'catalog_owner';
CREATE ROLE holdfast_catalog LOGIN PASSWORD :'catalog';
CREATE ROLE holdfast_vendor_sync_owner LOGIN PASSWORD :'vendor_sync_owner';
CREATE ROLE holdfast_vendor_sync LOGIN PASSWORD :'vendor_sync';

-- A migration may take long, but must not queue the whole shop behind a lock that it waits for.
ALTER ROLE holdfast_reservation_owner SET lock_timeout = '10s';
ALTER ROLE holdfast_catalog_owner SET lock_timeout = '10s';
ALTER ROLE holdfast_vendor_sync_owner SET lock_timeout = '10s';

-- An administrator who is no superuser may only give a database to a role that he is a member of.
GRANT holdfast_reservation_owner, holdfast_catalog_owner, holdfast_vendor_sync_owner TO CURRENT_USER;

CREATE DATABASE holdfast_reservation OWNER holdfast_reservation_owner TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';
CREATE DATABASE holdfast_catalog OWNER holdfast_catalog_owner TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';
CREATE DATABASE holdfast_vendor_sync OWNER holdfast_vendor_sync_owner TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';

REVOKE ALL ON DATABASE holdfast_reservation, holdfast_catalog, holdfast_vendor_sync FROM PUBLIC;
GRANT CONNECT ON DATABASE holdfast_reservation TO holdfast_reservation;
GRANT CONNECT ON DATABASE holdfast_catalog TO holdfast_catalog;
GRANT CONNECT ON DATABASE holdfast_vendor_sync TO holdfast_vendor_sync;
