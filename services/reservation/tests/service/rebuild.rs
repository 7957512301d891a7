//! A Redis that lost everything: all counters come back in one go, those too that nobody asks for.

use std::time::Duration;

use holdfast_testkit::eventually;

use crate::world::{Options, World, published_becomes, test_with};

const SKUS: usize = 400;
/// Rows that one pass of the reconciler looks at: without hurry everything comes round in 20 passes.
const OTHERS_MAX: usize = 20;

async fn counters(world: &World) -> usize {
    let url = world.redis.lock().await.admin_url();
    let mut redis = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    redis::cmd("DBSIZE").query_async(&mut redis).await.unwrap()
}

async fn metric(world: &World, name: &str) -> usize {
    let metrics = world.metrics().await;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name} is missing in {metrics}")).parse().unwrap()
}

#[test]
fn after_a_wipe_every_counter_comes_back_in_one_go_while_buying_goes_on() {
    let settings =
        vec![("RECONCILER__PERIOD_MS", "1000".to_owned()), ("RECONCILER__OTHERS_MAX", OTHERS_MAX.to_string())];
    test_with(Options { settings, ..Options::default() }, async |world| {
        let skus: Vec<String> = (0..SKUS).map(|n| format!("CHAIR-{n:03}")).collect();
        let counts = skus.iter().map(|sku| (sku.as_str(), "main", 5)).collect();
        world.stock().apply_counts(world.counts(counts)).await.expect("the counts are taken");
        eventually("all are published", Duration::from_secs(20), || async {
            (counters(world).await >= SKUS).then_some(())
        })
        .await;
        let (passes, rebuilds) = (
            metric(world, "holdfast_reconcile_passes_total").await,
            metric(world, "holdfast_counter_rebuild_seconds_count").await,
        );
        world.wipe_redis().await;
        world.hold("CHAIR-399", 2).await;
        eventually("all are published again", Duration::from_secs(20), || async {
            (counters(world).await >= SKUS).then_some(())
        })
        .await;
        eventually("the rebuild has ended", Duration::from_secs(20), || async {
            (metric(world, "holdfast_counter_rebuild_seconds_count").await > rebuilds).then_some(())
        })
        .await;
        let took = metric(world, "holdfast_reconcile_passes_total").await - passes;
        assert!(took < SKUS / OTHERS_MAX, "it took {took} passes, as many as without hurry");
        published_becomes(world, "CHAIR-399", 3).await;
        published_becomes(world, "CHAIR-000", 5).await;
    });
}
