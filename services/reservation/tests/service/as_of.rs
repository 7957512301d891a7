//! What stock was at an instant that has passed, and why.

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason as R;
use holdfast_testkit::seed;
use pb::LedgerCause as C;
use rand::Rng as _;
use rand::rngs::StdRng;

use crate::world::{World, cancel, fulfil, key, now, reason, test};

fn at(sku: &str, time: prost_types::Timestamp) -> pb::GetStockAsOfRequest {
    pb::GetStockAsOfRequest { sku: sku.into(), time: Some(time), ..Default::default() }
}

async fn as_of(world: &World, sku: &str, time: prost_types::Timestamp) -> pb::GetStockAsOfResponse {
    world.stock().get_stock_as_of(at(sku, time)).await.unwrap().into_inner()
}

async fn ledger(world: &World, request: pb::ListLedgerEntriesRequest) -> Vec<pb::LedgerEntry> {
    world.stock().list_ledger_entries(request).await.unwrap().into_inner().entries
}

/// A level without what the ledger does not have.
fn bare(level: &pb::StockLevel) -> pb::StockLevel {
    let freshness =
        if level.freshness() == pb::Freshness::Unspecified { pb::Freshness::Fresh } else { level.freshness() };
    let (count_as_of_time, connection, count_meaning) = (None, String::new(), pb::CountMeaning::Unspecified.into());
    pb::StockLevel { count_as_of_time, connection, count_meaning, freshness: freshness.into(), ..level.clone() }
}

/// The levels of a SKU and the time of its newest entry, none of them older than the other.
async fn present(world: &World, sku: &str) -> (prost_types::Timestamp, Vec<pb::StockLevel>) {
    loop {
        let levels =
            world.stock().get_stock(pb::GetStockRequest { sku: sku.into() }).await.unwrap().into_inner().levels;
        let newest = ledger(world, pb::ListLedgerEntriesRequest { sku: sku.into(), ..Default::default() }).await;
        let version =
            |location: &str| newest.iter().find(|entry| entry.location == location).map(|entry| entry.version);
        if levels.iter().all(|level| version(&level.location) == Some(level.version)) {
            let time = newest[0].create_time.unwrap();
            return (time, levels.iter().map(bare).collect());
        }
    }
}

fn count(world: &World, location: &str, units: i64, effect: pb::CountEffect) -> pb::ApplyCountsRequest {
    let mut request = world.counts(vec![("CHAIR", location, units)]);
    request.counts[0].effect = effect.into();
    request
}

/// Stops selling, or lets it go on.
async fn pause(world: &World, pause: bool) {
    let (request_id, skus, actor, note) = (key(), vec!["CHAIR".into()], "ann".into(), "the price".into());
    if pause {
        world.stock().pause_selling(pb::PauseSellingRequest { request_id, skus, actor, note }).await.unwrap();
    } else {
        world.stock().resume_selling(pb::ResumeSellingRequest { request_id, skus, actor, note }).await.unwrap();
    }
}

/// Confirms a hold if its time is not over, and then ships it, calls it off, or leaves it as it is.
async fn buy(world: &World, id: &str, then: usize) {
    drop(world.confirm(id).await);
    match then {
        0 => drop(world.reservations().fulfil(fulfil(id, Vec::new())).await),
        1 => drop(world.reservations().cancel(cancel(id, Vec::new())).await),
        _ => {}
    }
}

