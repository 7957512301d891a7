//! Redis Cluster: one shard's trouble is no other's, and slots, masters and addresses may move.

use crate::log;
use crate::world::{
    LAMPS_NODE, MISSING, PATIENCE, TIMED_OUT, UNREACHABLE, answers, cluster_world, granted, is_granted, publish,
    reaches, record, replicated_world, sku, take, touched, whole, world,
};
use holdfast_reservation::gate::{Gate, GateState, Mode, Taken};
use holdfast_testkit::eventually;
use secrecy::SecretString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A SKU on each of three masters, in their order.
const SKUS: [&str; 3] = ["LAST", "LAMP", "DESK"];
const LAMPS_SLOT: u16 = 10_838;
const DESKS_NODE: usize = 2;

async fn publish_all(gate: &Gate, units: i64) {
    gate.publish(SKUS.map(|text| whole(text, &[("WH", units)])).to_vec()).await.unwrap();
}

#[tokio::test]
async fn every_sku_is_asked_for_where_it_lies() {
    let world = cluster_world().await;
    let gate = world.gate().await;
    assert_eq!((gate.state(), gate.shards()), (GateState::Up, 3));
    assert_eq!(world.metric("holdfast_gate_up"), 1.0);
    let texts: Vec<String> = (0..500).map(|n| format!("{}%{n}}}", ["S", "{", "日"][n % 3])).collect();
    gate.publish(texts.iter().map(|text| whole(text, &[("WH", 7)])).collect()).await.unwrap();
    let skus: Vec<_> = texts.iter().map(|text| sku(text)).collect();
    let read = gate.read(&skus).await.unwrap();
    for (text, read) in texts.iter().zip(read) {
        assert_eq!(read, Some(record(text, &[("WH", 7)])), "answers come in the order of the questions");
    }
    let lines: Vec<(&str, i64)> = texts.iter().map(|text| (text.as_str(), 7)).collect();
    assert!(granted(&gate, 1, &lines).await);
    assert!(!granted(&gate, 2, &lines[..1]).await);
    assert_eq!(world.redirects("moved"), 0.0, "nothing was asked for in the wrong place");
}

#[tokio::test]
async fn a_dead_shard_makes_nothing_unknown_but_its_own_skus() {
    let mut world = cluster_world().await;
    let url = SecretString::from(world.cluster.as_ref().unwrap().gate_url());
    let gate = world.gate_with(|config| config.url = url).await;
    publish_all(&gate, 100).await;
    world.cluster.as_mut().unwrap().node(0).stop().await.unwrap();
    reaches(&gate, GateState::Partly).await;
    eventually("the metric tells", PATIENCE, || async {
        let up = world.metric("holdfast_gate_up");
        (0.6..0.7).contains(&up).then_some(())
    })
    .await;
    assert_eq!(take(&gate, 1, &[("LAST", 1)]).await, UNREACHABLE);
    assert!(granted(&gate, 2, &[("LAMP", 1), ("DESK", 1)]).await);
    // What is published together is not lost together.
    gate.publish(SKUS.map(|text| whole(text, &[("WH", 50)])).to_vec()).await.unwrap_err();
    let read = gate.read(&SKUS.map(sku)).await.unwrap();
    assert_eq!(read, [None, Some(record("LAMP", &[("WH", 50)])), Some(record("DESK", &[("WH", 50)]))]);
    let report = gate.reconcile(SKUS.map(|text| record(text, &[("WH", 40)])).to_vec()).await.unwrap();
    assert_eq!((report.checked, report.unanswered), (2, vec![sku("LAST")]));
    assert_eq!(take(&gate, 3, &[("LAMP", 41)]).await, Taken::Refused);

    world.cluster.as_mut().unwrap().node(0).start_again().await.unwrap();
    reaches(&gate, GateState::Up).await;
    answers(&gate, &[("LAST", 1)], |taken| *taken == MISSING).await;
    publish(&gate, "LAST", 1).await;
    assert!(granted(&gate, 4, &[("LAST", 1)]).await);
}

#[tokio::test]
async fn a_frozen_shard_keeps_nobody_else_waiting() {
    let mut world = cluster_world().await;
    let gate = world
        .gate_with(|config| {
            config.response_timeout_ms = 300;
            config.breaker_failures_max = 3;
            config.heartbeat_interval_ms = 60_000;
        })
        .await;
    publish_all(&gate, 1_000).await;
    world.cluster.as_mut().unwrap().node(0).freeze();
    for number in 0..3 {
        let began = Instant::now();
        let (stuck, free) = tokio::join!(take(&gate, number, &[("LAST", 1)]), async {
            let free = take(&gate, 100 + number, &[("DESK", 1)]).await;
            (free, began.elapsed())
        });
        assert_eq!(stuck, TIMED_OUT);
        assert!(is_granted(&free.0) && free.1 < began.elapsed(), "a neighbour did not wait for it");
    }
    assert_eq!(take(&gate, 4, &[("LAST", 1)]).await, UNREACHABLE, "it is not asked any more");
    assert_eq!(gate.state(), GateState::Partly);
    world.cluster.as_mut().unwrap().node(0).thaw();
    answers(&gate, &[("LAST", 1)], is_granted).await;
}

