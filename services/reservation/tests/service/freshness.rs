//! Numbers that age, runs that are whole, and numbers that wait for a person.

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;
use sqlx::Row as _;

use crate::world::{WAREHOUSE, World, ask, now, published_becomes, reason, seconds, test};

/// The shortest interval that can be promised.
const MINUTE: i64 = 60;

fn ago(seconds: i64) -> prost_types::Timestamp {
    let now = now();
    prost_types::Timestamp { seconds: now.seconds - seconds, ..now }
}

fn run(as_of: prost_types::Timestamp) -> pb::CompleteRunRequest {
    pb::CompleteRunRequest {
        connection: "acme".into(),
        location: WAREHOUSE.into(),
        as_of_time: Some(as_of),
        sequence: 0,
        promised_interval: seconds(MINUTE),
        covers_all: true,
        ..Default::default()
    }
}

fn counted(world: &World, as_of: prost_types::Timestamp, counts: &[(&str, i64)]) -> pb::ApplyCountsRequest {
    let counts = counts.iter().map(|(sku, units)| (*sku, WAREHOUSE, *units)).collect();
    pb::ApplyCountsRequest {
        connection: "acme".into(),
        as_of_time: Some(as_of),
        sequence: 0,
        covers_all: true,
        ..world.counts(counts)
    }
}

/// A whole run of the vendor's.
async fn feed(world: &World, as_of: prost_types::Timestamp, counts: &[(&str, i64)]) -> Vec<pb::CountOutcome> {
    let applied = world.stock().apply_counts(counted(world, as_of, counts)).await.expect("counts").into_inner();
    world.stock().complete_run(run(as_of)).await.expect("a whole run");
    applied.results.iter().map(pb::CountResult::outcome).collect()
}

async fn becomes(world: &World, sku: &str, freshness: pb::Freshness) -> pb::StockLevel {
    world.level_becomes(sku, freshness.as_str_name(), |level| level.freshness() == freshness).await
}

async fn effect(world: &World, as_of: prost_types::Timestamp, units: i64, effect: pb::CountEffect) -> pb::CountOutcome {
    let mut request = counted(world, as_of, &[("CHAIR", units)]);
    request.counts[0].effect = effect.into();
    world.stock().apply_counts(request).await.expect("a count").into_inner().results[0].outcome()
}

#[test]
fn stock_of_a_feed_that_has_gone_silent_is_not_sold_and_a_fresh_file_brings_it_back() {
    test(async |world| {
        feed(world, ago(MINUTE), &[("CHAIR", 10), ("TABLE", 5)]).await;
        let held = world.hold("CHAIR", 2).await;
        // As if the last file had been this old from the beginning.
        age(world, 5 * MINUTE).await;
        becomes(world, "CHAIR", pb::Freshness::Stale).await;
        becomes(world, "TABLE", pb::Freshness::Stale).await;
        published_becomes(world, "CHAIR", 0).await;
        assert_eq!(reason(world.reserve("CHAIR", 1).await), ErrorReason::InsufficientStock);
        world.confirm(&held).await.expect("what is held can be bought");
        feed(world, ago(1), &[("CHAIR", 10), ("TABLE", 5)]).await;
        let level = becomes(world, "CHAIR", pb::Freshness::Fresh).await;
        assert_eq!((level.available, level.safety_stock), (8, 0));
        published_becomes(world, "TABLE", 5).await;
    });
}

/// Turns the feed's clock back.
async fn age(world: &World, seconds: i64) {
    let pool = world.database.pool(1).await;
    let statement = "UPDATE feed SET as_of = clock_timestamp() - $1 * interval '1 second'";
    sqlx::query(statement).bind(seconds).execute(&pool).await.expect("an older feed");
}

