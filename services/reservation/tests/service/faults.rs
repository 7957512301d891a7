//! Stores that stop, slow down and forget, under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;
use holdfast_stack::postgres::StopMode;
use holdfast_testkit::eventually;
use tonic::Status;

use crate::world::{Options, World, all_at_once, ask, id_of, published_becomes, reason, test, test_with, within};

/// What a caller remembers of a Reserve that was answered or not.
struct Remembered {
    request: pb::ReserveRequest,
    outcome: Result<pb::ReserveResponse, Status>,
}

/// Buyers that go on until told to stop, each with a new key every time.
fn buyers(
    world: &World,
    count: usize,
    stop: &Arc<AtomicBool>,
) -> Vec<impl Future<Output = Vec<Remembered>> + Send + 'static> {
    (0..count)
        .map(|n| {
            let (mut client, stop) = (world.reservations_of(n), Arc::clone(stop));
            async move {
                let mut history = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let request = ask(&[("SALE", 1)]);
                    let sent = within(request.clone(), Duration::from_secs(5));
                    let outcome = client.reserve(sent).await.map(tonic::Response::into_inner);
                    history.push(Remembered { request, outcome });
                }
                history
            }
        })
        .collect()
}

/// Every acknowledged hold is there; every definite no left nothing; what is unknown is told by the same key.
async fn check_history(world: &World, history: Vec<Remembered>) -> usize {
    let mut granted = 0;
    for Remembered { request, outcome } in history {
        match outcome {
            Ok(answer) => {
                granted += 1;
                let stored = world.get(&request.reservation_id).await.expect("acknowledged and lost");
                assert_eq!(Some(stored.lines), answer.reservation.map(|reservation| reservation.lines));
            }
            Err(status) => {
                let told = holdfast_kit::reason_of(&status);
                let unknown =
                    matches!(told, Some(ErrorReason::StoreUnavailable | ErrorReason::DeadlineExceeded) | None);
                let shed = told == Some(ErrorReason::Overloaded);
                assert!(unknown || shed || told == Some(ErrorReason::InsufficientStock), "{status:?}");
                if unknown {
                    let again = world.reservations().reserve(pb::ReserveRequest { attempt: 2, ..request }).await;
                    granted += usize::from(again.is_ok());
                } else {
                    assert_eq!(reason(world.get(&request.reservation_id).await), ErrorReason::NotFound);
                }
            }
        }
    }
    granted
}

async fn under_load(world: &World, fault: impl AsyncFnOnce()) -> Vec<Remembered> {
    let stop = Arc::new(AtomicBool::new(false));
    let running = tokio::spawn(all_at_once(buyers(world, 24, &stop)));
    world.level_becomes("SALE", "the load runs", |level| level.held >= 50).await;
    fault().await;
    let held = world.level("SALE").await.held;
    world.level_becomes("SALE", "buying goes on after the fault", |level| level.held >= held + 50).await;
    stop.store(true, Ordering::Relaxed);
    running.await.expect("no panic").into_iter().flatten().collect()
}

#[test]
fn a_redis_wiped_under_load_loses_and_refuses_nothing() {
    test(async |world| {
        world.count("SALE", 100_000).await;
        let history = under_load(world, async || {
            for _ in 0..5 {
                world.wipe_redis().await;
                let held = world.level("SALE").await.held;
                world.level_becomes("SALE", "buying goes on", |level| level.held >= held + 20).await;
            }
        })
        .await;
        assert!(history.iter().all(|remembered| remembered.outcome.is_ok()), "nobody was turned away");
        let granted = check_history(world, history).await;
        let held = world.level("SALE").await.held;
        assert_eq!(held, i64::try_from(granted).unwrap());
        published_becomes(world, "SALE", 100_000 - held).await;
    });
}

#[test]
fn without_redis_buying_goes_on_and_with_it_again_the_counters_converge() {
    test(async |world| {
        world.count("SALE", 100_000).await;
        let history = under_load(world, async || {
            world.redis.lock().await.stop().await.expect("Redis stops");
            let held = world.level("SALE").await.held;
            world.level_becomes("SALE", "buying goes on without Redis", |level| level.held >= held + 100).await;
            world.redis.lock().await.start_again().await.expect("Redis starts");
        })
        .await;
        assert!(history.iter().all(|remembered| remembered.outcome.is_ok()), "nobody was turned away");
        let granted = check_history(world, history).await;
        published_becomes(world, "SALE", 100_000 - i64::try_from(granted).unwrap()).await;
    });
}

#[test]
fn a_redis_that_hangs_slows_nobody_for_long() {
    test(async |world| {
        world.count("SALE", 100_000).await;
        world.count("LAST", 1).await;
        let history = under_load(world, async || {
            world.redis.lock().await.freeze();
            let held = world.level("SALE").await.held;
            world.level_becomes("SALE", "buying goes on past Redis", |level| level.held >= held + 100).await;
            // Without a gate it is still exactly one who gets the last unit.
            let outcomes = all_at_once((0..10).map(|n| {
                let mut client = world.reservations_of(n);
                async move { client.reserve(ask(&[("LAST", 1)])).await }
            }))
            .await;
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
            world.redis.lock().await.thaw();
        })
        .await;
        check_history(world, history).await;
        let held = world.level("SALE").await.held;
        published_becomes(world, "SALE", 100_000 - held).await;
    });
}

#[test]
fn postgres_stopped_and_back_loses_nothing_that_was_acknowledged() {
    let options = Options { own_postgres: true, ..Options::default() };
    test_with(options, async |world| {
        world.count("SALE", 100_000).await;
        for mode in [StopMode::Fast, StopMode::Immediate] {
            let history = under_load(world, async || {
                let mut postgres = world.postgres.as_ref().expect("its own").lock().await;
                postgres.stop(mode).await.expect("Postgres stops");
                // While it is away nobody gets a definite no.
                let status = world.reserve("SALE", 1).await.expect_err("there is no record to ask");
                assert_eq!(holdfast_kit::reason_of(&status), Some(ErrorReason::StoreUnavailable), "{status:?}");
                postgres.start_again().await.expect("Postgres starts");
                eventually("the service finds Postgres again", Duration::from_secs(20), || async {
                    world.reserve("SALE", 1).await.ok()
                })
                .await;
            })
            .await;
            check_history(world, history).await;
        }
    });
}

#[test]
fn a_deadline_that_passes_leaves_an_outcome_that_the_same_key_tells() {
    test(async |world| {
        world.count("SALE", 10_000).await;
        let mut ids = Vec::new();
        let mut late = 0;
        // Not all at once: the server closes connections on which too many calls are given up at the same time.
        for wave in 0..20_u64 {
            let impatient = (0..10_u64).map(|n| {
                let mut client = world.reservations();
                async move {
                    let request = ask(&[("SALE", 1)]);
                    let sent = within(request.clone(), Duration::from_micros(200 + 30 * (wave * 10 + n)));
                    let outcome = client.reserve(sent).await.map(tonic::Response::into_inner);
                    (request, outcome)
                }
            });
            for (request, outcome) in all_at_once(impatient).await {
                late += usize::from(outcome.is_err());
                let retry = pb::ReserveRequest { attempt: 2, ..request };
                let again = world.reservations().reserve(retry).await.unwrap().into_inner();
                if let Ok(first) = outcome {
                    assert_eq!(first.reservation, again.reservation);
                }
                ids.push(id_of(&again));
            }
        }
        assert!(late > 0, "no deadline was short enough for this test to mean anything");
        assert_eq!(world.level("SALE").await.held, 200, "one hold a key, however often it was sent");
    });
}