/// One of the things that can happen to a SKU.
async fn happen(world: &World, rng: &mut StdRng, holds: &mut Vec<String>, policy_version: &mut i64) {
    let location = ["east", "west"][rng.random_range(0..2)];
    match rng.random_range(0..11) {
        0 | 1 => {
            if let Ok(held) = world.reserve("CHAIR", rng.random_range(1..=4)).await {
                holds.push(crate::world::id_of(&held));
            }
        }
        2 if !holds.is_empty() => {
            let id = holds.swap_remove(rng.random_range(0..holds.len()));
            buy(world, &id, rng.random_range(0..3)).await;
        }
        3 if !holds.is_empty() => drop(world.release(&holds.swap_remove(rng.random_range(0..holds.len()))).await),
        4 => {
            let set = count(world, location, rng.random_range(0..30), pb::CountEffect::Set);
            world.stock().apply_counts(set).await.unwrap();
        }
        5 => {
            let limit = count(world, location, rng.random_range(0..10), pb::CountEffect::Limit);
            world.stock().apply_counts(limit).await.unwrap();
        }
        6 => {
            *policy_version += 1;
            let policy = pb::SkuPolicy {
                sku: "CHAIR".into(),
                version: *policy_version,
                safety_stock: rng.random_range(0..4),
                backorder_limit: rng.random_range(0..4),
                locations: vec![location.into()],
                archived: rng.random_bool(0.2),
                ..Default::default()
            };
            world.stock().apply_policies(pb::ApplyPoliciesRequest { policies: vec![policy] }).await.unwrap();
        }
        7 => pause(world, true).await,
        8 => pause(world, false).await,
        _ => {
            let condition =
                [pb::Condition::Sellable, pb::Condition::Damaged, pb::Condition::QualityHold][rng.random_range(0..3)];
            let adjustment = pb::Adjustment {
                sku: "CHAIR".into(),
                location: location.into(),
                condition: condition.into(),
                delta: [-2, -1, 1, 2, 3][rng.random_range(0..5)],
                reason: pb::AdjustmentReason::Correction.into(),
            };
            let request = pb::AdjustStockRequest {
                request_id: key(),
                adjustments: vec![adjustment],
                actor: "ann".into(),
                note: "by hand".into(),
            };
            // One that would take more than there is changes nothing.
            drop(world.stock().adjust_stock(request).await);
        }
    }
}

#[test]
fn as_of_any_change_stock_is_what_it_was_said_to_be_then() {
    let seed = seed();
    test(async |world| {
        let mut rng = seed.rng(1);
        let (mut holds, mut policy_version) = (Vec::new(), 0);
        world.count_at("CHAIR", "east", 20).await;
        let mut history = Vec::new();
        for _ in 0..80 {
            happen(world, &mut rng, &mut holds, &mut policy_version).await;
            history.push(present(world, "CHAIR").await);
        }
        // The feed becomes stale, and nothing is offered.
        let old = prost_types::Timestamp { seconds: now().seconds - 600, nanos: 0 };
        let run = pb::CompleteRunRequest {
            connection: "house".into(),
            location: "east".into(),
            as_of_time: Some(old),
            promised_interval: crate::world::seconds(60),
            ..Default::default()
        };
        world.stock().complete_run(run).await.unwrap();
        holdfast_testkit::eventually("the rows are stale", std::time::Duration::from_secs(20), || async {
            let (time, levels) = present(world, "CHAIR").await;
            let stale = levels.iter().any(|level| level.freshness() == pb::Freshness::Stale);
            stale.then_some((time, levels))
        })
        .await;
        history.push(present(world, "CHAIR").await);
        history.dedup_by_key(|(time, _)| (time.seconds, time.nanos));
        assert!(history.len() > 30, "{} changes", history.len());
        for (time, levels) in &history {
            let then = as_of(world, "CHAIR", *time).await;
            assert_eq!(&then.levels, levels, "as of {time:?}");
            assert_eq!(then.entries[0].create_time, Some(*time));
            assert!(then.entries.iter().all(|entry| entry.create_time.map(|at| (at.seconds, at.nanos)) <= Some((time.seconds, time.nanos))));
        }
        // Just before a change it had not happened yet.
        for pair in history.windows(2) {
            let [(_, before), (time, _)] = pair else { unreachable!("windows of two") };
            let just_before = prost_types::Timestamp { nanos: time.nanos - 1_000, ..*time };
            if time.nanos >= 1_000 {
                let then = as_of(world, "CHAIR", just_before).await;
                // Several changes of one operation may lie between the two.
                if then.levels.iter().map(|level| level.version).eq(before.iter().map(|level| level.version)) {
                    assert_eq!(&then.levels, before, "just before {time:?}");
                }
            }
        }
    });
}