#[test]
fn a_late_feed_keeps_back_what_was_sold_there_in_two_intervals_or_the_policys_own_again() {
    test(async |world| {
        feed(world, ago(MINUTE), &[("SOLD", 20), ("KEPT", 20), ("QUIET", 20)]).await;
        let policy = pb::SkuPolicy { sku: "KEPT".into(), version: 1, safety_stock: 3, ..Default::default() };
        world.stock().apply_policies(pb::ApplyPoliciesRequest { policies: vec![policy] }).await.unwrap();
        world.confirm(&world.hold("SOLD", 4).await).await.unwrap();
        let called_off = world.hold("SOLD", 2).await;
        world.confirm(&called_off).await.unwrap();
        // It was sold all the same: that it was called off makes nothing slower.
        world.reservations().cancel(crate::world::cancel(&called_off, vec![])).await.unwrap();
        world.hold("SOLD", 1).await;
        age(world, 3 * MINUTE).await;
        let sold = becomes(world, "SOLD", pb::Freshness::Late).await;
        assert_eq!((sold.safety_stock, sold.available), (6, 20 - 5 - 6));
        assert_eq!(becomes(world, "KEPT", pb::Freshness::Late).await.safety_stock, 6);
        assert_eq!(becomes(world, "QUIET", pb::Freshness::Late).await.available, 20);
        assert_eq!(world.on_offer("SOLD").await, 9);
        let entries = pb::ListLedgerEntriesRequest { sku: "SOLD".into(), ..Default::default() };
        let entry = world.stock().list_ledger_entries(entries).await.unwrap().into_inner().entries.remove(0);
        assert_eq!(entry.cause(), pb::LedgerCause::Freshness);
        assert_eq!((entry.freshness(), entry.safety_stock_delta), (pb::Freshness::Late, 6));
        assert_eq!((entry.actor.as_str(), entry.note.as_str()), ("holdfast", "acme"));
    });
}

#[test]
fn a_feed_that_promised_nothing_never_ages() {
    test(async |world| {
        world.stock().apply_counts(counted(world, ago(90 * 86_400), &[("CHAIR", 10)])).await.unwrap();
        let silent = pb::CompleteRunRequest { promised_interval: None, ..run(ago(90 * 86_400)) };
        let feed = world.stock().complete_run(silent).await.unwrap().into_inner().feed.unwrap();
        assert_eq!((feed.freshness(), feed.late_time, feed.stale_time), (pb::Freshness::Fresh, None, None));
        // Something else goes stale meanwhile: the freshener has been by.
        let mut other = counted(world, ago(9 * MINUTE), &[("TABLE", 5)]);
        other.connection = "other".into();
        world.stock().apply_counts(other).await.unwrap();
        let whole = pb::CompleteRunRequest { connection: "other".into(), ..run(ago(9 * MINUTE)) };
        world.stock().complete_run(whole).await.unwrap();
        becomes(world, "TABLE", pb::Freshness::Stale).await;
        assert_eq!(world.level("CHAIR").await.freshness(), pb::Freshness::Fresh);
        let feeds =
            world.stock().list_feeds(pb::ListFeedsRequest { page_size: 1, ..Default::default() }).await.unwrap();
        let first = feeds.into_inner();
        assert_eq!(first.feeds[0].connection, "acme");
        let next = pb::ListFeedsRequest { page_size: 1, page_token: first.next_page_token };
        let next = world.stock().list_feeds(next).await.unwrap().into_inner();
        assert_eq!((next.feeds[0].connection.as_str(), next.feeds[0].freshness()), ("other", pb::Freshness::Stale));
    });
}

#[test]
fn an_older_run_that_is_completed_late_makes_nothing_older() {
    test(async |world| {
        let newer = ago(5);
        feed(world, newer, &[("CHAIR", 10)]).await;
        let feed = world.stock().complete_run(run(ago(9 * MINUTE))).await.unwrap().into_inner().feed.unwrap();
        assert_eq!(feed.as_of_time.unwrap().seconds, newer.seconds);
        assert_eq!(feed.freshness(), pb::Freshness::Fresh);
    });
}

