//! Examples of the chart from nothing to serving: in whichever order a tool applies their objects.

use std::time::Duration;

use holdfast_stack::kubernetes::objects::Object;
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
        let everybody = ["holdfast-reservation", "holdfast-catalog", "holdfast-vendor-sync"];
        let there = |wanted| {
            move |kubernetes: &holdfast_stack::kubernetes::Cluster| {
                everybody.iter().all(|name| kubernetes.pods_of(name).len() == wanted)
            }
        };
        chart.until("the pods are there", ROLLED_WITHIN, there(2)).await;
        chart.waits_for_schema("holdfast-reservation").await;
        chart.apply(&rendered).await;
        chart.migrated(&rendered).await;
        chart.rolled_out().await;
        chart.tested().await;
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
    /// Waits until pods have found out that there is no schema yet, and goes on only if none of them gives up.
    async fn waits_for_schema(&self, deployment: &str) {
        let waiting = |kubernetes: &holdfast_stack::kubernetes::Cluster| {
            let pods = kubernetes.pods_of(deployment);
            !pods.is_empty() && pods.iter().all(|pod| kubernetes.pending(pod))
        };
        self.until("the pods wait", Duration::from_secs(20), waiting).await;
        assert!(self.kubernetes.endpoints(&format!("{deployment}-headless"), "grpc").is_empty());
    }
}
