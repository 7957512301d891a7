//! Redis dead, slow, wiped, full, read-only: the gate knows nothing, says so soon, and recovers by itself.

use crate::world::{
    MISSING, PATIENCE, TIMED_OUT, UNREACHABLE, answers, granted, is_granted, publish, reaches, record, sku, take,
    touched, whole, world,
};
use holdfast_reservation::gate::{Carts, Gate, GateError, GateMetrics, GateState, Taken};
use holdfast_testkit::eventually;
use secrecy::SecretString;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_wiped_redis_knows_nothing_and_is_filled_by_publishing() {
    let world = world().await;
    let gate = world.gate().await;
    publish(&gate, "A", 1).await;
    assert!(granted(&gate, 1, &[("A", 1)]).await);
    world.ask::<()>("SCRIPT FLUSH SYNC").await;
    world.ask::<()>("FLUSHALL SYNC").await;
    assert_eq!(take(&gate, 2, &[("A", 1)]).await, MISSING, "unknown, not sold out");
    publish(&gate, "A", 1).await;
    assert!(granted(&gate, 3, &[("A", 1)]).await);
}

#[tokio::test]
async fn forgotten_scripts_are_loaded_again_without_anyone_noticing() {
    let world = world().await;
    let gate = world.gate().await;
    publish(&gate, "A", 9).await;
    world.ask::<()>("SCRIPT FLUSH SYNC").await;
    assert!(granted(&gate, 1, &[("A", 1)]).await);
    world.ask::<()>("SCRIPT FLUSH SYNC").await;
    gate.publish((0..50).map(|n| whole(&format!("S{n}"), &[("WH", n)])).collect()).await.unwrap();
    let read = gate.read(&(0..50).map(|n| sku(&format!("S{n}"))).collect::<Vec<_>>()).await.unwrap();
    assert!((0..50).zip(read).all(|(n, read)| read == Some(record(&format!("S{n}"), &[("WH", n)]))));
    world.ask::<()>("SCRIPT FLUSH SYNC").await;
    assert_eq!(gate.reconcile(vec![record("S7", &[("WH", 7)])]).await.unwrap().drifts, []);
    assert_eq!(gate.state(), GateState::Up);
}

#[tokio::test]
async fn a_restarted_empty_redis_is_used_again_by_itself() {
    let mut world = world().await;
    // The user made by command is gone after a restart; the one of the server's configuration is not.
    let url = SecretString::from(world.redis.gate_url());
    let gate = world.gate_with(|config| config.url = url).await;
    publish(&gate, "A", 1).await;
    world.redis.stop().await.unwrap();
    assert_eq!(take(&gate, 1, &[("A", 1)]).await, UNREACHABLE);
    assert_eq!(gate.state(), GateState::Down, "one broken connection is enough");
    assert_eq!(gate.publish(vec![whole("A", &[("WH", 1)])]).await, Err(GateError::NotAsked));
    world.redis.start_again().await.unwrap();
    reaches(&gate, GateState::Up).await;
    assert_eq!(take(&gate, 2, &[("A", 1)]).await, MISSING);
    publish(&gate, "A", 1).await;
    assert!(granted(&gate, 3, &[("A", 1)]).await);
}

#[tokio::test]
async fn a_gate_that_starts_without_redis_is_down_and_comes_up_with_it() {
    let mut world = world().await;
    let url = SecretString::from(world.redis.gate_url());
    world.redis.stop().await.unwrap();
    let gate = world.gate_with(|config| config.url = url).await;
    assert_eq!(gate.state(), GateState::Down);
    assert_eq!(take(&gate, 1, &[("A", 1)]).await, UNREACHABLE);
    assert_eq!(gate.read(&[sku("A")]).await, Err(GateError::NotAsked));
    world.redis.start_again().await.unwrap();
    reaches(&gate, GateState::Up).await;
    assert_eq!(take(&gate, 1, &[("A", 1)]).await, MISSING);
}

#[tokio::test]
async fn a_frozen_redis_is_waited_for_a_few_times_and_then_no_longer_asked() {
    let mut world = world().await;
    let gate = world
        .gate_with(|config| {
            config.response_timeout_ms = 200;
            config.breaker_failures_max = 3;
            config.heartbeat_interval_ms = 60_000;
        })
        .await;
    publish(&gate, "A", 1_000).await;
    world.redis.freeze();
    let started = Instant::now();
    for number in 0..3 {
        assert_eq!(take(&gate, number, &[("A", 1)]).await, TIMED_OUT);
    }
    assert!(started.elapsed() >= Duration::from_millis(600), "each waited its time");
    assert_eq!(gate.state(), GateState::Down);
    for number in 3..1_000 {
        assert_eq!(take(&gate, number, &[("A", 1)]).await, UNREACHABLE);
    }
    assert_eq!(world.count("take", "timed_out"), 3, "nobody else has waited");
    assert_eq!(world.count("take", "not_asked"), 997);
    world.redis.thaw();
    reaches(&gate, GateState::Up).await;
    answers(&gate, &[("A", 1)], is_granted).await;
}

