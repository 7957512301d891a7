//! Rollouts that go wrong: a version that never serves, pods that are killed meanwhile, a migration that is cut off.

use std::time::Duration;

use holdfast_stack::kubernetes::{Cluster as Kubernetes, Outcome};
use holdfast_stack::postgres::connect;
use holdfast_testkit::{eventually, seed};
use serde_json::json;
use sqlx::Executor as _;

use super::answers::RESERVATION;
use super::{ROLLED_WITHIN, chart};
use crate::kills::{BUYERS, SKUS, STOCK, everybody_knows, settled};
use crate::load::Load;

#[test]
fn a_version_that_never_serves_takes_no_pod_away_and_is_rolled_back() {
    let seed = seed();
    chart("smallest", async |chart| {
        chart.open(&json!({})).await;
        let old = chart.kubernetes.pods_of(RESERVATION);
        let load = Load::start(&chart.cluster, &SKUS, BUYERS, &seed).await;
        // Migrations go well; the service itself is sent to where no Postgres is, and waits there for its schema.
        chart.upgrade(&json!({"reservation": {"postgres": {"urlKey": "wrong-url"}}})).await;
        let stuck = |kubernetes: &Kubernetes| {
            let new = kubernetes.pods_of(RESERVATION).into_iter().find(|pod| !old.contains(pod));
            new.is_some_and(|pod| kubernetes.pending(&pod))
        };
        chart.until("the new pod waits", ROLLED_WITHIN, stuck).await;
        load.goes_on(200).await;
        let rollout = chart.kubernetes.rollout(RESERVATION).expect("it is there");
        assert_eq!((rollout.ready, rollout.current, rollout.current_ready), (2, 1, 0), "the old ones serve on");
        chart.upgrade(&json!({})).await;
        chart.rolled_out().await;
        assert_eq!(chart.kubernetes.pods_of(RESERVATION), old, "a rollback has nothing to start");
        let ended = settled(&chart.cluster, load, Duration::ZERO).await;
        everybody_knows(&ended);
        assert_eq!(ended.unknown().len(), 0, "nobody was asked to go");
    });
}

#[test]
fn a_wrong_redis_keeps_no_version_from_serving() {
    let seed = seed();
    chart("smallest", async |chart| {
        chart.open(&json!({})).await;
        let load = Load::start(&chart.cluster, &SKUS, BUYERS, &seed).await;
        chart.upgrade(&json!({"redis": {"urlKey": "wrong-redis-url"}})).await;
        chart.rolled_out().await;
        load.goes_on(100).await;
        chart.upgrade(&json!({})).await;
        chart.rolled_out().await;
        let ended = settled(&chart.cluster, load, Duration::ZERO).await;
        everybody_knows(&ended);
        chart.without_faults();
    });
}

#[test]
fn pods_killed_while_they_roll_lose_nothing() {
    let seed = seed();
    chart("smallest", async |chart| {
        chart.open(&json!({})).await;
        let load = Load::start(&chart.cluster, &SKUS, BUYERS, &seed).await;
        let old = chart.kubernetes.pods_of(RESERVATION);
        chart
            .upgrade(&json!({"reservation": {"config": {"telemetry": {"log_filter": "info,holdfast_kit=debug"}}}}))
            .await;
        let first_new =
            |kubernetes: &Kubernetes| kubernetes.rollout(RESERVATION).is_some_and(|it| it.current_ready > 0);
        chart.until("a new one serves", ROLLED_WITHIN, first_new).await;
        // An old one, which may be on its way out, and the new one.
        let new = chart.kubernetes.pods_of(RESERVATION).into_iter().find(|pod| !old.contains(pod)).expect("a new pod");
        chart.kubernetes.kill(&old[1]);
        chart.kubernetes.kill(&new);
        chart.rolled_out().await;
        assert_eq!(chart.kubernetes.restarts(&new), 1, "the kill has hit");
        load.goes_on(100).await;
        settled(&chart.cluster, load, Duration::from_secs(10)).await;
        chart.tested().await;
    });
}

#[test]
fn a_migration_killed_in_the_middle_is_taken_up_by_the_next_attempt() {
    chart("smallest", async |chart| {
        // Some statement in the middle of the migrations waits for us.
        let mut gate = connect(&chart.cluster.database.admin_url()).await.expect("the superuser may");
        let set_up = "SELECT pg_advisory_lock(52);
            CREATE FUNCTION public.stop_here() RETURNS event_trigger LANGUAGE plpgsql AS
                'BEGIN IF (SELECT count(*) FROM pg_class WHERE relname = ''ledger'') > 0 THEN PERFORM pg_advisory_lock(52); END IF; END';
            CREATE EVENT TRIGGER stop_here ON ddl_command_end EXECUTE FUNCTION public.stop_here()";
        gate.execute(set_up).await.expect("a trigger");
        let rendered = chart.upgrade(&json!({})).await;
        let job =
            rendered.jobs().into_iter().find(|job| job.starts_with("holdfast-reservation-migrate")).expect("a Job");
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 52";
        eventually("a migration stands still", ROLLED_WITHIN, || async {
            (chart.cluster.number(waiting).await > 0).then_some(())
        })
        .await;
        let [pod]: [String; 1] = chart.kubernetes.pods_of(&job).try_into().expect("one pod");
        chart.kubernetes.kill(&pod);
        let second = |kubernetes: &Kubernetes| kubernetes.pods_of(&job).len() > 1;
        chart.until("a second attempt", ROLLED_WITHIN, second).await;
        // Postgres notices only now that nobody waits for the first one any more.
        gate.execute("DROP EVENT TRIGGER stop_here; DROP FUNCTION public.stop_here()").await.expect("the trigger goes");
        gate.execute("SELECT pg_advisory_unlock(52)").await.expect("the lock is ours");
        chart.migrated(&rendered).await;
        assert_eq!(chart.kubernetes.job_failures(&job), 1);
        assert_eq!(chart.kubernetes.job(&job), Some(Outcome::Complete));
        chart.rolled_out().await;
        chart.tested().await;
        chart.cluster.count(&STOCK).await;
    });
}