#[test]
fn why_is_told_by_the_last_entries_each_with_its_cause() {
    test(async |world| {
        world.count_at("CHAIR", "east", 20).await;
        let id = world.hold("CHAIR", 3).await;
        world.count_at("CHAIR", "west", 5).await;
        world.confirm(&id).await.unwrap();
        let (time, _) = present(world, "CHAIR").await;
        world.hold("CHAIR", 1).await;
        let then = as_of(world, "CHAIR", time).await;
        let causes: Vec<_> = then.entries.iter().map(|entry| (entry.cause(), entry.location.as_str())).collect();
        assert_eq!(causes, [(C::Confirm, "east"), (C::Count, "west"), (C::Reserve, "east"), (C::Count, "east")]);
        assert_eq!((then.entries[0].cause_id.as_str(), then.entries[2].cause_id.as_str()), (id.as_str(), id.as_str()));
        // A count names its connection and its run.
        assert_eq!((then.entries[1].actor.as_str(), then.entries[1].note.as_str()), ("house", "run"));
        assert_eq!(then.begin_time, then.entries[3].create_time);
        let east = pb::GetStockAsOfRequest { location: "east".into(), page_size: 2, ..at("CHAIR", time) };
        let east = world.stock().get_stock_as_of(east).await.unwrap().into_inner();
        assert_eq!(
            (east.levels.len(), east.levels[0].on_hand, east.levels[0].committed, east.levels[0].available),
            (1, 20, 3, 17)
        );
        let causes: Vec<_> = east.entries.iter().map(pb::LedgerEntry::cause).collect();
        assert_eq!(causes, [C::Confirm, C::Reserve]);
    });
}

#[test]
fn an_instant_in_the_future_before_the_record_or_of_an_unknown_sku_is_answered_clearly() {
    test(async |world| {
        let before = now();
        world.count("CHAIR", 1).await;
        let ask = |request: pb::GetStockAsOfRequest| async move { world.stock().get_stock_as_of(request).await };
        let ahead = prost_types::Timestamp { seconds: now().seconds + 60, nanos: 0 };
        assert_eq!(reason(ask(at("CHAIR", ahead)).await), R::InvalidField);
        let long_ago = prost_types::Timestamp { seconds: before.seconds - 86_400, nanos: 0 };
        assert_eq!(reason(ask(at("CHAIR", long_ago)).await), R::BeforeRecord);
        assert_eq!(reason(ask(at("GHOST", before)).await), R::NotFound);
        let elsewhere = pb::GetStockAsOfRequest { location: "elsewhere".into(), ..at("CHAIR", now()) };
        assert_eq!(reason(ask(elsewhere).await), R::NotFound);
        for wrong in [
            pb::GetStockAsOfRequest { time: None, ..at("CHAIR", before) },
            at("", before),
            at("CHAIR", prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
            at("CHAIR", prost_types::Timestamp { seconds: 0, nanos: -1 }),
            pb::GetStockAsOfRequest { page_size: -1, ..at("CHAIR", before) },
            pb::GetStockAsOfRequest { location: "\n".into(), ..at("CHAIR", before) },
        ] {
            assert_eq!(reason(ask(wrong.clone()).await), R::InvalidField, "{wrong:?}");
        }
    });
}

#[test]
fn the_ledger_can_be_asked_for_a_range_of_time_both_ends_included() {
    test(async |world| {
        world.count("CHAIR", 9).await;
        for _ in 0..4 {
            world.hold("CHAIR", 1).await;
        }
        let all = ledger(world, pb::ListLedgerEntriesRequest { sku: "CHAIR".into(), ..Default::default() }).await;
        let range = |from: usize, upto: usize, page_token: String| pb::ListLedgerEntriesRequest {
            sku: "CHAIR".into(),
            page_size: 2,
            page_token,
            start_time: all[from].create_time,
            end_time: all[upto].create_time,
            ..Default::default()
        };
        let page = world.stock().list_ledger_entries(range(3, 1, String::new())).await.unwrap().into_inner();
        assert_eq!(page.entries, all[1..3]);
        let token = page.next_page_token;
        assert_eq!(ledger(world, range(3, 1, token.clone())).await, all[3..4]);
        assert_eq!(reason(world.stock().list_ledger_entries(range(4, 1, token)).await), R::InvalidPageToken);
        assert_eq!(reason(world.stock().list_ledger_entries(range(0, 1, String::new())).await), R::InvalidField);
        assert!(all.iter().all(|entry| entry.trace_id.is_empty() || entry.trace_id.len() == 32));
        let admin = world.database.admin_pool().await;
        let trace = "0af7651916cd43dd8448eb211c80319c";
        sqlx::query("UPDATE ledger SET trace = $1 WHERE version = 1").bind(trace).execute(&admin).await.unwrap();
        let all = ledger(world, pb::ListLedgerEntriesRequest { sku: "CHAIR".into(), ..Default::default() }).await;
        assert_eq!(all[4].trace_id, trace);
    });
}
