//! The schema, and what the running role may do in it.

use std::fs;
use std::path::Path;

use holdfast_api::vendorsync::v1 as wire;
use holdfast_testkit::database;
use holdfast_vendor_sync::store::MIGRATOR;
use sqlx::{AssertSqlSafe, Executor as _};

use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_prepares_as_the_running_role() {
    let database = database("vendor_sync", &MIGRATOR).await;
    let pool = database.pool(1).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
    let mut prepared = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let statement = format!("PREPARE q{prepared} AS {}", fs::read_to_string(&path).unwrap());
        pool.execute(AssertSqlSafe(statement)).await.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        prepared += 1;
    }
    assert!(prepared > 20, "the folder has the service's queries");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_running_role_cannot_alter_the_schema_or_rewrite_what_is_final() {
    let database = database("vendor_sync", &MIGRATOR).await;
    let pool = database.pool(1).await;
    for forbidden in [
        "CREATE TABLE t (a int)",
        "CREATE TEMPORARY TABLE t (a int)",
        "CREATE SCHEMA s",
        "ALTER TABLE run ADD COLUMN a int",
        "DROP TABLE run_row",
        "TRUNCATE run_row",
        "DELETE FROM connection",
        "UPDATE connection SET vendor = 'x'",
        "UPDATE connection SET location = 'x'",
        "DELETE FROM run",
        "UPDATE run SET as_of = now()",
        "UPDATE run SET content_sha256 = ''",
        "UPDATE run_row SET fate = 'COUNTED'",
        "UPDATE run_count SET units = 1",
        "UPDATE connection SET create_time = now()",
        "UPDATE connection_event SET actor = 'x'",
        "DELETE FROM connection_event",
        "DELETE FROM sku_offers",
        "UPDATE offer SET sku = 'x'",
        "UPDATE request SET answer = ''",
    ] {
        let error = pool.execute(forbidden).await.expect_err(forbidden);
        let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
        assert_eq!(code.as_deref(), Some("42501"), "{forbidden}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_table_and_every_column_has_a_comment() {
    let database = database("vendor_sync", &MIGRATOR).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_work_go_by_index() {
    let database = database("vendor_sync", &MIGRATOR).await;
    let pool = database.admin_pool().await;
    pool.execute(
        "INSERT INTO connection (code, vendor, location, mode, meaning, csv_delimiter, csv_header, csv_key_column, csv_quantity_column)
         SELECT 'c' || n, 'v', 'l', 'FULL', 'ON_HAND', ',', ARRAY['a', 'b'], 'a', 'b' FROM generate_series(1, 200) n;
         INSERT INTO run (run_id, connection, number, state, as_of, sequence, file_name, content_sha256, content_bytes, create_time, end_time, next_attempt_time)
         SELECT gen_random_uuid(), 'c' || (n % 200 + 1), n, 'APPLIED', 'epoch'::timestamptz + n * interval '1 second', 0, '', sha256(n::text::bytea), 1, now(), now(), now()
         FROM generate_series(1, 20000) n;
         INSERT INTO run (run_id, connection, number, as_of, sequence, file_name, content_sha256, content_bytes, create_time, next_attempt_time)
         VALUES ('00000000-0000-0000-0000-000000000001', 'c1', 30000, now(), 0, '', sha256('x'), 1, now(), now());
         INSERT INTO run_row (run_id, ordinal, line, vendor_sku, raw_quantity, fate, note)
         SELECT '00000000-0000-0000-0000-000000000001', n, n, 'k' || n, '', 'UNMAPPED', '' FROM generate_series(1, 20000) n;
         INSERT INTO run_batch (run_id, batch, request_id)
         SELECT '00000000-0000-0000-0000-000000000001', n, gen_random_uuid() FROM generate_series(1, 20) n;
         INSERT INTO run_count (run_id, sku, batch, units, rows)
         SELECT '00000000-0000-0000-0000-000000000001', 'S' || n, n % 20 + 1, 1, 1 FROM generate_series(1, 20000) n;
         INSERT INTO feed_state (connection, vendor_sku, as_of, sequence)
         SELECT 'c' || (n % 200 + 1), 'k' || n, now(), 0 FROM generate_series(1, 20000) n;
         INSERT INTO quarantined (quarantine_id, state, kind, connection, run_id, vendor_sku, sku, location, raw_quantity, rules, explanation, exposure, as_of,
             sequence, is_limited, believe_time, decide_time, done_time)
         SELECT gen_random_uuid(), CASE WHEN n % 10 = 0 THEN 'PENDING' ELSE 'REJECTED' END, 'COUNT', 'c' || (n % 200 + 1),
             '00000000-0000-0000-0000-000000000001', 'k' || n, 'S' || n, 'l', '', ARRAY['R2'], '', 0, now(), 0, true, now(),
             CASE WHEN n % 10 > 0 THEN now() END, CASE WHEN n % 10 > 0 AND n % 1000 <> 1 THEN now() END
         FROM generate_series(1, 20000) n;
         INSERT INTO sku_offers (sku, version, archived) SELECT 'S' || n, 1, false FROM generate_series(1, 20000) n;
         INSERT INTO offer (sku, vendor, location, vendor_sku, pack_size) SELECT 'S' || n, 'v' || (n % 20), 'l', 'k' || n, 1 FROM generate_series(1, 20000) n;
         INSERT INTO drop_file (connection, file_name, size_bytes, modify_time, seen_time)
         SELECT 'c' || (n % 200 + 1), 'f' || n, 1, now(), now() FROM generate_series(1, 20000) n;
         ANALYZE",
    )
    .await
    .unwrap();
    let run = "'00000000-0000-0000-0000-000000000001'";
    for (query, arguments) in [
        ("run_list", "NULL, NULL, 50, NULL".to_owned()),
        ("run_list_of_connection", "NULL, NULL, 50, NULL, 'c1'".to_owned()),
        ("run_next", "'c1'".to_owned()),
        ("run_find", "'c1', '\\x00', now(), NULL".to_owned()),
        ("run_row_list", format!("{run}, 100, NULL, 100")),
        ("run_batch_counts", format!("{run}, 3")),
        ("run_batches_open", run.to_owned()),
        ("feed_state_get", "'c1'".to_owned()),
        ("offer_find", "'v1', 'l', ARRAY['k1', 'k21']".to_owned()),
        ("offer_delete", "ARRAY['S1', 'S2']".to_owned()),
        ("drop_file_list", "'c1'".to_owned()),
        ("quarantined_get", run.to_owned()),
        ("quarantined_list", "NULL, NULL, 50, 'PENDING', NULL, NULL, NULL".to_owned()),
        ("quarantined_next", "'c1'".to_owned()),
        ("quarantined_believe", "100, ''".to_owned()),
        ("quarantined_others", run.to_owned()),
        ("quarantined_forget", "1000, 10".to_owned()),
        ("quarantined_supersede", format!("{run}, ARRAY['k1', 'k200']")),
        ("feed_state_get_house", "'c1', 'l'".to_owned()),
        ("run_accepted_files", "'c1', 5".to_owned()),
        ("run_supersede", "'c1', now(), 0".to_owned()),
        ("request_find", run.to_owned()),
        ("run_old", "1000, 10".to_owned()),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries").join(format!("{query}.sql"));
        let mut connection = pool.acquire().await.unwrap();
        let prepare = format!("PREPARE {query} AS {}", fs::read_to_string(path).unwrap());
        connection.execute(AssertSqlSafe(prepare)).await.unwrap();
        let explain = format!("EXPLAIN EXECUTE {query} ({arguments})");
        let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(&mut *connection).await.unwrap();
        let plan = plan.join("\n");
        // A handful of batches or connections, or an empty table, is read as fast as its index.
        let small =
            ["Seq Scan on request", "Seq Scan on run_batch", "Seq Scan on connection", "Seq Scan on run_content"];
        let plan = small.iter().fold(plan, |plan, small| plan.replace(small, ""));
        assert!(!plan.contains("Seq Scan"), "{query}:\n{plan}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_there_before_an_upgrade_goes_on_as_it_was() {
    let first = sqlx::migrate::Migrator::with_migrations(
        MIGRATOR.iter().filter(|migration| migration.version == 1).cloned().collect(),
    );
    let database = database("vendor_sync", &first).await;
    let pool = database.admin_pool().await;
    pool.execute(
        "INSERT INTO connection (code, vendor, location, mode, meaning, csv_delimiter, csv_header, csv_key_column, csv_quantity_column)
         VALUES ('acme-berlin', 'acme', 'berlin', 'FULL', 'ON_HAND', ',', ARRAY['code', 'stock', 'name'], 'code', 'stock');
         INSERT INTO run (run_id, connection, number, as_of, sequence, file_name, content_sha256, content_bytes, create_time, next_attempt_time)
         VALUES ('00000000-0000-0000-0000-000000000001', 'acme-berlin', 1, 'epoch', 0, '', sha256('x'), 1, now(), now());
         INSERT INTO run_content VALUES ('00000000-0000-0000-0000-000000000001', 0, convert_to('code,stock,name' || chr(10) || 'a,3,x', 'UTF8'));
         UPDATE connection SET runs = 1",
    )
    .await
    .unwrap();
    MIGRATOR.run(&sqlx::PgPool::connect(&database.owner_url()).await.unwrap()).await.unwrap();

    let world = World::on(database, &[]).await;
    world.offers("a:CHAIR");
    let run = world.finished("00000000-0000-0000-0000-000000000001").await;
    assert_eq!((run.state(), world.stock().as_str()), (wire::RunState::Applied, "CHAIR=3"));
    let request = wire::GetConnectionRequest { code: "acme-berlin".to_owned() };
    let kept = world.client.clone().get_connection(request).await.unwrap().into_inner().connection.unwrap();
    assert_eq!((kept.state(), kept.cadence, kept.apply_first_file), (wire::ConnectionState::Active, None, true));
    let said = kept.csv_schema.unwrap();
    assert_eq!((said.key_column.as_str(), said.header.len(), kept.etag.len()), ("code", 3, 16));
}
