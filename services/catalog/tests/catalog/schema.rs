//! The schema, and what the running role may do in it.

use std::fs;
use std::path::Path;

use holdfast_catalog::store::MIGRATOR;
use holdfast_testkit::database;
use sqlx::{AssertSqlSafe, Executor as _};

#[tokio::test(flavor = "multi_thread")]
async fn every_query_prepares_and_the_running_role_may_run_it() {
    let database = database("catalog", &MIGRATOR).await;
    let mut connection = database.pool(1).await.acquire().await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
    let mut prepared = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let statement = format!("PREPARE q AS {}", fs::read_to_string(&path).unwrap());
        connection
            .execute(AssertSqlSafe(statement))
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let parameters =
            sqlx::query_scalar("SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'q'");
        let parameters: i32 = parameters.fetch_one(&mut *connection).await.unwrap();
        // Preparing looks at names and types; only starting to execute looks at privileges, and EXPLAIN does that.
        let nulls = vec!["NULL"; usize::try_from(parameters).unwrap()].join(", ");
        let arguments = if nulls.is_empty() { nulls } else { format!("({nulls})") };
        let explain = format!("EXPLAIN EXECUTE q{arguments}");
        connection.execute(AssertSqlSafe(explain)).await.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        connection.execute("DEALLOCATE q").await.unwrap();
        prepared += 1;
    }
    assert!(prepared > 20, "the folder has the service's queries");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_running_role_cannot_alter_the_schema_or_rewrite_what_is_final() {
    let database = database("catalog", &MIGRATOR).await;
    let pool = database.pool(1).await;
    for forbidden in [
        "CREATE TABLE t (a int)",
        "CREATE TEMPORARY TABLE t (a int)",
        "CREATE SCHEMA s",
        "ALTER TABLE sku ADD COLUMN a int",
        "ALTER TABLE sku DISABLE TRIGGER ALL",
        "DROP TABLE offer",
        "TRUNCATE import_row",
        "CREATE INDEX i ON sku (name)",
        "DELETE FROM sku",
        "UPDATE sku SET code = 'x'",
        "UPDATE sku SET create_time = now()",
        "DELETE FROM vendor",
        "UPDATE vendor SET code = 'x'",
        "UPDATE location SET vendor = NULL",
        "UPDATE offer SET pack_size = 1",
        "UPDATE change SET sku = 'x'",
        "UPDATE change_log SET log_id = gen_random_uuid()",
        "DELETE FROM relay",
        "UPDATE request SET answer = ''",
        "UPDATE import SET request_id = import_id",
        "DELETE FROM _sqlx_migrations",
    ] {
        let error = pool.execute(forbidden).await.expect_err(forbidden);
        let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
        assert_eq!(code.as_deref(), Some("42501"), "{forbidden}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_and_every_column_has_a_comment() {
    let database = database("catalog", &MIGRATOR).await;
    let uncommented: Vec<String> = sqlx::query_scalar(
        "SELECT format('%s.%s', c.relname, coalesce(a.attname, '*'))
         FROM pg_class c
         LEFT JOIN LATERAL (SELECT attname, attnum FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
                            UNION ALL SELECT NULL, 0) a ON true
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> '_sqlx_migrations'
             AND (SELECT description FROM pg_description d WHERE d.objoid = c.oid AND d.objsubid = a.attnum AND d.classoid = 'pg_class'::regclass) IS NULL",
    )
    .fetch_all(&database.admin_pool().await)
    .await
    .unwrap();
    assert_eq!(uncommented, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_batches_go_by_index() {
    let database = database("catalog", &MIGRATOR).await;
    let pool = database.admin_pool().await;
    pool.execute(
        "INSERT INTO sku (code, name, attributes) SELECT 'S' || n, '', '{}' FROM generate_series(1, 20000) n;
         INSERT INTO vendor (code, name) SELECT 'v' || n, '' FROM generate_series(1, 20) n;
         INSERT INTO location (code, name) VALUES ('l', '');
         INSERT INTO offer (vendor, location, vendor_sku, sku, pack_size) SELECT 'v' || (n % 20 + 1), 'l', 'c' || n, 'S' || n, 1 FROM generate_series(1, 20000) n;
         INSERT INTO request (request_id, kind, payload_hash, answer)
             SELECT gen_random_uuid(), '', decode(repeat('00', 32), 'hex'), '' FROM generate_series(1, 5000);
         INSERT INTO import_row (import_id, code, line, name, attributes)
             SELECT ('00000000-0000-0000-0000-00000000000' || n % 5)::uuid, 'S' || n, n, '', '{}' FROM generate_series(1, 5000) n;
         ANALYZE",
    )
    .await
    .unwrap();
    for (query, arguments) in [
        ("sku_list", "'S1', 'S', 'T', false, NULL, NULL, NULL, NULL, false, 100"),
        ("sku_list", "'', '', NULL, false, '4006381333931', NULL, NULL, NULL, false, 100"),
        ("sku_batch_get", "ARRAY['S1', 'S2', 'S3']"),
        ("offer_list", "'v1', 'l', 'c5', 100"),
        ("offer_list_by_vendor", "'v1', 'l', 'c5', 100"),
        ("offer_list_by_sku", "'S5', '', '', '', NULL, 100"),
        ("offer_batch_get", "'v1', 'l', ARRAY['c19', 'c39']"),
        ("request_prune", "604800, 100"),
        ("request_find", "'00000000-0000-0000-0000-000000000001'"),
        ("import_slice", "'00000000-0000-0000-0000-000000000001', '', 100"),
        ("import_create", "'00000000-0000-0000-0000-000000000001', 'S10', 'S11'"),
        ("import_differing", "'00000000-0000-0000-0000-000000000001', 'S10', 'S11'"),
        ("import_unlocated", "'00000000-0000-0000-0000-000000000001', 'S10', 'S11'"),
        ("import_update", "'00000000-0000-0000-0000-000000000001', '{S1,S6}'"),
        ("offer_counts", "'{S1,S2}', 1000, 20"),
        ("offer_skus", "'{v1,v2}', '{l,l}', '{c20,c21}'"),
        ("offer_delete", "'{v1,v2}', '{l,l}', '{c20,c21}'"),
        ("sku_lock_many", "'{S1,S2}'"),
        ("sku_bump", "'{S1,S2}', false"),
        ("sku_states", "'{S1,S2}'"),
        ("sku_codes", "'S1', 100"),
        ("sku_codes_restricted", "'S1', 100"),
        ("sku_codes_offered", "'S1', 100"),
        ("change_read", "pg_current_snapshot()::text, NULL, 0, 0, 'all', 100"),
        ("change_since", "pg_current_snapshot()::text"),
        ("relay_lag", "'policy', pg_current_snapshot()::text, NULL, 0, 0, 1000"),
        ("import_unstage", "'00000000-0000-0000-0000-000000000001', 100"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries").join(format!("{query}.sql"));
        let mut connection = pool.acquire().await.unwrap();
        let prepare = format!("PREPARE {query} AS {}", fs::read_to_string(path).unwrap());
        connection.execute(AssertSqlSafe(prepare)).await.unwrap();
        let explain = format!("EXPLAIN EXECUTE {query} ({arguments})");
        let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(&mut *connection).await.unwrap();
        let plan = plan.join("\n");
        // The log's one row may be read as it is.
        let plan = plan.replace("Seq Scan on change_log", "");
        assert!(!plan.contains("Seq Scan"), "{query}:\n{plan}");
    }
}
