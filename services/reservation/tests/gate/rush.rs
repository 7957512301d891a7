//! More callers than Redis answers at once.

use crate::world::{TIMED_OUT, cart, id, is_granted, publish, take, world};
use holdfast_reservation::gate::{Gate, GateState, Taken};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Asks for a unit of A for so many buyers at once.
async fn rush(gate: &Gate, buyers: u128) -> Vec<Taken> {
    let mut asking = JoinSet::new();
    for number in 0..buyers {
        let gate = gate.clone();
        asking.spawn(async move { take(&gate, number, &[("A", 1)]).await });
    }
    asking.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rush_is_let_through_however_long_it_waits_for_its_turn() {
    let world = world().await;
    let gate = world
        .gate_with(|config| {
            config.response_timeout_ms = 250;
            config.calls_in_flight_max = 16;
            config.queue_calls_max = 20_000;
        })
        .await;
    publish(&gate, "A", 150).await;
    let answers = rush(&gate, 20_000).await;
    assert_eq!(answers.iter().filter(|taken| is_granted(taken)).count(), 150);
    assert_eq!(answers.iter().filter(|taken| **taken == Taken::Refused).count(), 19_850);
}

#[tokio::test]
async fn a_calls_time_begins_with_its_turn() {
    let mut world = world().await;
    let gate = world
        .gate_with(|config| {
            config.response_timeout_ms = 200;
            config.calls_in_flight_max = 1;
            config.breaker_failures_max = 1_000;
            config.heartbeat_interval_ms = 60_000;
        })
        .await;
    world.redis.freeze();
    let started = Instant::now();
    assert_eq!(rush(&gate, 3).await, [TIMED_OUT; 3]);
    assert!(started.elapsed() >= Duration::from_millis(600), "one after the other");
    world.redis.thaw();
}

#[tokio::test]
async fn whoever_waits_for_a_redis_found_dead_meanwhile_is_answered_at_once() {
    let mut world = world().await;
    let gate = world
        .gate_with(|config| {
            config.response_timeout_ms = 200;
            config.calls_in_flight_max = 4;
            config.breaker_failures_max = 4;
            config.heartbeat_interval_ms = 60_000;
        })
        .await;
    world.redis.freeze();
    rush(&gate, 100).await;
    assert_eq!((world.count("take", "timed_out"), world.count("take", "not_asked")), (4, 96));
    world.redis.thaw();
}

#[tokio::test]
async fn a_call_too_many_is_unknown_at_once() {
    let mut world = world().await;
    let gate = world
        .gate_with(|config| {
            config.response_timeout_ms = 200;
            config.calls_in_flight_max = 1;
            config.queue_calls_max = 2;
            config.breaker_failures_max = 1_000;
            config.heartbeat_interval_ms = 60_000;
        })
        .await;
    world.redis.freeze();
    rush(&gate, 10).await;
    assert_eq!((world.count("take", "timed_out"), world.count("take", "crowded")), (3, 7));
    world.redis.thaw();
}

#[tokio::test]
async fn a_process_that_did_not_run_does_not_take_redis_for_dead() {
    let world = world().await;
    let gate = world
        .gate_with(|config| {
            config.response_timeout_ms = 100;
            config.breaker_failures_max = 1;
            config.heartbeat_interval_ms = 60_000;
        })
        .await;
    publish(&gate, "A", 1).await;
    let wanted = cart(&[("A", 1)]);
    let mut taking = pin!(gate.take(id(1), &wanted));
    poll_fn(|context| Poll::Ready(taking.as_mut().poll(context).is_ready())).await;
    // The call's timer runs, and nothing else in this process does: what a stopped or starved one looks like.
    let stopped = Instant::now();
    while stopped.elapsed() < Duration::from_millis(400) {
        std::hint::spin_loop();
    }
    assert!(is_granted(&taking.await));
    assert_eq!(gate.state(), GateState::Up);
}
