//! What the chart renders, running: pods of the built programs with exactly the rendered words, variables, files and probes, on stores of the test's own.

mod examples;
mod faults;
mod rollouts;

use std::path::PathBuf;
use std::time::Duration;

use holdfast_stack::kubernetes::helm::NAMESPACE;
use holdfast_stack::kubernetes::objects::{Object, Texts};
use holdfast_stack::kubernetes::podspec::{PodSpec, ProjectedSource};
use holdfast_stack::kubernetes::{Cluster as Kubernetes, Outcome, Release, Rendered, sandbox};
use holdfast_stack::project::Project;
use serde_json::{Value, json};

use crate::world::{Cluster, Doors};

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
            counters: token("holdfast", "vendor-sync-token"),
        };
        let cluster = Cluster::around(doors).await;
        let kubernetes = Kubernetes::start(&cluster.folder.0, NAMESPACE).unwrap_or_else(|error| panic!("{error}"));
        Self { kubernetes, release: Release::default(), cluster, example: example.to_owned() }
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

    /// Makes the Secrets that pods ask for, as the chart's README has its user make them.
    fn provide(&self, rendered: &Rendered) {
        let mut secrets = std::collections::BTreeMap::<String, Texts>::new();
        for (name, key) in asked_for(rendered) {
            let text = self.content(&name, &key);
            secrets.entry(name).or_default().insert(key, text);
        }
        for (name, keys) in secrets {
            self.kubernetes.secret(&name, keys);
        }
    }

    /// What stands behind a key of a Secret, told by its name.
    fn content(&self, secret: &str, key: &str) -> String {
        let full = format!("{secret} {key}");
        let [catalog, vendor_sync] = self.cluster.others.as_slice() else { panic!("three databases") };
        let database = match () {
            () if full.contains("vendor-sync") => vendor_sync,
            () if full.contains("catalog") => catalog,
            () => &self.cluster.database,
        };
        match key {
            "wrong-url" => "postgres://holdfast_reservation:wrong@127.0.0.1:1/nowhere".to_owned(),
            "wrong-redis-url" => "redis://127.0.0.1:1".to_owned(),
            _ if key.ends_with("token") => token(secret, key),
            _ if key.contains("redis") => self.cluster.redis.gate_url(),
            _ if key.contains("password") => database.password().to_owned(),
            _ if key.contains("migrate") => database.owner_url(),
            _ if key.contains("url") => database.url(),
            other => panic!("nobody knows what {other} of {secret} is"),
        }
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
        self.cluster.audited().await;
        let ended = self.release.uninstall(&self.kubernetes, ROLLED_WITHIN).await;
        ended.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// What a user of this platform sets over any example: pods share one machine here, so each listens on its own address, and the shop's people may call.
fn platform() -> Value {
    let listen = |service: &str, port: u16, admin: u16| {
        json!({"extraEnv": {
            format!("HOLDFAST_{service}__SERVER__GRPC_LISTEN"): format!("$(A_POD_IP):{port}"),
            format!("HOLDFAST_{service}__SERVER__ADMIN_LISTEN"): format!("$(A_POD_IP):{admin}"),
        }})
    };
    json!({
        "existingSecret": "holdfast",
        "defaults": {"extraEnv": {"A_POD_IP": {"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}}},
        "reservation": listen("RESERVATION", 50051, 9051),
        "catalog": listen("CATALOG", 50052, 9052),
        "vendorSync": listen("VENDOR_SYNC", 50053, 9053),
        "callers": [
            {"name": "shop", "roles": ["checkout"], "existingSecret": "holdfast", "key": "shop-token"},
            {"name": "people", "roles": ["operator"], "existingSecret": "holdfast", "key": "people-token"},
        ],
    })
}

fn lay_over(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                lay_over(below.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (below, above) => below.clone_from(above),
    }
}

fn token(secret: &str, key: &str) -> String {
    format!("a-token-that-is-long-enough-{secret}-{key}")
}

/// The folder into which cargo puts the programs.
fn beside_us() -> PathBuf {
    let here = std::env::current_exe().expect("this program is somewhere");
    here.ancestors().nth(2).expect("two folders above").to_path_buf()
}

/// The pods' specs of an object, if it makes pods.
fn pod_of(object: &Object) -> Option<&PodSpec> {
    match object {
        Object::Deployment(_, spec) => Some(&spec.template.spec),
        Object::Job(_, spec) => Some(&spec.template.spec),
        Object::Pod(_, spec) => Some(spec),
        _ => None,
    }
}

/// Every key of every Secret that a pod mounts.
fn asked_for(rendered: &Rendered) -> Vec<(String, String)> {
    let objects = rendered.objects.iter().chain(&rendered.before).chain(&rendered.tests);
    let volumes = objects.filter_map(pod_of).flat_map(|pod| &pod.volumes);
    let sources = volumes.filter_map(|volume| volume.projected.as_ref()).flat_map(|projected| &projected.sources);
    let secrets = sources.filter_map(|source| match source {
        ProjectedSource::Secret(keys) => Some(keys),
        ProjectedSource::ConfigMap(_) => None,
    });
    secrets.flat_map(|keys| keys.items.iter().flatten().map(|item| (keys.name.clone(), item.key.clone()))).collect()
}
