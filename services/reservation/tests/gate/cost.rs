//! What a cluster costs beside a single Redis, as ratios of the medians of rounds that take turns.

use crate::world::{World, cart, cluster_world, id, is_granted, whole, world};
use holdfast_reservation::gate::Gate;
use std::time::{Duration, Instant};

const ROUNDS: usize = 40;
const CARTS: u32 = 50;

struct Shop {
    _world: World,
    gate: Gate,
    rounds: Vec<Duration>,
}

impl Shop {
    async fn open(world: World, skus: &[&str]) -> Self {
        let gate = world.gate().await;
        gate.publish(skus.iter().map(|text| whole(text, &[("WH", 1_000_000)])).collect()).await.unwrap();
        Self { _world: world, gate, rounds: Vec::new() }
    }

    /// So many carts, one after the other.
    async fn round(&mut self, number: usize, lines: &[(&str, i64)]) {
        let cart = cart(lines);
        let began = Instant::now();
        for n in 0..CARTS {
            assert!(is_granted(&self.gate.take(id(((number as u128) << 32) | u128::from(n)), &cart).await));
        }
        self.rounds.push(began.elapsed() / CARTS);
    }

    fn median(&mut self) -> Duration {
        self.rounds.sort();
        self.rounds[self.rounds.len() / 2]
    }
}

#[tokio::test]
async fn a_cluster_costs_a_round_trip_for_each_sku_and_little_else() {
    let skus = ["LAST", "LAMP", "DESK", "C", "D"];
    for count in [1, 3, 5] {
        let mut single = Shop::open(world().await, &skus).await;
        let mut cluster = Shop::open(cluster_world().await, &skus).await;
        let lines: Vec<(&str, i64)> = skus[..count].iter().map(|text| (*text, 1)).collect();
        for number in 0..ROUNDS {
            single.round(number, &lines).await;
            cluster.round(number, &lines).await;
        }
        let (one, other) = (single.median().as_secs_f64() * 1e6, cluster.median().as_secs_f64() * 1e6);
        println!(
            "a take of {count} SKUs: {one:.0} µs of one Redis, {other:.0} µs of a cluster, {:.2} times",
            other / one
        );
        assert!(other / one < 3.0 * count as f64, "more than its round trips");
    }
}
