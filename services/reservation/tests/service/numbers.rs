//! What `/metrics` says: the numbers that alarms stand on, each provoked.

use std::time::Duration;

use holdfast_api::reservation::v1 as pb;
use holdfast_testkit::eventually;

use crate::watcher::{Rows, watch_rows};
use crate::world::{Options, WAREHOUSE, World, ask, confirm, now, seconds, test, test_with};

/// Longer than any part takes to say something on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

async fn says(world: &World, metric: &str, wanted: impl Fn(f64) -> bool) -> f64 {
    let what = format!("{metric} is as it must be");
    eventually(&what, PATIENCE, || async { world.metric(0, metric).await.filter(|value| wanted(*value)) }).await
}

async fn plant(world: &World, statement: &'static str) {
    sqlx::raw_sql(statement).execute(&world.database.admin_pool().await).await.unwrap_or_else(|e| panic!("{e}"));
}

/// An auditor that looks all the time.
fn watchful() -> Options {
    let settings = [("AUDITOR__PERIOD_MS", "100"), ("AUDITOR__SHARE_PERCENT", "100"), ("RECONCILER__PERIOD_MS", "200")];
    Options { settings: settings.map(|(key, value)| (key, value.to_owned())).into(), ..Options::default() }
}

#[test]
fn oversold_units_are_none_until_some_are_found_and_then_as_many_as_were() {
    test_with(watchful(), async |world| {
        world.count("CHAIR", 20).await;
        world.hold("CHAIR", 3).await;
        says(world, "holdfast_oversold_units{}", |units| units == 0.0).await;
        // As if the count had said 1 when three were taken: two were promised that were not there.
        plant(world, "UPDATE ledger SET on_hand = 1 WHERE sku = 'CHAIR' AND version = 1").await;
        says(world, "holdfast_oversold_units{}", |units| units == 2.0).await;
        says(world, "holdfast_discrepancies{kind=\"OVERSOLD\"}", |open| open == 1.0).await;
        plant(world, "UPDATE ledger SET on_hand = 20 WHERE sku = 'CHAIR' AND version = 1").await;
        says(world, "holdfast_oversold_units{}", |units| units == 0.0).await;
    });
}

#[test]
fn what_a_count_took_away_before_was_not_sold_by_who_came_later() {
    test_with(watchful(), async |world| {
        world.count("CHAIR", 20).await;
        world.hold("CHAIR", 12).await;
        world.count("CHAIR", 10).await;
        says(world, "holdfast_short_units", |units| units == 2.0).await;
        says(world, "holdfast_short_rows", |rows| rows == 1.0).await;
        plant(
            world,
            "INSERT INTO ledger (sku, location, version, at, cause, cause_id, held, actor)
             SELECT sku, location, 4, clock_timestamp(), 'RESERVE', gen_random_uuid(), 1, 'x' FROM ledger WHERE version = 1",
        )
        .await;
        says(world, "holdfast_oversold_units{}", |units| units == 1.0).await;
        plant(world, "DELETE FROM ledger WHERE version = 4").await;
        says(world, "holdfast_oversold_units{}", |units| units == 0.0).await;
    });
}

#[test]
fn an_auditor_that_is_off_does_not_say_that_nothing_is_oversold() {
    let off = Options { settings: vec![("AUDITOR__ENABLED", "false".to_owned())], ..Options::default() };
    test_with(off, async |world| {
        world.count("CHAIR", 1).await;
        says(world, "holdfast_reconcile_passes_total", |passes| passes >= 1.0).await;
        assert_eq!(world.metric(0, "holdfast_oversold_units{}").await, None);
        let text = world.metrics().await;
        assert!(text.contains("# TYPE holdfast_oversold_units gauge"), "it is named all the same:\n{text}");
    });
}