#[tokio::test]
async fn takes_of_callers_that_gave_up_on_a_frozen_redis_lapse() {
    let mut world = world().await;
    let gate = world
        .gate_with(|config| {
            config.response_timeout_ms = 100;
            config.take_lapse_ms = 101;
            config.breaker_failures_max = 1_000;
        })
        .await;
    publish(&gate, "A", 1).await;
    world.redis.freeze();
    assert_eq!(take(&gate, 1, &[("A", 1)]).await, TIMED_OUT);
    world.redis.thaw();
    answers(&gate, &[("A", 1)], is_granted).await;
}

#[tokio::test]
async fn a_slow_redis_counts_as_dead_until_it_is_fast_again() {
    let world = world().await;
    let gate = world
        .gate_with(|config| {
            config.response_timeout_ms = 100;
            config.breaker_failures_max = 2;
        })
        .await;
    publish(&gate, "A", 1_000).await;
    let mut admin = world.admin().await;
    let sleeping =
        tokio::spawn(
            async move { redis::cmd("DEBUG").arg("SLEEP").arg("1").query_async::<redis::Value>(&mut admin).await },
        );
    answers(&gate, &[("A", 1)], |taken| *taken == TIMED_OUT).await;
    answers(&gate, &[("A", 1)], |taken| *taken == UNREACHABLE).await;
    assert_eq!(gate.state(), GateState::Down);
    // The sleeper's own client may give up on it sooner than Redis wakes.
    let _answer_or_timeout = sleeping.await.unwrap();
    reaches(&gate, GateState::Up).await;
    answers(&gate, &[("A", 1)], is_granted).await;
}

#[tokio::test]
async fn a_redis_without_memory_fails_open_and_stays_in_use() {
    let world = world().await;
    let gate = world.gate().await;
    publish(&gate, "A", 9).await;
    world.ask::<()>("CONFIG SET maxmemory 1").await;
    for number in 1..=20 {
        assert_eq!(take(&gate, number, &[("A", 1)]).await, UNREACHABLE);
    }
    let full = Err(GateError::Rejected("out_of_memory"));
    assert_eq!(gate.publish(vec![whole("NEW", &[("WH", 1)])]).await, full);
    assert_eq!(gate.reconcile(vec![record("NEW", &[("WH", 1)])]).await.map(drop), full);
    gate.reconcile(vec![record("A", &[("WH", 8)])]).await.expect("what is there already can be set right");
    assert_eq!(gate.state(), GateState::Up, "it answers fast, so it may be asked");
    assert_eq!(world.count("take", "out_of_memory"), 20);
    world.ask::<()>("CONFIG SET maxmemory 0").await;
    assert!(granted(&gate, 21, &[("A", 8)]).await, "nothing was taken meanwhile");
}

#[tokio::test]
async fn a_redis_that_turned_replica_fails_open_and_is_used_again_as_a_master() {
    let world = world().await;
    let gate = world.gate().await;
    publish(&gate, "A", 9).await;
    world.ask::<()>("REPLICAOF 127.0.0.1 1").await;
    answers(&gate, &[("A", 1)], |taken| *taken == UNREACHABLE).await;
    eventually("probes find it unfit", PATIENCE, || async {
        let _fails_open = take(&gate, 1, &[("A", 1)]).await;
        (gate.state() == GateState::Down && world.count("probe", "failed") > 2).then_some(())
    })
    .await;
    assert!(world.count("take", "read_only") > 0);
    world.ask::<()>("REPLICAOF NO ONE").await;
    reaches(&gate, GateState::Up).await;
    answers(&gate, &[("A", 1)], is_granted).await;
}

#[tokio::test]
async fn a_wrong_password_leaves_the_gate_down() {
    let world = world().await;
    let url = SecretString::from(world.url().replace("p4ss", "wrong"));
    let gate = world.gate_with(|config| config.url = url).await;
    assert_eq!(gate.state(), GateState::Down);
    assert_eq!(take(&gate, 1, &[("A", 1)]).await, UNREACHABLE);
}

