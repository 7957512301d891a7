//! Examples of the chart from nothing to serving: in whichever order a tool applies their objects.

use std::time::Duration;

use holdfast_stack::kubernetes::objects::Object;
use holdfast_stack::redis::{GATE, answer};
use holdfast_testkit::eventually;
use serde_json::json;

use super::{Chart, ROLLED_WITHIN, chart};

#[test]
fn the_smallest_example_starts_whenever_its_migrations_come() {
    chart("smallest", async |chart| {
        let rendered = chart.render(&json!({})).await;
        // A tool may bring pods before the Jobs, and the Secrets last of all.
        let without_jobs = |object: &Object| !matches!(object, Object::Job(..));
        let applied = chart.release.upgrade_with(&chart.kubernetes, &rendered, without_jobs).await;
        applied.unwrap_or_else(|error| panic!("{error}"));
        chart.provide(&rendered);
        for deployment in ["holdfast-reservation", "holdfast-catalog", "holdfast-vendor-sync"] {
            chart.waits_for_schema(deployment).await;
        }
        chart.apply(&rendered).await;
        chart.migrated(&rendered).await;
        chart.rolled_out().await;
        chart.tested().await;
        chart.tested().await;
        chart.without_faults();
    });
}

#[test]
fn pods_that_wait_for_their_schema_go_at_once_when_nobody_wants_them_any_more() {
    chart("smallest", async |chart| {
        let rendered = chart.render(&json!({})).await;
        chart.provide(&rendered);
        let without_jobs = |object: &Object| !matches!(object, Object::Job(..));
        let applied = chart.release.upgrade_with(&chart.kubernetes, &rendered, without_jobs).await;
        applied.unwrap_or_else(|error| panic!("{error}"));
        chart.waits_for_schema("holdfast-reservation").await;
        let gone = chart.release.uninstall(&chart.kubernetes, Duration::from_secs(20)).await;
        gone.unwrap_or_else(|error| panic!("{error}"));
        chart.without_faults();
    });
}

#[test]
fn the_example_whose_secrets_others_made_starts() {
    chart("existing-secrets", async |chart| {
        chart.open(&json!({})).await;
        chart.tested().await;
        chart.without_faults();
    });
}

#[test]
fn the_example_for_gitops_starts_with_as_many_pods_as_its_autoscaler_wants() {
    chart("gitops", async |chart| {
        chart.open(&json!({"defaults": {"autoscaling": {"minReplicas": 3}}})).await;
        assert_eq!(chart.kubernetes.endpoints("holdfast-reservation-headless", "grpc").len(), 3);
        chart.tested().await;
        chart.without_faults();
    });
}

#[test]
fn the_example_for_production_starts_on_stores_that_prove_who_they_are() {
    chart("production", async |chart| {
        for name in ["holdfast-pg-rw", "holdfast-redis"] {
            chart.kubernetes.outside(name).unwrap_or_else(|error| panic!("{error}"));
        }
        let cluster = &chart.cluster;
        let database = |of: &holdfast_testkit::Database| json!({"postgres": {"database": of.name()}});
        let more = json!({
            "postgres": {"port": cluster.postgres.as_ref().expect("its own").port()},
            "redis": {"url": format!("rediss://holdfast-redis:{}", chart.redis_tls_port), "user": GATE},
            "reservation": {"postgres": {"database": cluster.database.name()}, "autoscaling": {"minReplicas": 2}},
            "catalog": database(&cluster.others[0]),
            "vendorSync": database(&cluster.others[1]),
        });
        chart.open(&more).await;
        chart.tested().await;
        let connections = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
            WHERE usename LIKE 'holdfast%' AND NOT ssl";
        assert_eq!(chart.cluster.number(connections).await, 0, "no service speaks in the clear");
        let clients: String =
            answer(&chart.cluster.redis.admin_url(), &["CLIENT", "LIST"]).await.expect("Redis answers");
        let mut gates = clients.lines().filter(|client| client.contains(&format!(" user={GATE} "))).peekable();
        assert!(gates.peek().is_some(), "nobody asks Redis");
        let by_tls = format!(" laddr=127.0.0.1:{} ", chart.redis_tls_port);
        assert!(gates.all(|gate| gate.contains(&by_tls)), "no gate speaks in the clear: {clients}");
        chart.without_faults();
    });
}

#[test]
fn the_example_for_redis_cluster_starts() {
    chart("redis-cluster", async |chart| {
        // Its nodes have no certificates here; their addresses and passwords are in the Secret.
        chart.open(&json!({"redis": {"url": "", "user": "", "ca": {"configMap": ""}}})).await;
        chart.tested().await;
        chart.without_faults();
    });
}

#[test]
fn an_upgrade_that_changes_nothing_rolls_nothing_and_migrates_nothing() {
    chart("smallest", async |chart| {
        let first = chart.upgrade(&json!({})).await;
        chart.migrated(&first).await;
        chart.rolled_out().await;
        let pods = |chart: &Chart| chart.kubernetes.pods_of("holdfast-reservation");
        let (before, jobs) = (pods(chart), first.jobs());
        let again = chart.upgrade(&json!({})).await;
        assert_eq!(again.jobs(), jobs);
        // Another migration of the same version finds nothing to do.
        let other = chart.upgrade(&json!({"migrations": {"backoffLimit": 5, "activeDeadlineSeconds": 3000}})).await;
        assert_ne!(other.jobs(), jobs, "a Job is never changed, so it is another one");
        chart.migrated(&other).await;
        chart.rolled_out().await;
        assert_eq!(pods(chart), before);
        chart.without_faults();
    });
}

impl Chart {
    /// Waits until a Deployment's pods have found out that there is no schema yet, and wait for it.
    async fn waits_for_schema(&self, deployment: &str) {
        let said = |pod: &String| {
            let log = self.cluster.folder.0.join(format!("{pod}.wait-schema.log"));
            std::fs::read_to_string(log).is_ok_and(|text| text.contains("does not serve this program yet"))
        };
        eventually("the pods wait", ROLLED_WITHIN, || async {
            let pods = self.kubernetes.pods_of(deployment);
            (pods.len() == 2 && pods.iter().all(said)).then_some(())
        })
        .await;
        assert!(self.kubernetes.pods_of(deployment).iter().all(|pod| self.kubernetes.pending(pod)));
        assert!(self.kubernetes.endpoints(&format!("{deployment}-headless"), "grpc").is_empty());
    }
}