#[tokio::test]
async fn a_slot_on_its_way_is_followed_without_taking_twice() {
    let world = cluster_world().await;
    let cluster = world.cluster.as_ref().unwrap();
    let gate = world.gate().await;
    publish(&gate, "LAMP", 10).await;
    assert!(granted(&gate, 1, &[("LAMP", 1)]).await);
    cluster.open_slot(LAMPS_SLOT, LAMPS_NODE, DESKS_NODE).await.unwrap();
    assert!(granted(&gate, 2, &[("LAMP", 1)]).await, "both keys are where they were");

    assert!(cluster.move_key(LAMPS_SLOT, LAMPS_NODE, DESKS_NODE).await.unwrap());
    for number in 100..120 {
        assert_eq!(take(&gate, number, &[("LAMP", 1)]).await, UNREACHABLE, "one is here and one is there");
    }
    assert!(world.redirects("try_again") > 0.0);
    assert_eq!(gate.state(), GateState::Up, "nobody is dead");

    assert!(cluster.move_key(LAMPS_SLOT, LAMPS_NODE, DESKS_NODE).await.unwrap());
    cluster.ask::<()>(DESKS_NODE, &["SCRIPT", "FLUSH", "SYNC"]).await.unwrap();
    assert!(granted(&gate, 3, &[("LAMP", 1)]).await, "asked ahead, and the script loaded there");
    assert!(granted(&gate, 1, &[("LAMP", 1)]).await, "again, which takes nothing more");
    assert!(world.redirects("ask") > 0.0);

    cluster.close_slot(LAMPS_SLOT, LAMPS_NODE, DESKS_NODE).await.unwrap();
    gate.publish(vec![touched("LAMP", &[], &[(2, 1)])]).await.unwrap();
    assert!(!granted(&gate, 4, &[("LAMP", 9)]).await, "8 are free of 10");
    assert!(granted(&gate, 4, &[("LAMP", 8)]).await);
    assert!(world.redirects("moved") > 0.0);
    let moved = world.redirects("moved");
    gate.publish(vec![touched("LAMP", &[], &[(4, 8)])]).await.unwrap();
    assert_eq!(world.redirects("moved"), moved, "it is known by now");
}

#[tokio::test]
async fn a_key_without_its_sibling_waits_out_the_move_past_the_gate() {
    let world = cluster_world().await;
    let cluster = world.cluster.as_ref().unwrap();
    let gate = world.gate().await;
    publish(&gate, "LAMP", 10).await;
    cluster.open_slot(LAMPS_SLOT, LAMPS_NODE, DESKS_NODE).await.unwrap();
    assert_eq!(take(&gate, 1, &[("LAMP", 1)]).await, UNREACHABLE, "Redis cannot tell that there are no takes");
    while cluster.move_key(LAMPS_SLOT, LAMPS_NODE, DESKS_NODE).await.unwrap() {}
    assert_eq!(take(&gate, 1, &[("LAMP", 1)]).await, UNREACHABLE);
    cluster.close_slot(LAMPS_SLOT, LAMPS_NODE, DESKS_NODE).await.unwrap();
    assert!(granted(&gate, 1, &[("LAMP", 1)]).await);
}

#[tokio::test]
async fn replicas_that_take_over_are_asked_and_know_the_scripts() {
    let mut world = replicated_world(1).await;
    let gate = world.gate().await;
    publish_all(&gate, 5).await;
    // What a replica has not heard of yet is lost with its master.
    for replica in 3..6 {
        let cluster = world.cluster.as_ref().unwrap();
        eventually("a replica has what was published", PATIENCE, || async {
            cluster.ask::<i64>(replica, &["DBSIZE"]).await.is_ok_and(|keys| keys > 0).then_some(())
        })
        .await;
    }
    world.cluster.as_ref().unwrap().fail_over(3).await.unwrap();
    answers(&gate, &[("LAST", 1)], is_granted).await;
    // And one whose master says no more goodbye.
    world.cluster.as_mut().unwrap().node(LAMPS_NODE).stop().await.unwrap();
    world.cluster.as_ref().unwrap().becomes_master(3 + LAMPS_NODE).await.unwrap();
    answers(&gate, &[("LAMP", 1)], is_granted).await;
    reaches(&gate, GateState::Up).await;
    assert_eq!(gate.shards(), 3, "those who were masters are none any more");
    assert!(granted(&gate, 1, &[("DESK", 5)]).await);
}