#[test]
fn reserves_are_counted_by_what_became_of_them() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let request = ask(&[("CHAIR", 3)]);
        for _ in 0..2 {
            world.reservations().reserve(request.clone()).await.expect("held");
        }
        world.reserve("CHAIR", 3).await.expect_err("there are two");
        let id = &request.reservation_id;
        let confirmation = confirm(id);
        for _ in 0..2 {
            world.reservations().confirm(confirmation.clone()).await.expect("confirmed");
        }
        world.release(id).await.expect_err("it is sold");
        // What would be answered is not what was.
        let dry = pb::ReserveRequest { validate_only: true, ..ask(&[("CHAIR", 1)]) };
        world.reservations().reserve(dry).await.expect("it would be held");
        for (verb, outcome, times) in [
            ("reserve", "granted", 1.0),
            ("reserve", "replay", 1.0),
            ("reserve", "short", 1.0),
            ("confirm", "granted", 1.0),
            ("confirm", "replay", 1.0),
            ("release", "refused", 1.0),
        ] {
            let name = format!("holdfast_outcomes_total{{verb=\"{verb}\",outcome=\"{outcome}\"}}");
            assert_eq!(world.metric(0, &name).await, Some(times), "{name}");
        }
    });
}

#[test]
fn a_hold_that_cannot_be_freed_is_seen_to_get_older() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let younger = world.hold("CHAIR", 2).await;
        world.hold("CHAIR", 1).await;
        let mut blocker = world.database.admin_pool().await.begin().await.unwrap();
        let over = "UPDATE reservation SET expires_at = clock_timestamp() - CASE id WHEN $1::uuid THEN 50 ELSE 100 END * interval '1 second'";
        sqlx::query(over).bind(&younger).execute(&world.database.admin_pool().await).await.unwrap();
        sqlx::query("SELECT 1 FROM reservation FOR UPDATE").execute(&mut *blocker).await.unwrap();
        // They were freed before they were locked, or they stand and the older one is told.
        let freed = sqlx::query_scalar::<_, bool>("SELECT bool_or(state = 'EXPIRED') FROM reservation")
            .fetch_one(&mut *blocker)
            .await
            .unwrap();
        if !freed {
            says(world, "holdfast_expired_hold_lag_seconds", |lag| lag >= 100.0).await;
        }
        blocker.rollback().await.unwrap();
        says(world, "holdfast_expired_hold_lag_seconds", |lag| lag == 0.0).await;
        world.level_becomes("CHAIR", "the units are free", |level| level.held == 0).await;
    });
}

#[test]
fn the_oldest_sale_that_no_count_reflects_is_told_by_the_first_that_was_heard_of_it() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let ago = |seconds: i64| {
            let now = now();
            Some(prost_types::Timestamp { seconds: now.seconds - seconds, ..now })
        };
        for evidence in [
            [(pb::EvidenceKind::Sent, 3_000), (pb::EvidenceKind::Booked, 60)],
            [(pb::EvidenceKind::Sent, 50), (pb::EvidenceKind::Booked, 40)],
        ] {
            let id = world.hold("CHAIR", 1).await;
            world.confirm(&id).await.unwrap();
            world.sold_an_hour_ago().await;
            for (kind, seconds) in evidence {
                let told = pb::RecordEvidenceRequest {
                    request_id: crate::world::key(),
                    reservation_id: id.clone(),
                    kind: kind.into(),
                    event_time: ago(seconds),
                    ..Default::default()
                };
                world.reservations().record_evidence(told).await.unwrap();
            }
        }
        says(world, "holdfast_unreflected_oldest_seconds", |age| (3_000.0..3_600.0).contains(&age)).await;
    });
}

#[test]
fn holds_are_counted_by_the_replica_that_audits() {
    test_with(watchful(), async |world| {
        world.count("CHAIR", 5).await;
        says(world, "holdfast_holds{state=\"over\"}", |holds| holds == 0.0).await;
        assert_eq!(world.metric(0, "holdfast_holds{state=\"in_time\"}").await, Some(0.0));
        world.hold("CHAIR", 1).await;
        world.hold("CHAIR", 1).await;
        says(world, "holdfast_holds{state=\"in_time\"}", |holds| holds == 2.0).await;
    });
}

