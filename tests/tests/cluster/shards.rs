//! Redis Cluster under load (FAULTS 22): slots that move, masters that die or hand over. One shard's trouble is no other's, and nobody is turned away for want of it.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_testkit::seed;

use crate::kills::{BUYERS, SKUS, settled};
use crate::load::Load;
use crate::operators::{metrics, value};
use crate::world::{Cluster, Options, scenario};

/// Plenty of two, and few enough of the third that buyers are refused. In a cluster of three each lies on another master.
const STOCK: [(&str, i64); 3] = [("DESK", 100_000), ("LAMP", 100_000), ("LAST", 60)];
const DESKS_NODE: usize = 2;
const LAMPS_NODE: usize = 1;
const LASTS_NODE: usize = 0;
const LAMPS_SLOT: u16 = 10_838;
const LASTS_SLOT: u16 = 2_734;

#[test]
fn slots_that_move_under_load_oversell_nothing_and_turn_nobody_away() {
    let seed = seed();
    scenario(Options::reservation(2).sharded(0), async |cluster| {
        cluster.count(&STOCK).await;
        let load = Load::start(cluster, &SKUS, BUYERS, &seed).await;
        let moves = [(LASTS_SLOT, LASTS_NODE, DESKS_NODE), (LAMPS_SLOT, LAMPS_NODE, LASTS_NODE)];
        let back = moves.map(|(slot, from, to)| (slot, to, from));
        for (slot, from, to) in moves.into_iter().chain(back).chain(moves) {
            let shards = cluster.shards();
            shards.open_slot(slot, from, to).await.expect("the slot is opened");
            load.goes_on(50).await;
            // Now one key of a SKU is here and one is there, for as long as buyers find it so.
            shards.move_key(slot, from, to).await.expect("a key moves");
            load.goes_on(50).await;
            while shards.move_key(slot, from, to).await.expect("a key moves") {}
            load.goes_on(50).await;
            shards.close_slot(slot, from, to).await.expect("the slot is given away");
            load.goes_on(50).await;
        }
        let ended = settled(cluster, load, Duration::ZERO).await;
        assert_eq!(ended.unknown(), BTreeMap::new(), "Redis is no reason not to know");
        for answer in ["moved", "ask", "try_again"] {
            assert!(redirects(cluster, answer).await > 0, "nobody was answered {answer}, so this says nothing");
        }
    });
}

#[test]
fn a_shard_killed_under_load_is_gone_past_and_filled_again_when_it_comes_back_empty() {
    let seed = seed();
    scenario(Options::reservation(2).sharded(0), async |cluster| {
        cluster.count(&STOCK).await;
        let load = Load::start(cluster, &SKUS, BUYERS, &seed).await;
        for node in [LASTS_NODE, LAMPS_NODE] {
            cluster.shards().node(node).stop().await.expect("it is killed");
            load.goes_on(200).await;
            cluster.shards().node(node).start_again().await.expect("it starts again");
            load.goes_on(100).await;
            cluster.shards().serves(node).await.expect("it serves again");
        }
        let ended = settled(cluster, load, Duration::ZERO).await;
        assert_eq!(ended.unknown(), BTreeMap::new(), "Redis is no reason not to know");
    });
}

#[test]
fn replicas_of_redis_that_take_over_under_load_are_followed() {
    let seed = seed();
    scenario(Options::reservation(2).sharded(1), async |cluster| {
        cluster.count(&STOCK).await;
        let load = Load::start(cluster, &SKUS, BUYERS, &seed).await;
        cluster.shards().fail_over(3 + LASTS_NODE).await.expect("it hands over");
        load.goes_on(100).await;
        cluster.shards().node(LAMPS_NODE).stop().await.expect("it is killed");
        load.goes_on(100).await;
        cluster.shards().becomes_master(3 + LAMPS_NODE).await.expect("its replica takes over");
        load.goes_on(100).await;
        let ended = settled(cluster, load, Duration::ZERO).await;
        assert_eq!(ended.unknown(), BTreeMap::new(), "Redis is no reason not to know");
    });
}

/// How often the replicas of reservation were pointed elsewhere in these words.
async fn redirects(cluster: &Cluster, answer: &str) -> u64 {
    let sample = format!("holdfast_gate_redirects_total{{answer=\"{answer}\"}}");
    let mut sum = 0.0;
    for replica in &cluster.reservation {
        sum += value(&metrics(replica.admin()).await, &sample).unwrap_or(0.0);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter is whole and not below 0")]
    let sum = sum as u64;
    sum
}
