//! What could be reserved, and from where that is known.

use std::time::Duration;

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;
use holdfast_testkit::eventually;

use crate::world::{Options, WAREHOUSE, key, published_becomes, reason, test, test_with};

fn ask(skus: &[&str], source: pb::ReadSource) -> pb::BatchGetAvailabilityRequest {
    pb::BatchGetAvailabilityRequest { skus: skus.iter().map(|sku| (*sku).to_owned()).collect(), source: source.into() }
}

#[test]
fn every_sku_asked_for_is_answered_in_order_and_says_where_it_was_read() {
    test(async |world| {
        world.count_at("CHAIR", "west", 3).await;
        world.count_at("CHAIR", "east", 4).await;
        world.hold("CHAIR", 2).await;
        let record = ask(&["GHOST", "CHAIR", "GHOST"], pb::ReadSource::Record);
        let results = world.stock().batch_get_availability(record).await.unwrap().into_inner().results;
        let known: Vec<_> = results.iter().map(|r| (r.sku.as_str(), r.known, r.available, r.source())).collect();
        let source = pb::ReadSource::Record;
        assert_eq!(known, [("GHOST", false, 0, source), ("CHAIR", true, 5, source), ("GHOST", false, 0, source)]);
        assert_eq!(results[1].staleness_max, Some(prost_types::Duration::default()));
        let places: Vec<_> = results[1].locations.iter().map(|l| (l.location.as_str(), l.available)).collect();
        assert_eq!(places, [("east", 2), ("west", 3)]);
    });
}

#[test]
fn the_cache_converges_to_the_record_and_says_how_stale_it_may_be() {
    test(async |world| {
        world.count("CHAIR", 9).await;
        world.hold("CHAIR", 2).await;
        published_becomes(world, "CHAIR", 7).await;
        let results = world
            .stock()
            .batch_get_availability(ask(&["CHAIR"], pb::ReadSource::Cache))
            .await
            .unwrap()
            .into_inner()
            .results;
        assert!(results[0].staleness_max.unwrap().seconds >= 4, "two passes of the reconciler and the number's age");
        assert!(results[0].read_time.is_some());
    });
}

#[test]
fn a_wiped_redis_is_unknown_rather_than_zero() {
    test(async |world| {
        world.count("CHAIR", 9).await;
        published_becomes(world, "CHAIR", 9).await;
        world.wipe_redis().await;
        let results = world
            .stock()
            .batch_get_availability(ask(&["CHAIR"], pb::ReadSource::Cache))
            .await
            .unwrap()
            .into_inner()
            .results;
        assert_eq!((results[0].available, results[0].source()), (9, pb::ReadSource::Record));
        published_becomes(world, "CHAIR", 9).await;
    });
}

#[test]
fn a_counter_that_somebody_spoiled_is_put_right() {
    test(async |world| {
        world.count("CHAIR", 9).await;
        published_becomes(world, "CHAIR", 9).await;
        world.spoil("CHAIR", 0).await;
        // Nobody is turned away meanwhile.
        world.hold("CHAIR", 1).await;
        published_becomes(world, "CHAIR", 8).await;
        world.spoil("CHAIR", 5_000).await;
        assert_eq!(reason(world.reserve("CHAIR", 50).await), ErrorReason::InsufficientStock, "nobody is oversold");
        published_becomes(world, "CHAIR", 8).await;
    });
}

/// A reconciler that leaves counters as they are, so that the gate goes on believing what it was told.
fn left_alone() -> Options {
    let settings = [("RECONCILER__PERIOD_MS", "3600000"), ("AUDITOR__ENABLED", "false")];
    Options { settings: settings.map(|(key, value)| (key, value.to_owned())).into(), ..Options::default() }
}

#[test]
fn what_was_committed_is_published_at_once_and_not_only_by_the_reconciler() {
    test_with(left_alone(), async |world| {
        let published = async |units: i64| {
            let what = format!("{units} are published");
            eventually(&what, Duration::from_secs(20), || async {
                (world.counter("CHAIR").await == Some(units)).then_some(())
            })
            .await;
        };
        for units in [9, 12] {
            world.count("CHAIR", units).await;
            published(units).await;
        }
        let id = world.hold("CHAIR", 2).await;
        published(10).await;
        world.release(&id).await.unwrap();
        published(12).await;
    });
}

#[test]
fn whatever_the_gate_believes_nothing_is_sold_that_the_record_does_not_offer() {
    test_with(left_alone(), async |world| {
        for sku in ["SHORT", "KEPT", "CAPPED", "ARCHIVED", "PAUSED", "SOUND"] {
            world.count(sku, 10).await;
        }
        world.hold("SHORT", 7).await;
        let policy = |sku: &str| pb::SkuPolicy { sku: sku.into(), version: 1, ..Default::default() };
        let kept = pb::SkuPolicy { safety_stock: 7, ..policy("KEPT") };
        let archived = pb::SkuPolicy { archived: true, ..policy("ARCHIVED") };
        let request = pb::ApplyPoliciesRequest { policies: vec![kept, archived] };
        world.stock().apply_policies(request).await.unwrap();
        let mut limit = world.counts(vec![("CAPPED", WAREHOUSE, 3)]);
        limit.counts[0].effect = pb::CountEffect::Limit.into();
        world.stock().apply_counts(limit).await.unwrap();
        let pause = pb::PauseSellingRequest {
            request_id: key(),
            skus: vec!["PAUSED".into()],
            actor: "anna".into(),
            note: "the price is wrong".into(),
        };
        world.stock().pause_selling(pause).await.unwrap();
        for (sku, left, why) in [
            ("SHORT", 3, ErrorReason::InsufficientStock),
            ("KEPT", 3, ErrorReason::InsufficientStock),
            ("CAPPED", 3, ErrorReason::InsufficientStock),
            ("ARCHIVED", 0, ErrorReason::SkuArchived),
            ("PAUSED", 0, ErrorReason::SellingPaused),
        ] {
            published_becomes(world, sku, left).await;
            world.spoil(sku, 999).await;
            // One line too many, and the neighbour's units stay where they are.
            let cart = world.reservations().reserve(crate::world::ask(&[("SOUND", 1), (sku, left + 1)])).await;
            assert_eq!(reason(cart), why, "{sku}");
            assert_eq!(world.level("SOUND").await.held, 0, "{sku}");
            assert_eq!(world.on_offer(sku).await, left, "{sku}");
        }
    });
}