#[test]
fn an_older_run_that_is_completed_late_lets_no_older_number_in() {
    test(async |world| {
        feed(world, ago(50), &[("CHAIR", 10)]).await;
        // The row has its number already: only the run says that ten were counted again.
        feed(world, ago(10), &[("CHAIR", 10)]).await;
        world.stock().complete_run(run(ago(40))).await.unwrap();
        assert_eq!(effect(world, ago(30), 7, pb::CountEffect::Set).await, pb::CountOutcome::Stale);
        assert_eq!(world.level("CHAIR").await.on_hand, 10);
    });
}

#[test]
fn rows_that_have_their_number_already_cost_a_whole_run_no_write() {
    test(async |world| {
        let names: Vec<String> = (0..200).map(|n| format!("SKU-{n}")).collect();
        let counts: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 7)).collect();
        feed(world, ago(50), &counts).await;
        let before = versions(world).await;
        let outcomes = feed(world, ago(40), &counts).await;
        assert!(outcomes.iter().all(|outcome| *outcome == pb::CountOutcome::Unchanged));
        assert_eq!(versions(world).await, before, "not one row was written");
        // All the same they are as of the newer run: what is older is stale.
        let stale = world.stock().apply_counts(counted(world, ago(45), &[("SKU-0", 9)])).await.unwrap().into_inner();
        assert_eq!(stale.results[0].outcome(), pb::CountOutcome::Stale);
        let mut changed = counts;
        changed[3].1 = 8;
        feed(world, ago(30), &changed).await;
        let after = versions(world).await;
        assert_eq!(after.iter().zip(&before).filter(|(after, before)| after != before).count(), 1);
    });
}

#[test]
fn an_older_number_is_stale_while_a_run_that_says_something_of_all_rows_is_under_way() {
    test(async |world| {
        feed(world, ago(50), &[("CHAIR", 10), ("TABLE", 5)]).await;
        // The next run says the same of the chair, which costs no write; it is not whole yet.
        let running = counted(world, ago(30), &[("CHAIR", 10)]);
        world.stock().apply_counts(running).await.unwrap();
        let mut older = counted(world, ago(40), &[("CHAIR", 50)]);
        (older.connection, older.covers_all) = ("house".into(), false);
        let outcome = world.stock().apply_counts(older).await.unwrap().into_inner().results[0].outcome();
        assert_eq!(outcome, pb::CountOutcome::Stale, "ten were counted after that");
        assert_eq!(effect(world, ago(40), 3, pb::CountEffect::Limit).await, pb::CountOutcome::Stale);
        assert_eq!(world.on_offer("CHAIR").await, 10);
        // The run goes on where it stopped.
        assert_eq!(feed(world, ago(30), &[("TABLE", 6)]).await, [pb::CountOutcome::Applied]);
    });
}

#[test]
fn a_stale_row_that_the_shop_counts_itself_is_sold_again() {
    test(async |world| {
        feed(world, ago(9 * MINUTE), &[("CHAIR", 10)]).await;
        becomes(world, "CHAIR", pb::Freshness::Stale).await;
        world.count("CHAIR", 7).await;
        assert_eq!(world.on_offer("CHAIR").await, 7);
        assert_eq!(world.level("CHAIR").await.freshness(), pb::Freshness::Fresh);
        world.hold("CHAIR", 7).await;
    });
}

#[test]
fn what_a_connection_promises_anew_counts_from_its_last_run() {
    test(async |world| {
        let last = ago(9 * MINUTE);
        feed(world, last, &[("CHAIR", 10)]).await;
        becomes(world, "CHAIR", pb::Freshness::Stale).await;
        let daily = pb::CompleteRunRequest { promised_interval: seconds(86_400), ..run(last) };
        world.stock().complete_run(daily).await.unwrap();
        becomes(world, "CHAIR", pb::Freshness::Fresh).await;
        assert_eq!(world.on_offer("CHAIR").await, 10);
    });
}

#[test]
fn a_feed_that_is_late_becomes_fresh_again_and_keeps_nothing_more_back() {
    test(async |world| {
        feed(world, ago(3 * MINUTE), &[("CHAIR", 10)]).await;
        becomes(world, "CHAIR", pb::Freshness::Late).await;
        world.confirm(&world.hold("CHAIR", 2).await).await.unwrap();
        feed(world, ago(1), &[("CHAIR", 10)]).await;
        let level = becomes(world, "CHAIR", pb::Freshness::Fresh).await;
        assert_eq!((level.safety_stock, level.available), (0, 8));
    });
}

