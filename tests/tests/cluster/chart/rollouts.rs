//! Rollouts under load: of a changed value, of a new version, and back (FAULTS 8, 52). Nobody is left without an outcome, nothing is sold twice.

use std::time::Duration;

use holdfast_kit::pg::migrate;
use holdfast_kit::{Common, Service as _};
use holdfast_testkit::{eventually, seed};
use serde_json::{Value, json};
use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::answers::{Answers, RESERVATION};
use super::{BEFORE, Chart, ROLLED_WITHIN, chart};
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
        let before = chart.kubernetes.pods_of(RESERVATION);
        chart
            .upgrade(&json!({"reservation": {"config": {"telemetry": {"log_filter": "info,holdfast_kit=debug"}}}}))
            .await;
        chart.rolled_out().await;
        let after = chart.kubernetes.pods_of(RESERVATION);
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
        let schema = chart.schema().await;
        let forth = chart.rolls_to(&json!({})).await;
        eprintln!("forth: {forth:?}, over a schema of version {schema} and then {}", chart.schema().await);
        load.goes_on(100).await;
        chart.cluster.audited().await;
        chart.tested().await;
        // `helm rollback`: the schema stays as it is, and must still serve the version before.
        let schema = chart.schema().await;
        let back = chart.rolls_to(&before()).await;
        eprintln!("back: {back:?}, over a schema of version {schema}");
        assert_eq!(chart.schema().await, schema, "a rollback migrates nothing");
        load.goes_on(100).await;
        for one_way in [forth, back] {
            assert!(one_way.old_beside_new > 0 && one_way.new > 0, "not both have answered while they rolled");
        }
        let ended = settled(&chart.cluster, load, Duration::ZERO).await;
        everybody_knows(&ended);
        chart.tested().await;
        chart.without_faults();
    });
}

/// Migrations of reservation that only later versions have: one that adds to what every batch reads and writes, and one that takes something away.
const LATER: [&str; 2] = [
    "ALTER TABLE stock ADD COLUMN later bigint NOT NULL DEFAULT 7;
     ALTER TABLE reservation ADD COLUMN later bigint NOT NULL DEFAULT 7;
     ALTER TABLE allocation ADD COLUMN later bigint NOT NULL DEFAULT 7;
     ALTER TABLE ledger ADD COLUMN later bigint NOT NULL DEFAULT 7;
     ALTER TABLE operation ADD COLUMN later bigint NOT NULL DEFAULT 7;
     ALTER TABLE policy ADD COLUMN later bigint NOT NULL DEFAULT 7",
    "ALTER TABLE stock DROP COLUMN later; UPDATE schema_serves SET oldest = (SELECT max(version) FROM _sqlx_migrations)",
];

#[test]
fn this_version_serves_on_while_a_later_one_migrates_until_that_takes_something_away() {
    let seed = seed();
    chart("smallest", async |chart| {
        chart.open(&json!({})).await;
        let load = Load::start(&chart.cluster, &SKUS, BUYERS, &seed).await;
        let schema = chart.schema().await;
        chart.migrates_further(1).await;
        assert_eq!(chart.schema().await, schema + 1);
        load.goes_on(100).await;
        // What a rollback from the later version starts: this version's pods, and its Job, which has nothing to do.
        chart.rolls_to(&before()).await;
        assert_eq!(chart.schema().await, schema + 1);
        load.goes_on(100).await;
        chart.tested().await;
        chart.migrates_further(2).await;
        let serving = chart.kubernetes.pods_of(RESERVATION);
        chart.upgrade(&json!({})).await;
        let refused = format!("serves programs from version {} on", schema + 1);
        chart.refuses_to_start(&serving, &refused).await;
        load.goes_on(100).await;
        chart.upgrade(&before()).await;
        chart.rolled_out().await;
        assert_eq!(chart.kubernetes.pods_of(RESERVATION), serving, "who serves goes on serving");
        let ended = settled(&chart.cluster, load, Duration::ZERO).await;
        everybody_knows(&ended);
        chart.without_faults();
    });
}

impl Chart {
    /// Upgrades, or rolls back, and waits until all of it is done; who answered the buyers meanwhile.
    async fn rolls_to(&mut self, values: &Value) -> Answers {
        let old = self.kubernetes.pods_of(RESERVATION);
        let rendered = self.upgrade(values).await;
        let answers = self.rolled_out_counting(old.clone()).await;
        self.migrated(&rendered).await;
        let new = self.kubernetes.pods_of(RESERVATION);
        assert!(old.iter().all(|pod| !new.contains(pod)), "{old:?} gave way to {new:?}");
        answers
    }

    /// The version of reservation's schema.
    async fn schema(&self) -> i64 {
        self.cluster.number("SELECT max(version) FROM _sqlx_migrations").await
    }

    /// Does what the Job of a later version does, whose migrations of reservation are these and the first so many of [`LATER`].
    async fn migrates_further(&self, later: usize) {
        let known = holdfast_reservation::Reservation::migrator();
        let next = known.iter().map(|migration| migration.version).max().expect("migrations") + 1;
        let later = (next..).zip(&LATER[..later]).map(|(version, text)| {
            let text = SqlStr::from_static(text);
            Migration::new(version, "later".into(), MigrationType::Simple, text, false)
        });
        let migrator = Migrator::with_migrations(known.iter().cloned().chain(later).collect());
        let mut config = Common::default().postgres;
        config.url = self.cluster.database.url().into();
        config.migrate_url = self.cluster.database.owner_url().into();
        let migrated = migrate(&config, &migrator, "holdfast-reservation").await;
        let migrated = migrated.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(migrated.applied, 1, "{migrated:?}");
    }

    /// Waits until a new pod has said why it does not start; those that serve go on.
    async fn refuses_to_start(&self, serving: &[String], why: &str) {
        let said = |pod: &String| {
            let log = self.cluster.folder.0.join(format!("{pod}.wait-schema.log"));
            std::fs::read_to_string(log).is_ok_and(|text| text.contains(why))
        };
        eventually("a new pod refuses to start", ROLLED_WITHIN, || async {
            let pods = self.kubernetes.pods_of(RESERVATION);
            pods.iter().filter(|pod| !serving.contains(pod)).any(said).then_some(())
        })
        .await;
        let rollout = self.kubernetes.rollout(RESERVATION).expect("it is there");
        assert_eq!((rollout.ready, rollout.current_ready), (serving.len(), 0));
    }
}
