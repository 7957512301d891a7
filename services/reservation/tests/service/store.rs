//! The schema: what the running role may do, that every statement fits it, and that the auditor sees what is wrong.

use holdfast_api::reservation::v1 as pb;
use holdfast_reservation::store::{STATEMENTS, Store};
use sqlx::AssertSqlSafe;

use crate::world::{World, ask, confirm, key, test};

#[test]
fn every_statement_prepares_as_the_running_role() {
    test(async |world| {
        let pool = world.database.pool(1).await;
        for (name, statement) in STATEMENTS {
            // PREPARE checks the schema; to explain the execution checks the role's privileges too, and executes nothing.
            let arguments = (1..)
                .take_while(|n| statement.contains(&format!("${n}")))
                .map(|_| "NULL")
                .collect::<Vec<_>>()
                .join(", ");
            let given = if arguments.is_empty() { String::new() } else { format!("({arguments})") };
            let explained = format!("PREPARE {name} AS {statement}; EXPLAIN EXECUTE {name}{given}");
            sqlx::raw_sql(AssertSqlSafe(explained))
                .execute(&pool)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    });
}

#[test]
fn the_running_role_can_neither_alter_the_schema_nor_change_the_ledger() {
    test(async |world| {
        world.count("CHAIR", 1).await;
        let pool = world.database.pool(1).await;
        for statement in [
            "UPDATE ledger SET held = 9",
            "DELETE FROM ledger",
            "TRUNCATE ledger",
            "DELETE FROM allocation",
            "UPDATE operation SET answer = '{}'",
            "CREATE TABLE mine (x int)",
            "ALTER TABLE stock DROP CONSTRAINT stock_shortfall_exact",
            "DROP TABLE stock",
            "CREATE OR REPLACE FUNCTION micros(instant timestamptz) RETURNS bigint LANGUAGE sql RETURN 0",
        ] {
            let error = sqlx::query(statement).execute(&pool).await.expect_err(statement);
            let code = error.as_database_error().and_then(|error| error.code().map(|code| code.to_string()));
            assert_eq!(code.as_deref(), Some("42501"), "{statement}: {error}");
        }
    });
}

#[test]
fn every_table_and_column_has_a_comment_and_every_constraint_a_name_of_ours() {
    test(async |world| {
        let pool = world.database.admin_pool().await;
        let uncommented: Vec<String> = sqlx::query_scalar(
            "SELECT c.relname || coalesce('.' || a.attname, '') FROM pg_class c
             JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
             LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             WHERE c.relkind IN ('r', 'p') AND c.relname <> '_sqlx_migrations'
               AND (obj_description(c.oid, 'pg_class') IS NULL OR col_description(c.oid, a.attnum) IS NULL)",
        )
        .fetch_all(&pool)
        .await
        .unwrap();
        assert_eq!(uncommented, Vec::<String>::new());
        let unnamed: Vec<String> = sqlx::query_scalar(
            "SELECT conname FROM pg_constraint JOIN pg_class c ON c.oid = conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = 'public' AND c.relname <> '_sqlx_migrations' AND conname ~ '(_check[0-9]*|_pkey|_key|_fkey)$'",
        )
        .fetch_all(&pool)
        .await
        .unwrap();
        assert_eq!(unnamed, Vec::<String>::new());
    });
}

#[test]
fn an_oversell_is_refused_by_the_record_itself() {
    test(async |world| {
        world.count("CHAIR", 1).await;
        let pool = world.database.pool(1).await;
        let error = sqlx::query("UPDATE stock SET held = held + 2").execute(&pool).await.unwrap_err();
        assert_eq!(error.as_database_error().and_then(|error| error.constraint()), Some("stock_shortfall_exact"));
    });
}

#[test]
fn a_plan_raises_no_shortfall_unless_it_says_that_a_count_an_adjustment_or_a_policy_does() {
    test(async |world| {
        world.count("CHAIR", 1).await;
        let admin = world.database.admin_pool().await;
        let mut undone = admin.begin().await.unwrap();
        let plan = |may_raise: bool| {
            let level =
                format!("level_json(s) || '{{\"held\": 3, \"shortfall\": 2, \"may_raise_shortfall\": {may_raise}}}'");
            format!(
                "SELECT write_plan(jsonb_build_object('progress', '[]'::jsonb, 'levels', jsonb_build_array({level}))) FROM stock s"
            )
        };
        sqlx::query(AssertSqlSafe(plan(true))).execute(&mut *undone).await.unwrap();
        undone.rollback().await.unwrap();
        let error = sqlx::query(AssertSqlSafe(plan(false))).execute(&admin).await.unwrap_err();
        assert_eq!(error.as_database_error().and_then(|error| error.constraint()), Some("stock_shortfall_exact"));
    });
}

#[test]
fn each_entry_of_a_batch_has_the_trace_of_its_own_request() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let held = world.hold("CHAIR", 1).await;
        let admin = world.database.admin_pool().await;
        let batch = "SELECT commit_fast(
            ARRAY[$1, $2]::uuid[], ARRAY['anna', 'bert'], array_fill(decode(repeat('00', 32), 'hex'), ARRAY[2]),
            array_fill('[[\"CHAIR\", null, 1]]'::jsonb, ARRAY[2]), ARRAY[60000000, 60000000], ARRAY['x', 'x'],
            ARRAY[$1, $2]::uuid[], ARRAY['CHAIR', 'CHAIR'], ARRAY['main', 'main'], ARRAY[1, 1],
            ARRAY[$3]::uuid[], ARRAY[decode(repeat('00', 32), 'hex')], ARRAY[$4]::uuid[], ARRAY['CONFIRMED'], ARRAY['x'],
            900000000, 3600000000, array_fill(NULL::jsonb, ARRAY[2]), ARRAY[NULL]::text[], ARRAY['one', 'two'], ARRAY['three'])";
        let [one, two, request] = [key(), key(), key()];
        sqlx::query(batch).bind(&one).bind(&two).bind(&request).bind(&held).execute(&admin).await.unwrap();
        let traces: Vec<(String, Option<String>)> =
            sqlx::query_as("SELECT cause_id::text, trace FROM ledger WHERE version > 2 ORDER BY version")
                .fetch_all(&admin)
                .await
                .unwrap();
        let own = [(one, "one"), (two, "two"), (held, "three")];
        assert_eq!(traces, own.map(|(id, trace)| (id, Some(trace.to_owned()))));
    });
}