/// Which version of each row lies in the table: another one after every write.
async fn versions(world: &World) -> Vec<String> {
    let pool = world.database.pool(1).await;
    let rows = sqlx::query("SELECT ctid::text || ' ' || xmin::text FROM stock ORDER BY sku").fetch_all(&pool).await;
    rows.expect("rows").iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_number_that_waits_for_a_person_caps_the_offer_until_it_is_decided() {
    test(async |world| {
        feed(world, ago(50), &[("CHAIR", 150)]).await;
        world.hold("CHAIR", 40).await;
        let suspicious = ago(40);
        assert_eq!(effect(world, suspicious, 15, pb::CountEffect::Limit).await, pb::CountOutcome::Applied);
        let level = world.level("CHAIR").await;
        assert_eq!((level.on_hand, level.offer_limit, level.shortfall, level.available), (150, Some(15), 0, 0));
        assert_eq!(world.on_offer("CHAIR").await, 0);
        published_becomes(world, "CHAIR", 0).await;
        assert_eq!(reason(world.reservations().reserve(ask(&[("CHAIR", 1)])).await), ErrorReason::InsufficientStock);
        // The run that it came with is whole, without it.
        world.stock().complete_run(run(suspicious)).await.unwrap();
        assert_eq!(effect(world, suspicious, 15, pb::CountEffect::Unlimit).await, pb::CountOutcome::Applied);
        published_becomes(world, "CHAIR", 110).await;
        let next = ago(30);
        assert_eq!(effect(world, next, 60, pb::CountEffect::Limit).await, pb::CountOutcome::Applied);
        world.stock().complete_run(run(next)).await.unwrap();
        assert_eq!(world.on_offer("CHAIR").await, 20);
        assert_eq!(effect(world, next, 60, pb::CountEffect::Set).await, pb::CountOutcome::Applied);
        let level = world.level("CHAIR").await;
        assert_eq!((level.on_hand, level.offer_limit, level.available), (60, None, 20));
    });
}

#[test]
fn stock_at_a_location_is_read_for_many_skus_at_once() {
    test(async |world| {
        world.count("CHAIR", 10).await;
        world.count_at("CHAIR", "second", 4).await;
        world.count_at("LAMP", "second", 3).await;
        let skus = vec!["LAMP".into(), "CHAIR".into(), "NOTHING".into()];
        let request = pb::BatchGetStockRequest { location: "second".into(), skus, ..Default::default() };
        let levels = world.stock().batch_get_stock(request).await.unwrap().into_inner().levels;
        let found: Vec<_> = levels.iter().map(|level| (level.sku.as_str(), level.on_hand)).collect();
        assert_eq!(found, [("CHAIR", 4), ("LAMP", 3)]);
        let nowhere = pb::BatchGetStockRequest { skus: vec!["A".into()], ..Default::default() };
        assert_eq!(reason(world.stock().batch_get_stock(nowhere).await), ErrorReason::InvalidField);
    });
}

#[test]
fn a_run_that_is_wrong_is_refused() {
    test(async |world| {
        let ahead = prost_types::Timestamp { seconds: now().seconds + 3600, nanos: 0 };
        for bad in [
            pb::CompleteRunRequest { connection: String::new(), ..run(ago(1)) },
            pb::CompleteRunRequest { location: String::new(), ..run(ago(1)) },
            pb::CompleteRunRequest { as_of_time: None, ..run(ago(1)) },
            pb::CompleteRunRequest { sequence: -1, ..run(ago(1)) },
            pb::CompleteRunRequest { promised_interval: seconds(59), ..run(ago(1)) },
            pb::CompleteRunRequest { promised_interval: seconds(-60), ..run(ago(1)) },
            run(ahead),
        ] {
            assert_eq!(reason(world.stock().complete_run(bad).await), ErrorReason::InvalidField);
        }
    });
}
