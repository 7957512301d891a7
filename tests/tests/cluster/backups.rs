//! A backup, a wreck and a restore, step by step as `docs/backup.md` says (FAULTS 54).

use std::path::Path;
use std::time::Duration;

use holdfast_client::api::reservation::v1::{ReadSource, ReservationState};
use holdfast_client::{Error, Line, RequestKey, ReservationKey, Reserve};
use holdfast_stack::postgres::{connect, with_database};
use holdfast_stack::process::{Process, Spec};
use holdfast_stack::programs::PostgresPrograms;
use holdfast_stack::project::Project;
use holdfast_stack::roles::{ServiceDatabase, make_database};
use holdfast_stack::stack::holdctl;
use holdfast_testkit::{Database, eventually};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::world::{Cluster, Options, end_in_order, scenario};

/// How long Postgres may take to see that a session has gone.
const GONE: Duration = Duration::from_secs(30);
const SKUS: [&str; 2] = ["DESK", "LAMP"];

#[test]
fn a_backup_is_restored_as_the_procedure_says_and_the_loss_is_stated() {
    scenario(Options::whole(), async |cluster| {
        cluster.count(&[("DESK", 100), ("LAMP", 50)]).await;
        let sold = hold(cluster, "DESK", 2).await;
        confirm(cluster, sold).await;
        let held = hold(cluster, "DESK", 3).await;

        // "Taking one": while everything is in use, and nothing is overwritten.
        let folder = cluster.folder.0.join("backup");
        let taken = run(cluster, "backup", &folder, &[]).await.expect("a backup");
        assert_eq!(taken.len(), 3, "{taken:?}");
        assert!(run(cluster, "backup", &folder, &[]).await.is_none(), "a backup was overwritten");

        // Selling goes on, until the record is wrecked.
        let confirmed_late = RequestKey::new();
        cluster.reservations().confirm(confirmed_late, held).await.expect("it is held");
        let lost = hold(cluster, "DESK", 5).await;
        let lost_at = time_of(cluster, lost).await;
        let before = life(cluster).await;
        cluster.record.execute("DROP TABLE ledger CASCADE").await.expect("a wreck");

        // "Restoring", 1: the services are stopped. What is not empty is not restored into.
        stop(cluster).await;
        assert!(run(cluster, "restore", &folder, &[]).await.is_none(), "it was restored over what was there");
        // 2: the wrecked databases are set aside, and empty ones made.
        cluster.let_go_of_the_record().await;
        set_aside(cluster).await;
        // 3 and 4: not while a service is connected, whose sessions the owner may not look into.
        let service = connect(&cluster.database.url()).await.expect("the service's role");
        assert!(run(cluster, "restore", &folder, &[]).await.is_none(), "it was restored under a service's feet");
        service.close().await.expect("it goes");
        let check = || run(cluster, "restore", &folder, &["--check-only"]);
        eventually("it can be restored", GONE, check).await;
        let restored = run(cluster, "restore", &folder, &[]).await.expect("it is restored");
        // 5 to 7: nothing is migrated here, nothing done to Redis, and the services are started.
        for process in cluster.reservation.iter_mut().chain(&mut cluster.catalog).chain(&mut cluster.vendor_sync) {
            process.start_again().await.expect("it starts");
        }

        // The loss is stated: from the backup's time on, and what was made after that is in it.
        let of = restored.iter().find(|item| item["service"] == "reservation").expect("its record");
        let time = |name: &str| of[name].as_str().expect("a time").to_owned();
        assert!(time("backup_time") < lost_at && lost_at < time("lost_until_time"), "{of} {lost_at}");
        let now = life(cluster).await;
        assert_ne!(now, before, "resume tokens of the lost record would be taken");
        assert_eq!(of["incarnation"], now.as_str());

        // What the backup had is there, and Redis follows by itself.
        cluster.redis_converges(&SKUS).await;
        cluster.audited().await;
        assert_eq!(state_of(cluster, sold).await, ReservationState::Confirmed);
        // A hold that was confirmed in the lost time can be confirmed again with the same key.
        assert_eq!(state_of(cluster, held).await, ReservationState::Held);
        let again = cluster.reservations().confirm(confirmed_late, held).await.expect("its time is not over");
        assert!(!again.replayed, "the first one is lost");
        // A reservation of the lost time is not there, and says so; sent again, it is made anew.
        let refused = cluster.reservations().confirm(RequestKey::new(), lost).await;
        assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
        let cart = Reserve::new(lost, "cart", [Line::anywhere("DESK", 5)]);
        let anew = cluster.reservations().reserve(&cart).await.expect("there are enough");
        assert!(!anew.replayed, "the first one is lost");
        // Selling goes on.
        let next = hold(cluster, "LAMP", 1).await;
        confirm(cluster, next).await;
        assert_eq!(available(cluster).await, [100 - 2 - 3 - 5, 49]);
        cluster.redis_converges(&SKUS).await;
        forget_what_was_set_aside(cluster).await;
    });
}