/// Lets a channel have so many units of a SKU.
async fn cap(world: &World, sku: &str, channel: &str, units: i64) {
    let cap = pb::ChannelCap { channel: channel.into(), quantity: units };
    let policy = pb::SkuPolicy {
        sku: sku.into(),
        version: 1,
        max_per_minute: 1_000,
        channel_caps: vec![cap],
        ..Default::default()
    };
    let request = pb::ApplyPoliciesRequest { policies: vec![policy] };
    world.stock().apply_policies(request).await.expect("the policy is taken");
}

/// What somebody does to the record behind the service's back, and the invariant that must speak up. Each is undone before the world ends.
const PLANTED: &[(&str, &str, &str)] = &[
    ("a unit appears from nowhere", "UPDATE stock SET on_hand = on_hand + 1", "I3"),
    ("a hold is forgotten by the row", "UPDATE stock SET held = 0", "I3"),
    ("a ledger entry vanishes", "DELETE FROM ledger WHERE version = 2", "I3"),
    ("a reservation vanishes", "DELETE FROM reservation", "I3"),
    ("a state is turned back", "UPDATE reservation SET state = 'HELD' WHERE state = 'CONFIRMED'", "I6"),
    (
        "a confirmed reservation is released",
        "UPDATE reservation SET state = 'RELEASED' WHERE state = 'CONFIRMED'",
        "I3",
    ),
    ("units are promised twice", "UPDATE ledger SET held = held + 50 WHERE cause = 'RESERVE'", "I2"),
    ("a selling policy is not followed", "UPDATE policy SET version = 1, safety = 3", "I3"),
    ("a counter of a channel drifts", "UPDATE channel_use SET units = units + 1", "I3"),
    ("a counter of a channel vanishes", "DELETE FROM channel_use", "I3"),
    (
        "a row is sold while its SKU is paused",
        "UPDATE selling SET paused_at = now(), paused_by = 'ann', note = ''",
        "I3",
    ),
    ("units are reflected behind the row's back", "UPDATE progress SET reflected = reflected + 1", "I3"),
    ("a sale is reopened", "UPDATE progress SET fulfilled = 0", "I6"),
    ("a sale is ended with units open", "UPDATE reservation SET state = 'CANCELLED' WHERE state = 'CONFIRMED'", "I6"),
    ("what became of units vanishes", "DELETE FROM progress", "I3"),
    (
        "a reservation is granted twice",
        "INSERT INTO ledger (sku, location, version, at, cause, cause_id, held, actor) SELECT sku, location, version + 100, at, cause, cause_id, held, actor FROM ledger WHERE cause = 'RESERVE'",
        "I4",
    ),
];

