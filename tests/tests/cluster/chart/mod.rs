//! What the chart renders, running: pods of the built programs with exactly the rendered words, variables, files and probes, on stores of the test's own.

mod answers;
mod examples;
mod faults;
mod rollouts;
mod secrets;

use std::path::PathBuf;
use std::time::Duration;

use holdfast_stack::kubernetes::helm::{NAMESPACE, lay_over, listening};
use holdfast_stack::kubernetes::{Cluster as Kubernetes, Outcome, Release, Rendered, sandbox};
use holdfast_stack::project::Project;
use holdfast_testkit::PrivateRedisCluster;
use serde_json::{Value, json};

use self::secrets::{Stores, token};
use crate::world::{Cluster, Doors, Folder};

/// Longer than a busy machine takes to roll all Deployments: pods wait for 5 s before each of them ends.
const ROLLED_WITHIN: Duration = Duration::from_secs(100);
/// Longer than the canary takes.
const TESTED_WITHIN: Duration = Duration::from_secs(60);
/// The folder with the programs of the version before; without it, this version plays that part too.
const ROLL_FROM: &str = "HOLDFAST_ROLL_FROM";
/// The folder with its chart; without it, this version's.
const ROLL_FROM_CHART: &str = "HOLDFAST_ROLL_FROM_CHART";
/// The folder with the programs of this version, where they are not beside the tests.
const PROGRAMS: &str = "HOLDFAST_TEST_PROGRAMS";
/// The tag of the version before.
const BEFORE: &str = "0.0.9-before";

/// A release of the chart in a cluster of the test's own.
struct Chart {
    kubernetes: Kubernetes,
    release: Release,
    /// Its stores, and how callers reach it.
    cluster: Cluster,
    example: String,
    /// The certificate authority of its stores, if they have one.
    ca: String,
    /// Where Redis speaks TLS, if it does.
    redis_tls_port: u16,
    redis_cluster: Option<PrivateRedisCluster>,
}

/// Runs a scenario with an example's values; afterwards the record must be consistent, and every pod must end in order.
fn chart(example: &str, body: impl AsyncFnOnce(&mut Chart)) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        if let Some(why) = sandbox::forbidden().await {
            assert!(std::env::var_os("CI").is_none(), "a build machine must allow namespaces: {why}");
            eprintln!("left out, because this machine allows no namespaces: {why}");
            return;
        }
        let mut chart = Chart::prepare(example).await;
        body(&mut chart).await;
        chart.end().await;
    });
}

impl Chart {
    async fn prepare(example: &str) -> Self {
        let doors = Doors {
            reservation: String::new(),
            buyers: token("holdfast", "shop-token"),
            people: token("holdfast", "people-token"),
            counters: match example {
                "existing-secrets" => token("vendor-sync-identity", "token"),
                "production" => token("holdfast-tokens", "vendor-sync-token"),
                _ => token("holdfast", "vendor-sync-token"),
            },
        };
        let folder = Folder::make();
        let stores = Stores::of(example, &folder.0).await;
        let Stores { postgres, redis, redis_tls_port, ca, redis_cluster } = stores;
        let cluster = Cluster::around(doors, folder, postgres, redis).await;
        let kubernetes = Kubernetes::start(&cluster.folder.0, NAMESPACE).unwrap_or_else(|error| panic!("{error}"));
        let (release, example) = (Release::default(), example.to_owned());
        Self { kubernetes, release, cluster, example, ca, redis_tls_port, redis_cluster }
    }

    /// Renders the example with more values over it, and says which programs its images are.
    async fn render(&self, more: &Value) -> Rendered {
        let mut values = platform();
        lay_over(&mut values, more);
        let project = Project::locate();
        // The version before brings its own chart.
        let before = (more["image"]["tag"] == BEFORE).then(|| std::env::var_os(ROLL_FROM_CHART)).flatten();
        let chart = before.map_or_else(|| project.root().join("k8s/holdfast"), PathBuf::from);
        let rendered = Rendered::from(&project, &self.cluster.folder.0, &chart, &self.example, &values).await;
        let rendered = rendered.unwrap_or_else(|error| panic!("{error}"));
        for image in rendered.images() {
            let before = image.ends_with(BEFORE).then(|| std::env::var_os(ROLL_FROM)).flatten();
            let programs = before.or_else(|| std::env::var_os(PROGRAMS)).map_or_else(beside_us, PathBuf::from);
            self.kubernetes.image(&image, &programs);
        }
        rendered
    }

    /// `helm upgrade --install`, without waiting.
    async fn upgrade(&mut self, more: &Value) -> Rendered {
        let rendered = self.render(more).await;
        self.provide(&rendered);
        self.apply(&rendered).await;
        rendered
    }

    async fn apply(&mut self, rendered: &Rendered) {
        self.release.upgrade(&self.kubernetes, rendered).await.unwrap_or_else(|error| panic!("{error}"));
        if let Some(address) = self.kubernetes.service("holdfast-reservation", "grpc") {
            self.cluster.doors().reservation = format!("http://{address}");
        }
    }

    /// `--wait`: every Deployment has the pods that it should have, they serve, and the older ones have ended.
    async fn rolled_out(&self) {
        let complete = |kubernetes: &Kubernetes| {
            let deployments = kubernetes.deployments();
            !deployments.is_empty()
                && deployments.iter().all(|name| kubernetes.rollout(name).is_some_and(|rollout| rollout.complete()))
        };
        self.until("everything is rolled out", ROLLED_WITHIN, complete).await;
    }

    async fn migrated(&self, rendered: &Rendered) {
        let jobs = rendered.jobs();
        let all = |kubernetes: &Kubernetes| jobs.iter().all(|job| kubernetes.job(job) == Some(Outcome::Complete));
        self.until("all migrations are done", ROLLED_WITHIN, all).await;
    }

    async fn until(&self, what: &str, within: Duration, holds: impl Fn(&Kubernetes) -> bool) {
        self.kubernetes.until(what, within, holds).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// `helm test`.
    async fn tested(&self) {
        let tested = self.release.test(&self.kubernetes, TESTED_WITHIN).await;
        tested.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Nothing happened to any pod that should not have.
    fn without_faults(&self) {
        assert_eq!(self.kubernetes.faults(), [], "pods did what they should not");
    }

    async fn end(mut self) {
        if self.cluster.number("SELECT count(*) FROM pg_class WHERE relname = 'ledger'").await > 0 {
            self.cluster.audited().await;
        }
        let ended = self.release.uninstall(&self.kubernetes, ROLLED_WITHIN).await;
        ended.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// What a user of this platform sets over any example: where pods listen, and that the shop's people may call.
fn platform() -> Value {
    let mut values = listening();
    let callers = json!([
        {"name": "shop", "roles": ["checkout"], "existingSecret": "holdfast", "key": "shop-token"},
        {"name": "people", "roles": ["operator"], "existingSecret": "holdfast", "key": "people-token"},
    ]);
    lay_over(&mut values, &json!({"callers": callers}));
    values
}

/// The folder into which cargo puts the programs.
fn beside_us() -> PathBuf {
    let here = std::env::current_exe().expect("this program is somewhere");
    here.ancestors().nth(2).expect("two folders above").to_path_buf()
}