#[test]
fn feeds_are_told_with_their_ages_until_they_are_gone() {
    test(async |world| {
        let request = pb::CompleteRunRequest {
            connection: "acme".into(),
            location: WAREHOUSE.into(),
            as_of_time: Some(now()),
            promised_interval: seconds(60),
            covers_all: true,
            ..Default::default()
        };
        world.stock().complete_run(request).await.expect("a whole run");
        says(world, "holdfast_feeds{freshness=\"FRESH\"}", |feeds| feeds == 1.0).await;
        says(world, "holdfast_feed_age_seconds{connection=\"acme\"}", |age| age < 60.0).await;
        assert_eq!(world.metric(0, "holdfast_feed_promised_seconds{connection=\"acme\"}").await, Some(60.0));
        plant(world, "UPDATE feed SET as_of = clock_timestamp() - interval '10 minutes'").await;
        says(world, "holdfast_feeds{freshness=\"STALE\"}", |feeds| feeds == 1.0).await;
        says(world, "holdfast_feed_age_seconds{connection=\"acme\"}", |age| age >= 600.0).await;
        plant(world, "DELETE FROM feed").await;
        says(world, "holdfast_feeds{freshness=\"STALE\"}", |feeds| feeds == 0.0).await;
        assert_eq!(world.metric(0, "holdfast_feed_age_seconds{connection=\"acme\"}").await, None);
    });
}

#[test]
fn how_late_watchers_hear_is_measured_and_that_they_hear_nothing_too() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let mut stream = watch_rows(world.stock(), &["CHAIR"], "").await.expect("it begins");
        let mut rows = Rows::default();
        rows.until_snapshot_end(&mut stream).await;
        // What changes before the watcher has joined the others it finds by itself.
        eventually("a change is found for all watchers together", PATIENCE, || async {
            world.count("CHAIR", 7).await;
            world.count("CHAIR", 8).await;
            let changes = world.metric(0, "holdfast_watch_lag_seconds_count{topic=\"availability\"}").await?;
            (changes >= 1.0).then_some(())
        })
        .await;
        let sum = world.metric(0, "holdfast_watch_lag_seconds_sum{topic=\"availability\"}").await.unwrap();
        assert!((0.0..30.0).contains(&sum), "{sum} seconds");
        assert_eq!(world.metric(0, "holdfast_watch_behind_seconds{topic=\"availability\"}").await, Some(0.0));
        // The record's changes cannot be read any more.
        plant(world, "REVOKE SELECT ON ledger FROM holdfast_reservation").await;
        says(world, "holdfast_watch_behind_seconds{topic=\"availability\"}", |behind| behind > 0.5).await;
        plant(world, "GRANT SELECT ON ledger TO holdfast_reservation").await;
        says(world, "holdfast_watch_behind_seconds{topic=\"availability\"}", |behind| behind == 0.0).await;
    });
}

#[test]
fn a_counter_that_somebody_else_keeps_writing_is_drift_and_what_was_wrong_once_is_not() {
    test_with(watchful(), async |world| {
        world.count("CHAIR", 5).await;
        crate::world::published_becomes(world, "CHAIR", 5).await;
        says(world, "holdfast_reconcile_clean_passes_total", |passes| passes >= 1.0).await;
        says(world, "holdfast_reconcile_round_age_seconds", |age| age < 10.0).await;
        let url = world.redis.lock().await.admin_url();
        let redis = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
        let write = async |units: i64| {
            let mut command = redis::cmd("HSET");
            command.arg("hf:a:{CHAIR}").arg("l:main").arg(units).exec_async(&mut redis.clone()).await.unwrap();
        };
        let above = "holdfast_counter_drift_skus_total{direction=\"above\"}";
        let below = "holdfast_counter_drift_skus_total{direction=\"below\"}";
        write(7).await;
        says(world, "holdfast_counter_above_skus_total", |skus| skus >= 1.0).await;
        crate::world::published_becomes(world, "CHAIR", 5).await;
        assert_eq!(world.metric(0, above).await, Some(0.0), "it was put right, and is no drift");
        eventually("the next pass finds it again", PATIENCE, || async {
            write(7).await;
            world.metric(0, above).await.filter(|skus| *skus >= 1.0)
        })
        .await;
        assert_eq!(world.metric(0, below).await, Some(0.0));
        eventually("that is told with its direction", PATIENCE, || async {
            write(3).await;
            world.metric(0, below).await.filter(|skus| *skus >= 1.0)
        })
        .await;
        eventually("both passes are told as not clean", PATIENCE, || async {
            let passes = world.metric(0, "holdfast_reconcile_passes_total").await?;
            let clean = world.metric(0, "holdfast_reconcile_clean_passes_total").await?;
            (passes - clean >= 2.0).then_some(())
        })
        .await;
        crate::world::published_becomes(world, "CHAIR", 5).await;
    });
}
