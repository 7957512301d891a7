//! The continuous auditor, whole audits and repair: every kind of fault is planted behind the committer's back, found, and repaired or explained.

mod sales;

use std::time::Duration;

use holdfast_api::reservation::v1 as pb;
use holdfast_api::reservation::v1::audit_service_client::AuditServiceClient;
use holdfast_api::reservation::v1::run_audit_response::Event;
use holdfast_kit::ErrorReason;
use holdfast_testkit::eventually;
use pb::{DiscrepancyKind as Kind, RepairOutcome as Outcome, RepairSide as Side};
use sqlx::AssertSqlSafe;

use crate::world::{Options, World, all_at_once, ask, confirm, key, reason, release, seconds, test_with};

/// Longer than any round takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// An auditor that looks all the time.
fn watchful(replicas: usize) -> Options {
    with(replicas, &[("AUDITOR__COUNTER_GRACE_MS", "1000"), ("RECONCILER__PERIOD_MS", "200")])
}

fn with(replicas: usize, settings: &[(&'static str, &str)]) -> Options {
    let usual = [("AUDITOR__PERIOD_MS", "100"), ("AUDITOR__SHARE_PERCENT", "100")];
    let settings = usual.iter().chain(settings).map(|(key, value)| (*key, (*value).to_owned())).collect();
    Options { replicas, settings, ..Options::default() }
}

fn audits(world: &World) -> AuditServiceClient<tonic::transport::Channel> {
    world.audits_of(0)
}

async fn open(world: &World) -> Vec<pb::Discrepancy> {
    let request = pb::ListDiscrepanciesRequest { page_size: 1_000, ..Default::default() };
    audits(world).list_discrepancies(request).await.expect("a list").into_inner().discrepancies
}

async fn finds(world: &World, kind: Kind) -> pb::Discrepancy {
    eventually(&format!("the auditor finds {kind:?}"), PATIENCE, || async {
        open(world).await.into_iter().find(|one| one.kind() == kind)
    })
    .await
}

async fn comes_to_rest(world: &World) {
    let last = std::sync::Mutex::new(Vec::new());
    let rest = eventually("nothing is wrong any more", PATIENCE, || async {
        let found = open(world).await;
        let is_empty = found.is_empty();
        *last.lock().unwrap() = found;
        is_empty.then_some(())
    });
    // Said before the wait gives up, which cannot say it.
    let told = tokio::time::timeout(PATIENCE.mul_f64(0.9), rest).await;
    assert!(told.is_ok(), "still wrong: {:#?}", last.lock().unwrap());
}

/// What a whole audit on demand finds.
async fn whole(world: &World) -> (Vec<Kind>, pb::AuditEnd) {
    let mut stream = audits(world).run_audit(pb::RunAuditRequest {}).await.expect("it begins").into_inner();
    let mut kinds = Vec::new();
    while let Some(message) = stream.message().await.expect("it goes on") {
        match message.event.expect("an event") {
            Event::Discrepancy(one) => kinds.push(one.kind()),
            Event::Progress(_) => {}
            Event::End(end) => return (kinds, end),
        }
    }
    panic!("it ended without an end");
}

fn repair_of(found: &[pb::Discrepancy], side: Side, validate_only: bool) -> pb::RepairRequest {
    pb::RepairRequest {
        request_id: key(),
        discrepancy_ids: found.iter().map(|one| one.discrepancy_id.clone()).collect(),
        actor: "ada".into(),
        reason: "planted".into(),
        side: side.into(),
        validate_only,
    }
}

async fn repair(world: &World, request: pb::RepairRequest) -> pb::RepairResponse {
    audits(world).repair(request).await.expect("an answer").into_inner()
}

/// Repairs whatever is open until nothing is.
async fn repair_all(world: &World, side: Side) {
    let found = open(world).await;
    let answer = repair(world, repair_of(&found, side, false)).await;
    let left: Vec<_> = answer.results.iter().filter(|one| one.outcome() == Outcome::Left).collect();
    assert!(left.is_empty(), "{left:#?}");
    assert!(answer.results.iter().any(|one| one.outcome() == Outcome::Repaired), "{answer:#?}");
    comes_to_rest(world).await;
    assert_eq!(world.audit().await, [], "the whole audit agrees");
    let (kinds, end) = whole(world).await;
    assert_eq!(kinds, []);
    assert_eq!((end.discrepancies, end.skipped_skus, end.counters_checked), (0, 0, true));
}

/// A shop with a hold, a sale and a released hold of CHAIR, and a policy.
async fn shop(world: &World) -> (String, String) {
    world.count("CHAIR", 20).await;
    world.count("TABLE", 5).await;
    let policy = pb::SkuPolicy {
        sku: "CHAIR".into(),
        version: 1,
        safety_stock: 2,
        locations: vec!["main".into()],
        ..Default::default()
    };
    let request = pb::ApplyPoliciesRequest { policies: vec![policy] };
    world.stock().apply_policies(request).await.expect("the policy is taken");
    let held = world.hold("CHAIR", 3).await;
    let sold = world.hold("CHAIR", 2).await;
    world.confirm(&sold).await.expect("confirmed");
    let freed = world.hold("CHAIR", 1).await;
    world.release(&freed).await.expect("released");
    (held, sold)
}

/// Leaves nothing in the record. By deleting: what truncates several tables locks out whoever reads them in another order, and one of the two is cut off.
async fn clear(world: &World) {
    let tables = [
        "at_risk",
        "channel_use",
        "selling",
        "operation",
        "policy",
        "progress",
        "allocation",
        "reservation",
        "ledger",
        "stock",
    ];
    let script: String = tables.iter().map(|table| format!("DELETE FROM {table};")).collect();
    sqlx::raw_sql(AssertSqlSafe(script)).execute(&world.database.admin_pool().await).await.unwrap();
    world.wipe_redis().await;
}

async fn plant(world: &World, statement: String) {
    let pool = world.database.admin_pool().await;
    sqlx::raw_sql(AssertSqlSafe(statement.clone()))
        .execute(&pool)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// What is done behind the committer's back (`{held}` and `{sold}` are reservations), and the kinds that must be found. All of these can be repaired.
const REPAIRABLE: &[(&str, &str, &[Kind])] = &[
    ("a unit appears from nowhere", "UPDATE stock SET on_hand = on_hand + 1 WHERE sku = 'CHAIR'", &[Kind::LedgerSum]),
    (
        "units vanish in quality hold",
        "UPDATE stock SET quality_hold = 4, damaged = 1 WHERE sku = 'CHAIR'",
        &[Kind::LedgerSum],
    ),
    ("a hold is lost by the row", "UPDATE stock SET held = 0 WHERE sku = 'CHAIR'", &[Kind::LedgerSum, Kind::Promises]),
    (
        "a row promises too much",
        "UPDATE stock SET committed = committed + 1 WHERE sku = 'CHAIR'",
        &[Kind::LedgerSum, Kind::Promises],
    ),
    (
        "a ledger entry is edited",
        "UPDATE ledger SET held = held + 50 WHERE cause_id = '{held}'",
        &[Kind::LedgerSum, Kind::Reservation, Kind::Oversold],
    ),
    (
        "a count in the ledger is edited",
        "UPDATE ledger SET on_hand = 25 WHERE sku = 'CHAIR' AND version = 1",
        &[Kind::LedgerSum],
    ),
    (
        "an allocation is lost",
        "DELETE FROM allocation WHERE reservation_id = '{held}'",
        &[Kind::Promises, Kind::Reservation],
    ),
    (
        "an allocation is invented",
        "INSERT INTO allocation VALUES ('{held}', 'TABLE', 'main', 2)",
        &[Kind::Promises, Kind::Reservation],
    ),
    (
        "an allocation has other units",
        "UPDATE allocation SET quantity = 4 WHERE reservation_id = '{sold}'",
        &[Kind::Promises, Kind::Reservation],
    ),
    (
        "a sale is turned back into a hold",
        "UPDATE reservation SET state = 'HELD' WHERE id = '{sold}'",
        &[Kind::Promises, Kind::Reservation],
    ),
    (
        "a sale is called released",
        "UPDATE reservation SET state = 'RELEASED' WHERE id = '{sold}'",
        &[Kind::Promises, Kind::Reservation],
    ),
    (
        "a hold is called sold",
        "UPDATE reservation SET state = 'CONFIRMED' WHERE id = '{held}'",
        &[Kind::Promises, Kind::Reservation],
    ),
    ("a hold vanishes", "DELETE FROM reservation WHERE id = '{held}'", &[Kind::Promises, Kind::Reservation]),
    ("a sale vanishes", "DELETE FROM reservation WHERE id = '{sold}'", &[Kind::Promises, Kind::Reservation]),
    (
        "a hold without units appears",
        "INSERT INTO reservation (id, owner, state, created_at, expires_at, state_at, version)
         VALUES ('0190a0a0-0000-7000-8000-000000000001', 'x', 'HELD', now(), now() + interval '1 hour', now(), 1)",
        &[Kind::Reservation],
    ),
    ("safety stock is edited", "UPDATE stock SET safety = 9 WHERE sku = 'CHAIR'", &[Kind::LedgerSum, Kind::Policy]),
    ("the order of locations is edited", "UPDATE stock SET rank = 7 WHERE sku = 'CHAIR'", &[Kind::Policy]),
    ("a row is archived by hand", "UPDATE stock SET archived = true WHERE sku = 'CHAIR'", &[Kind::Policy, Kind::Turn]),
    ("a row is called stale", "UPDATE stock SET freshness = 'STALE' WHERE sku = 'TABLE'", &[Kind::Turn]),
    (
        "an offer is capped by hand",
        "UPDATE stock SET cap_units = 1, cap_as_of = now(), cap_sequence = 0 WHERE sku = 'CHAIR'",
        &[Kind::Turn],
    ),
    ("a policy is edited", "UPDATE policy SET safety = 3, backorder = 4 WHERE sku = 'CHAIR'", &[Kind::Policy]),
    (
        "the record's own check is switched off",
        "ALTER TABLE stock DROP CONSTRAINT stock_shortfall_exact; UPDATE stock SET shortfall = 3 WHERE sku = 'CHAIR'",
        &[Kind::Shortfall],
    ),
    ("a row of stock vanishes", "DELETE FROM stock WHERE sku = 'CHAIR'", &[Kind::LedgerSum, Kind::Promises]),
    (
        "a row is set back in its versions",
        "UPDATE stock SET version = version - 1 WHERE sku = 'CHAIR'",
        &[Kind::LedgerChain],
    ),
];

#[test]
fn every_fault_that_can_be_repaired_is_found_and_repaired_by_entries_that_are_only_added() {
    test_with(watchful(1), async |world| {
        for (what, statement, kinds) in REPAIRABLE {
            println!("{what}");
            let (held, sold) = shop(world).await;
            comes_to_rest(world).await;
            let pool = world.database.admin_pool().await;
            plant(world, statement.replace("{held}", &held).replace("{sold}", &sold)).await;
            let entries: Vec<String> =
                sqlx::query_scalar("SELECT ledger::text FROM ledger").fetch_all(&pool).await.unwrap();
            for kind in *kinds {
                finds(world, *kind).await;
            }
            let (found, _) = whole(world).await;
            assert!(kinds.iter().all(|kind| found.contains(kind)), "{what}: a whole audit finds {found:?}");
            // A dry run says what it would do and does nothing.
            let dry = repair(world, repair_of(&open(world).await, Side::Row, true)).await;
            assert!(
                dry.results.iter().all(|one| one.outcome() == Outcome::Repaired || one.outcome() == Outcome::Gone),
                "{dry:#?}"
            );
            assert!(!open(world).await.is_empty());
            repair_all(world, Side::Row).await;
            let after: Vec<String> =
                sqlx::query_scalar("SELECT ledger::text FROM ledger").fetch_all(&pool).await.unwrap();
            assert!(entries.iter().all(|entry| after.contains(entry)), "{what}: an entry was changed");
            clear(world).await;
            sqlx::raw_sql(
                "ALTER TABLE stock DROP CONSTRAINT IF EXISTS stock_shortfall_exact,
                     ADD CONSTRAINT stock_shortfall_exact CHECK (shortfall = greatest(0, held + committed - on_hand - backorder))",
            )
            .execute(&pool)
            .await
            .unwrap();
        }
        let metrics = world.metrics().await;
        let count = |name: &str| -> f64 {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
            line.unwrap_or_else(|| panic!("{name} is missing in {metrics}")).parse().unwrap()
        };
        let planted = u32::try_from(REPAIRABLE.len()).unwrap();
        assert!(count("holdfast_audit_detection_seconds_count") >= f64::from(planted));
        assert!(count("holdfast_audit_passes_total") >= 1.0);
    });
}

/// What cannot be repaired, since whoever puts the lost entries back would find it wrong again.
const EXPLAINED: &[(&str, &str)] = &[
    ("an entry vanishes", "DELETE FROM ledger WHERE sku = 'CHAIR' AND version = 2"),
    ("the newest entry vanishes", "DELETE FROM ledger l WHERE sku = 'CHAIR' AND version = (SELECT max(version) FROM ledger WHERE sku = 'CHAIR')"),
    (
        "an entry comes twice",
        "INSERT INTO ledger (sku, location, version, at, cause, cause_id, held, actor)
         SELECT sku, location, version + 100, at, cause, cause_id, held, actor FROM ledger WHERE sku = 'CHAIR' AND cause = 'RESERVE' LIMIT 1",
    ),
    ("a row counts on", "UPDATE stock SET version = version + 1 WHERE sku = 'CHAIR'"),
];

#[test]
fn a_ledger_that_lost_or_gained_entries_is_left_with_the_reason_until_they_are_put_right() {
    test_with(watchful(1), async |world| {
        shop(world).await;
        let pool = world.database.admin_pool().await;
        for (what, statement) in EXPLAINED {
            println!("{what}");
            sqlx::raw_sql("CREATE TABLE saved_ledger AS TABLE ledger; CREATE TABLE saved_stock AS TABLE stock")
                .execute(&pool)
                .await
                .unwrap();
            plant(world, (*statement).to_owned()).await;
            finds(world, Kind::LedgerChain).await;
            assert!(!world.audit().await.is_empty(), "{what}");
            let answer = repair(world, repair_of(&open(world).await, Side::Row, false)).await;
            let left =
                answer.results.iter().find(|one| one.outcome() == Outcome::Left && one.sku == "CHAIR").expect(what);
            assert!(left.detail.contains("put them right from a backup"), "{}", left.detail);
            assert!(answer.results.iter().all(|one| one.outcome() != Outcome::Repaired), "{answer:#?}");
            sqlx::raw_sql(
                "BEGIN; DELETE FROM ledger; INSERT INTO ledger TABLE saved_ledger; DELETE FROM stock; INSERT INTO stock TABLE saved_stock;
                 DROP TABLE saved_ledger, saved_stock; COMMIT",
            )
            .execute(&pool)
            .await
            .unwrap();
            comes_to_rest(world).await;
            assert_eq!(world.audit().await, []);
        }
    });
}

#[test]
fn with_the_ledgers_side_a_row_goes_back_to_what_its_entries_add_up_to() {
    test_with(watchful(1), async |world| {
        shop(world).await;
        plant(world, "UPDATE stock SET on_hand = 99, damaged = 7, freshness = 'STALE' WHERE sku = 'CHAIR'".to_owned())
            .await;
        finds(world, Kind::LedgerSum).await;
        finds(world, Kind::Turn).await;
        repair_all(world, Side::Ledger).await;
        let level = world.level("CHAIR").await;
        assert_eq!((level.on_hand, level.unsellable.len(), level.freshness()), (20, 0, pb::Freshness::Fresh));
    });
}

#[test]
fn a_counter_that_is_wrong_is_found_and_published_anew() {
    // A reconciler that leaves counters as they are.
    let left = [("AUDITOR__COUNTER_GRACE_MS", "300"), ("RECONCILER__PERIOD_MS", "3600000")];
    test_with(with(1, &left), async |world| {
        shop(world).await;
        let right = world.published("CHAIR").await;
        let url = world.redis.lock().await.admin_url();
        let mut redis = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
        let now = "1700000000000000";
        for words in [
            vec!["HSET", "hf:a:{CHAIR}", "l:main", "999"],
            vec!["HSET", "hf:a:{CHAIR}", "l:main", "0"],
            vec!["HSET", "hf:a:{CHAIR}", "l:main", "many"],
            vec!["SET", "hf:a:{CHAIR}", "a string"],
            vec!["HSET", "hf:a:{NOBODY}", "l:main", "3", "at", now],
        ] {
            let sku = if words[1].contains("NOBODY") { "NOBODY" } else { "CHAIR" };
            let mut command = redis::cmd(words[0]);
            for word in &words[1..] {
                command.arg(word);
            }
            command.exec_async(&mut redis).await.unwrap();
            if sku == "NOBODY" {
                // Nobody asks about what stands nowhere in the record; it is not looked for, and Reserve asks Postgres.
                assert_eq!(reason(world.reserve("NOBODY", 1).await), ErrorReason::UnknownSku);
                continue;
            }
            let found = finds(world, Kind::Counter).await;
            assert_eq!((found.sku.as_str(), found.location.as_str()), ("CHAIR", ""));
            let (kinds, _) = whole(world).await;
            assert_eq!(kinds, [Kind::Counter], "{words:?}");
            repair_all(world, Side::Row).await;
            assert_eq!(world.published("CHAIR").await, right, "{words:?}");
        }
    });
}

#[test]
fn a_repair_sent_twice_or_in_parallel_has_one_effect() {
    test_with(watchful(2), async |world| {
        shop(world).await;
        plant(world, "UPDATE stock SET on_hand = on_hand + 3 WHERE sku = 'CHAIR'".to_owned()).await;
        let found = finds(world, Kind::LedgerSum).await;
        let request = repair_of(std::slice::from_ref(&found), Side::Row, false);
        let answers = all_at_once((0..8).map(|n| {
            let (mut client, request) = (world.audits_of(n), request.clone());
            async move { client.repair(request).await.expect("an answer").into_inner() }
        }))
        .await;
        assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
        assert!(answers.iter().all(|answer| answer.results == answers[0].results), "{answers:#?}");
        let again = repair(world, repair_of(&[found], Side::Row, false)).await;
        assert_eq!(again.results[0].outcome(), Outcome::Gone, "another key finds nothing to do");
        let other = pb::RepairRequest { reason: "another".into(), ..request };
        assert_eq!(reason(audits(world).repair(other).await), ErrorReason::KeyReused);
        let pool = world.database.pool(1).await;
        let entries: Vec<(i64, String, String)> =
            sqlx::query_as("SELECT on_hand, actor, note FROM ledger WHERE cause = 'REPAIR'")
                .fetch_all(&pool)
                .await
                .unwrap();
        assert_eq!(entries, [(3, "ada".to_owned(), "planted".to_owned())]);
        comes_to_rest(world).await;
    });
}

#[test]
fn repairs_amid_sales_of_the_same_row_lose_nothing() {
    test_with(watchful(2), async |world| {
        world.count("SALE", 1_000).await;
        plant(world, "UPDATE stock SET on_hand = on_hand + 1 WHERE sku = 'SALE'".to_owned()).await;
        let found = finds(world, Kind::LedgerSum).await;
        let buyers = (0..60).map(|n| {
            let mut client = world.reservations_of(n);
            async move {
                for _ in 0..5 {
                    let id = client.reserve(ask(&[("SALE", 1)])).await.expect("there is enough");
                    let id = id.into_inner().reservation.expect("a reservation").reservation_id;
                    client.confirm(confirm(&id)).await.expect("confirmed");
                }
            }
        });
        let request = repair_of(&[found], Side::Row, false);
        let (_, answer) = tokio::join!(all_at_once(buyers), repair(world, request));
        assert_eq!(answer.results[0].outcome(), Outcome::Repaired);
        let level = world.level("SALE").await;
        assert_eq!((level.on_hand, level.held, level.committed), (1_001, 0, 300));
        comes_to_rest(world).await;
    });
}

#[test]
fn beside_heavy_load_nothing_is_found() {
    test_with(with(2, &[("AUDITOR__COUNTER_GRACE_MS", "4000")]), async |world| {
        for sku in ["A", "B", "C", "D"] {
            world.count(sku, 3_000).await;
        }
        let buyers = (0..40).map(|n: usize| {
            let (mut client, mut stock) = (world.reservations_of(n), world.stock_of(n));
            let count = world.counts(vec![("A", "main", 2_900), ("B", "main", 3_100)]);
            async move {
                for round in 0..15 {
                    let carts: [&[(&str, i64)]; 3] =
                        [&[("A", 1), ("B", 1)], &[("C", 2)], &[("D", 1), ("A", 1), ("C", 1)]];
                    let mut request = ask(carts[(n + round) % 3]);
                    if round % 5 == 0 {
                        request.hold_duration = seconds(1);
                    }
                    let id = request.reservation_id.clone();
                    client.reserve(request).await.expect("there is enough");
                    let done = match round % 3 {
                        0 => client.confirm(confirm(&id)).await.map(drop),
                        1 => client.release(release(&id)).await.map(drop),
                        _ => Ok(()),
                    };
                    // A short hold may be over by now on a busy machine.
                    if let Err(status) = done {
                        assert_eq!(
                            holdfast_kit::reason_of(&status),
                            Some(ErrorReason::ReservationExpired),
                            "{status:?}"
                        );
                    }
                }
                stock.apply_counts(count).await.expect("taken or stale");
            }
        });
        let looking = async {
            let mut runs = 0;
            for _ in 0..3 {
                let (kinds, end) = whole(world).await;
                assert_eq!(kinds, []);
                assert!(end.skus >= 4);
                runs += 1;
            }
            runs
        };
        let (_, runs) = tokio::join!(all_at_once(buyers), looking);
        assert_eq!(runs, 3);
        let passes = |metrics: &str| -> u64 {
            let value = metrics.lines().find_map(|line| line.strip_prefix("holdfast_audit_passes_total "));
            value.expect("it is declared").parse().unwrap()
        };
        eventually("further passes end", PATIENCE, || async {
            let (one, other) = (world.metrics_of(0).await, world.metrics_of(1).await);
            (passes(&one) + passes(&other) >= 3).then_some(())
        })
        .await;
        let request = pb::ListDiscrepanciesRequest { show_resolved: true, ..Default::default() };
        let ever = audits(world).list_discrepancies(request).await.unwrap().into_inner().discrepancies;
        assert_eq!(ever, [], "no false alarm, not even for a moment");
    });
}

#[test]
fn one_replica_audits_and_another_takes_over_when_its_turn_runs_out() {
    let short = [("AUDITOR__TURN_MS", "10000"), ("AUDITOR__STATEMENT_TIMEOUT_MS", "5000")];
    test_with(with(2, &short), async |world| {
        world.count("CHAIR", 1).await;
        let turns = async || {
            let turn = |metrics: &str| metrics.lines().any(|line| line == "holdfast_audit_turn 1");
            (turn(&world.metrics_of(0).await), turn(&world.metrics_of(1).await))
        };
        eventually("exactly one of them audits", PATIENCE, || async {
            let (one, other) = turns().await;
            (one != other).then_some(())
        })
        .await;
        // The holder is cut off as a dead one is: somebody else's name stands there, and it runs out.
        plant(
            world,
            "UPDATE audit_turn SET holder = gen_random_uuid(), held_until = now() + interval '1 second'".to_owned(),
        )
        .await;
        plant(world, "UPDATE stock SET on_hand = 2".to_owned()).await;
        finds(world, Kind::LedgerSum).await;
        repair_all(world, Side::Row).await;
    });
}

#[test]
fn repair_refuses_what_it_cannot_read_and_ids_that_it_does_not_know() {
    test_with(watchful(1), async |world| {
        let good = pb::RepairRequest { discrepancy_ids: vec![key()], ..repair_of(&[], Side::Row, false) };
        assert_eq!(reason(audits(world).repair(good.clone()).await), ErrorReason::NotFound);
        for bad in [
            pb::RepairRequest { request_id: "x".into(), ..good.clone() },
            pb::RepairRequest { discrepancy_ids: Vec::new(), ..good.clone() },
            pb::RepairRequest { discrepancy_ids: vec!["x".into()], ..good.clone() },
            pb::RepairRequest { discrepancy_ids: (0..101).map(|_| key()).collect(), ..good.clone() },
            pb::RepairRequest { discrepancy_ids: vec![good.discrepancy_ids[0].clone(); 2], ..good.clone() },
            pb::RepairRequest { reason: String::new(), ..good.clone() },
            pb::RepairRequest { actor: String::new(), ..good.clone() },
            pb::RepairRequest { reason: "x".repeat(501), ..good.clone() },
            pb::RepairRequest { side: 9, ..good.clone() },
        ] {
            assert_eq!(reason(audits(world).repair(bad).await), ErrorReason::InvalidField);
        }
        let request = pb::ListDiscrepanciesRequest { page_token: "x".into(), ..Default::default() };
        assert_eq!(reason(audits(world).list_discrepancies(request).await), ErrorReason::InvalidPageToken);
    });
}