#[test]
fn the_auditor_finds_every_kind_of_planted_fault() {
    test(async |world| {
        world.count("CHAIR", 20).await;
        cap(world, "CHAIR", "web", 5).await;
        world.hold("CHAIR", 2).await;
        world.confirm(&world.hold("CHAIR", 1).await).await.unwrap();
        let web = pb::ReserveRequest { channel: "web".into(), ..ask(&[("CHAIR", 3)]) };
        world.reservations().reserve(web).await.unwrap();
        let part = world.hold("CHAIR", 4).await;
        let bought = pb::Portion { sku: "CHAIR".into(), location: String::new(), quantity: 3 };
        let request = pb::ConfirmRequest { portions: vec![bought], ..confirm(&part) };
        world.reservations().confirm(request).await.unwrap();
        let shipped = pb::FulfilRequest { request_id: key(), reservation_id: part.clone(), ..Default::default() };
        world.reservations().fulfil(shipped).await.unwrap();
        let pool = world.database.admin_pool().await;
        for (what, statement, invariant) in PLANTED {
            let backup = "CREATE TABLE saved_stock AS TABLE stock; CREATE TABLE saved_ledger AS TABLE ledger; CREATE TABLE saved_reservation AS TABLE reservation; CREATE TABLE saved_policy AS TABLE policy; CREATE TABLE saved_channels AS TABLE channel_use; CREATE TABLE saved_selling AS TABLE selling;
                          CREATE TABLE saved_progress AS TABLE progress; ALTER TABLE saved_progress DROP COLUMN is_pending";
            let restore = "TRUNCATE stock, ledger, reservation, policy, channel_use, selling, progress; INSERT INTO stock TABLE saved_stock; INSERT INTO ledger TABLE saved_ledger;
                           INSERT INTO reservation TABLE saved_reservation; INSERT INTO policy TABLE saved_policy; INSERT INTO channel_use TABLE saved_channels;
                           INSERT INTO selling TABLE saved_selling;
                           INSERT INTO progress (reservation_id, sku, location, quantity, released, cancelled, cancelling, withdrawn, fulfilled, returned, reflected, evidence, known_at, known_until)
                               TABLE saved_progress;
                           DROP TABLE saved_stock, saved_ledger, saved_reservation, saved_policy, saved_channels, saved_selling, saved_progress";
            sqlx::raw_sql(backup).execute(&pool).await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(*statement))
                .execute(&pool)
                .await
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            let findings = Store::new(world.database.pool(1).await).audit(20).await.unwrap();
            assert!(findings.iter().any(|finding| finding.invariant == *invariant), "{what}: {findings:?}");
            sqlx::raw_sql(restore).execute(&pool).await.unwrap();
        }
    });
}
