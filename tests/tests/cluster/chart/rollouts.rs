//! Rollouts under load: of a changed value, of a new version, and back (FAULTS 8, 52). Nobody is left without an outcome, nothing is sold twice.

use std::time::Duration;

use holdfast_testkit::seed;
use serde_json::{Value, json};

use super::{BEFORE, Chart, chart};
use crate::kills::{BUYERS, SKUS, STOCK, everybody_knows, settled};
use crate::load::Load;

/// The values of the version before.
fn before() -> Value {
    json!({"image": {"tag": BEFORE}})
}

impl Chart {
    /// Installs it, waits for it and puts stock into it.
    pub(super) async fn open(&mut self, more: &Value) {
        let rendered = self.upgrade(more).await;
        self.migrated(&rendered).await;
        self.rolled_out().await;
        self.cluster.count(&STOCK).await;
    }
}

#[test]
fn a_changed_value_rolls_under_load_and_nobody_is_left_without_an_outcome() {
    let seed = seed();
    chart("smallest", async |chart| {
        chart.open(&json!({})).await;
        let load = Load::start(&chart.cluster, &SKUS, BUYERS, &seed).await;
        let before = chart.kubernetes.pods_of("holdfast-reservation");
        chart
            .upgrade(&json!({"reservation": {"config": {"telemetry": {"log_filter": "info,holdfast_kit=debug"}}}}))
            .await;
        chart.rolled_out().await;
        let after = chart.kubernetes.pods_of("holdfast-reservation");
        assert!(before.iter().all(|pod| !after.contains(pod)), "{before:?} gave way to {after:?}");
        load.goes_on(100).await;
        let ended = settled(&chart.cluster, load, Duration::ZERO).await;
        everybody_knows(&ended);
        chart.tested().await;
        chart.without_faults();
    });
}

#[test]
fn the_version_before_rolls_to_this_one_and_back_under_load() {
    let seed = seed();
    chart("smallest", async |chart| {
        chart.open(&before()).await;
        let load = Load::start(&chart.cluster, &SKUS, BUYERS, &seed).await;
        let new = chart.upgrade(&json!({})).await;
        // While both are there, and then the new one alone.
        load.goes_on(100).await;
        chart.migrated(&new).await;
        chart.rolled_out().await;
        load.goes_on(100).await;
        chart.cluster.audited().await;
        chart.tested().await;
        // `helm rollback`: the schema stays as it is, and must still serve the version before.
        chart.upgrade(&before()).await;
        chart.rolled_out().await;
        load.goes_on(100).await;
        let ended = settled(&chart.cluster, load, Duration::ZERO).await;
        everybody_knows(&ended);
        chart.tested().await;
        chart.without_faults();
    });
}