async fn hold(cluster: &Cluster, sku: &str, units: i64) -> ReservationKey {
    let key = ReservationKey::new();
    let cart = Reserve::new(key, "cart", [Line::anywhere(sku, units)]);
    cluster.reservations().reserve(&cart).await.expect("there are enough");
    key
}

async fn confirm(cluster: &Cluster, key: ReservationKey) {
    cluster.reservations().confirm(RequestKey::new(), key).await.expect("it is held");
}

async fn state_of(cluster: &Cluster, key: ReservationKey) -> ReservationState {
    let found = cluster.reservations().get_reservation(key).await.expect("it is there");
    found.reservation.expect("a reservation").state()
}

async fn available(cluster: &Cluster) -> [i64; 2] {
    let skus = SKUS.map(str::to_owned).to_vec();
    let found = cluster.stock().batch_get_availability(skus, ReadSource::Record).await.expect("availability");
    [found.results[0].available, found.results[1].available]
}

/// When a reservation was made, as holdctl writes times.
async fn time_of(cluster: &Cluster, key: ReservationKey) -> String {
    let query = "SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM reservation WHERE id = $1";
    sqlx::query_scalar(query).bind(key.as_uuid()).fetch_one(&cluster.record).await.expect("its row")
}

/// Which life of the record this is.
async fn life(cluster: &Cluster) -> String {
    let query = "SELECT id::text FROM record_incarnation";
    sqlx::query_scalar(query).fetch_one(&cluster.record).await.expect("its row")
}

async fn stop(cluster: &mut Cluster) {
    for process in cluster.vendor_sync.iter_mut().chain(&mut cluster.catalog).chain(&mut cluster.reservation) {
        let ended = end_in_order(process).await;
        assert!(ended.success(), "{} ended with {ended}", process.name());
    }
}

/// Every service's database, by its name in options.
fn databases(cluster: &Cluster) -> [(&'static str, &Database); 3] {
    [("reservation", &cluster.database), ("catalog", &cluster.others[0]), ("vendor-sync", &cluster.others[1])]
}

async fn set_aside(cluster: &Cluster) {
    for (service, database) in databases(cluster) {
        let (admin_url, name) = (with_database(&database.admin_url(), "postgres"), database.name());
        let mut admin = connect(&admin_url).await.expect("the administrator");
        let rename = format!("ALTER DATABASE {name} RENAME TO {name}_wrecked");
        admin.execute(AssertSqlSafe(rename)).await.expect("nobody is connected");
        let service = ServiceDatabase::of(service).expect("a service");
        make_database(&admin_url, service, name, "template0").await.expect("a new database");
    }
}

async fn forget_what_was_set_aside(cluster: &Cluster) {
    for (_, database) in databases(cluster) {
        let mut admin = connect(&with_database(&database.admin_url(), "postgres")).await.expect("the administrator");
        let drop = format!("DROP DATABASE {}_wrecked WITH (FORCE)", database.name());
        admin.execute(AssertSqlSafe(drop)).await.expect("it is dropped");
    }
}

/// Runs holdctl with all databases; what it printed, or none if it refused.
async fn run(cluster: &Cluster, command: &str, folder: &Path, more: &[&str]) -> Option<Vec<Value>> {
    let programs = PostgresPrograms::find(&Project::locate()).await.expect("a look").expect("PostgreSQL's programs");
    let binary = holdctl().unwrap_or_else(|error| panic!("{error}"));
    let mut spec = Spec::new("holdctl", binary).args(["-o", "json", command]).arg(folder).args(more.iter().copied());
    spec = spec.arg("--postgres-bin").arg(&programs.bin);
    if let Some(path) = programs.library_path() {
        spec = spec.env("LD_LIBRARY_PATH", path);
    }
    for (service, database) in databases(cluster) {
        spec = spec.arg(format!("--{service}-database")).arg(database.owner_url());
    }
    let (status, said) = Process::answer(&spec).await.expect("holdctl runs");
    if !status.success() {
        assert_eq!(status.code(), Some(1), "it was to refuse: {said}");
        return None;
    }
    Some(serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}")))
}