#[tokio::test]
async fn a_cluster_is_found_by_whichever_of_its_nodes_answers() {
    let mut world = cluster_world().await;
    let cluster = world.cluster.as_mut().unwrap();
    let url = SecretString::from(cluster.gate_url());
    for node in 0..3 {
        cluster.node(node).stop().await.unwrap();
    }
    let heard = log::listen();
    let gate = world.gate_with(|config| config.url = url).await;
    assert_eq!(gate.state(), GateState::Down);
    assert_eq!(take(&gate, 1, &[("LAMP", 1)]).await, UNREACHABLE);
    assert!(gate.read(&[sku("LAMP")]).await.is_err());
    assert!(heard.text().contains("the Redis cluster cannot be found"), "{}", heard.text());
    assert_eq!(heard.text().matches("cannot be found").count(), 1, "once for one reason");
    let cluster = world.cluster.as_mut().unwrap();
    cluster.node(2).start_again().await.unwrap();
    reaches(&gate, GateState::Partly).await;
    cluster.node(1).start_again().await.unwrap();
    answers(&gate, &[("LAMP", 1)], |taken| *taken == MISSING).await;
}

#[tokio::test]
async fn the_wrong_mode_is_told_as_what_it_is() {
    let heard = log::listen();
    let alone = world().await;
    let gate = alone.gate_with(|config| config.mode = Mode::Cluster).await;
    assert_eq!(gate.state(), GateState::Down);
    assert!(heard.text().contains("cluster support disabled"), "{}", heard.text());

    let world = cluster_world().await;
    let url = world.url();
    // The probe's slot is the third node's.
    for node in url.trim_start_matches("redis://limited:p4ss@").split(',').take(2) {
        let url = SecretString::from(format!("redis://limited:p4ss@{node}"));
        let gate = world
            .gate_with(|config| {
                config.mode = Mode::Single;
                config.url = url;
            })
            .await;
        assert_eq!(gate.state(), GateState::Down);
    }
    assert!(heard.text().contains("say gate.mode = \"cluster\""), "{}", heard.text());
}

#[tokio::test]
async fn the_gate_asks_a_cluster_for_nothing_that_its_user_may_not() {
    let world = cluster_world().await;
    let cluster = world.cluster.as_ref().unwrap();
    let gate = world.gate_with(|config| config.heartbeat_interval_ms = 20).await;
    publish_all(&gate, 9).await;
    assert!(granted(&gate, 1, &[("DESK", 1), ("LAMP", 1), ("LAST", 1)]).await);
    cluster.open_slot(LAMPS_SLOT, LAMPS_NODE, DESKS_NODE).await.unwrap();
    while cluster.move_key(LAMPS_SLOT, LAMPS_NODE, DESKS_NODE).await.unwrap() {}
    assert!(granted(&gate, 2, &[("LAMP", 1)]).await);
    let asked = world.count("topology", "done");
    eventually("the map is asked for", PATIENCE, || async { (world.count("topology", "done") > asked).then_some(()) })
        .await;
    for node in 0..3 {
        let denied: Vec<redis::Value> = cluster.ask(node, &["ACL", "LOG"]).await.unwrap();
        assert_eq!(denied, [], "node {node} denied something");
    }
    assert_eq!(world.count("probe", "denied") + world.count("topology", "denied"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn buyers_while_slots_wander_are_never_refused_for_want_of_one() {
    let world = cluster_world().await;
    let gate = world.gate_with(|config| config.response_timeout_ms = 2_000).await;
    publish_all(&gate, 100_000_000).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let buyers: Vec<_> = (0..4_u128)
        .map(|buyer| {
            let (gate, is_over) = (gate.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut outcomes = [0; 2];
                for n in 0.. {
                    match take(&gate, (buyer << 64) | n, &[("DESK", 1), ("LAMP", 1)]).await {
                        Taken::Granted(_) => outcomes[0] += 1,
                        Taken::Unknown(_) => outcomes[1] += 1,
                        Taken::Refused => panic!("a unit was there"),
                    }
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                outcomes
            })
        })
        .collect();
    let cluster = world.cluster.as_ref().unwrap();
    for number in 0..10 {
        let (from, to) = if number % 2 == 0 { (LAMPS_NODE, DESKS_NODE) } else { (DESKS_NODE, LAMPS_NODE) };
        cluster.move_slot(LAMPS_SLOT, from, to).await.unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    let mut sums = [0; 2];
    for buyer in buyers {
        let outcomes = buyer.await.unwrap();
        sums = [sums[0] + outcomes[0], sums[1] + outcomes[1]];
    }
    println!("granted and past the gate: {sums:?}");
    assert!(sums[0] > 0, "{sums:?}");
    assert!(world.redirects("moved") > 0.0);
    assert_eq!(gate.state(), GateState::Up, "a slot that moves kills nobody");
    answers(&gate, &[("DESK", 1), ("LAMP", 1)], is_granted).await;
}