#[tokio::test]
async fn a_user_who_may_not_write_leaves_the_gate_down() {
    let world = world().await;
    world.ask::<()>("ACL SETUSER limited -zrem").await;
    let gate = world.gate().await;
    assert_eq!(gate.state(), GateState::Down, "the probe does what a take does");
    world.make_user().await;
    reaches(&gate, GateState::Up).await;
}

#[tokio::test]
async fn an_unusable_url_leaves_the_gate_down_and_the_process_alive() {
    let world = world().await;
    let mut config = world.config();
    config.url = SecretString::from("not a url");
    let gate = Gate::connect(&config, GateMetrics::register(&holdfast_kit::Metrics::new())).await;
    assert_eq!(gate.state(), GateState::Down);
    assert_eq!(take(&gate, 1, &[("A", 1)]).await, UNREACHABLE);
}

#[tokio::test]
async fn a_cut_connection_is_replaced_before_anyone_asks() {
    let world = world().await;
    let gate = world.gate_with(|config| config.heartbeat_interval_ms = 20).await;
    publish(&gate, "A", 1).await;
    let probes = world.count("probe", "done");
    world.ask::<i64>("CLIENT KILL USER limited").await;
    eventually("another connection", PATIENCE, || async { (world.count("probe", "lost") > 0).then_some(()) }).await;
    eventually("it is well", PATIENCE, || async { (world.count("probe", "done") > probes).then_some(()) }).await;
    assert!(granted(&gate, 1, &[("A", 1)]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn buyers_during_outages_are_never_refused_for_want_of_redis() {
    let world = world().await;
    let gate = world.gate_with(|config| config.carts = Carts::SkuBySku).await;
    publish(&gate, "A", 1_000_000).await;
    publish(&gate, "B", 1_000_000).await;
    let buyers: Vec<_> = (0..8_u128)
        .map(|buyer| {
            let gate = gate.clone();
            tokio::spawn(async move {
                let mut outcomes = [0; 2];
                for n in 0..200 {
                    match take(&gate, buyer * 1_000 + n, &[("A", 1), ("B", 1)]).await {
                        Taken::Granted(_) => outcomes[0] += 1,
                        Taken::Unknown(_) => outcomes[1] += 1,
                        Taken::Refused => panic!("a unit was there"),
                    }
                    tokio::task::yield_now().await;
                }
                outcomes
            })
        })
        .collect();
    for _ in 0..10 {
        world.ask::<i64>("CLIENT KILL USER limited").await;
        reaches(&gate, GateState::Up).await;
    }
    let mut asked = 0;
    for buyer in buyers {
        asked += buyer.await.unwrap().iter().sum::<i32>();
    }
    assert_eq!(asked, 1_600);
    answers(&gate, &[("A", 1), ("B", 1)], is_granted).await;
}

#[tokio::test]
async fn the_connection_closes_with_the_last_handle() {
    let world = world().await;
    let gate = world.gate().await;
    let other = gate.clone();
    drop(gate);
    publish(&other, "A", 1).await;
    drop(other);
    eventually("no connection of the gate's", PATIENCE, || async {
        let clients: String = world.ask("CLIENT LIST").await;
        (!clients.contains("user=limited")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_gate_asks_for_nothing_that_its_user_may_not() {
    let world = world().await;
    let gate = world.gate().await;
    publish(&gate, "A", 9).await;
    assert!(granted(&gate, 1, &[("A", 1)]).await);
    assert!(!granted(&gate, 2, &[("A", 9)]).await);
    gate.publish(vec![touched("A", &[("WH", 8)], &[(1, 1)]), whole("B", &[])]).await.unwrap();
    gate.reconcile(vec![record("A", &[("WH", 8)]), record("C", &[])]).await.unwrap();
    gate.read(&[sku("A")]).await.unwrap();
    assert_eq!(world.ask::<Vec<redis::Value>>("ACL LOG").await, [], "nothing was denied");
}

#[tokio::test]
async fn the_gates_user_may_touch_nothing_else() {
    let world = world().await;
    let client = redis::Client::open(world.url()).unwrap();
    let mut user = client.get_multiplexed_async_connection().await.unwrap();
    for words in [
        "FLUSHALL",
        "KEYS *",
        "SCAN 0",
        "CONFIG GET *",
        "SCRIPT FLUSH",
        "EVAL x 0",
        "PUBLISH a b",
        "HGETALL other",
        "DEL other",
    ] {
        let mut command = redis::Cmd::new();
        for word in words.split(' ') {
            command.arg(word);
        }
        let denied = command.exec_async(&mut user).await.expect_err(words);
        assert_eq!(denied.code(), Some("NOPERM"), "{words}");
    }
}
