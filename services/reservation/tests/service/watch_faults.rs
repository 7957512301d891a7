//! Watches when readers are slow or many, and when replicas go away.

use std::process::Stdio;
use std::time::Duration;

use holdfast_api::reservation::v1::reservation_service_client::ReservationServiceClient;
use holdfast_api::reservation::v1::stock_service_client::StockServiceClient;
use holdfast_kit::ErrorReason as R;
use holdfast_testkit::eventually;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Endpoint};

use crate::watcher::{Events, Rows, end, next, watch_reservations, watch_rows};
use crate::world::{Options, World, ask, confirm, id_of, reason, test_with};

fn with(settings: &[(&'static str, &str)]) -> Options {
    let quick = [("WATCH__CHECKPOINT_MS", "200"), ("WATCH__PERIOD_MS", "20")];
    let settings = quick.iter().chain(settings).map(|(key, value)| (*key, (*value).to_owned())).collect();
    Options { settings, ..Options::default() }
}

#[test]
fn watchers_are_bounded_and_a_place_is_free_again_when_one_goes() {
    test_with(with(&[("WATCH__WATCHERS_MAX", "2")]), async |world| {
        world.count("A", 1).await;
        let first = watch_rows(world.stock(), &[], "").await.unwrap();
        let _second = watch_reservations(world.reservations(), "", &[], "").await.unwrap();
        assert_eq!(reason(watch_rows(world.stock(), &[], "").await), R::Overloaded);
        drop(first);
        let place = || async { watch_rows(world.stock(), &[], "").await.ok() };
        eventually("the place is free", Duration::from_secs(10), place).await;
    });
}

#[test]
fn a_reader_who_does_not_read_is_told_so_holds_nobody_up_and_misses_nothing() {
    test_with(with(&[("WATCH__WAITING_MAX", "400")]), async |world| {
        // Long names fill the windows of a connection sooner.
        let codes: Vec<String> = (0..500).map(|number| format!("{number:03}{}", "x".repeat(120))).collect();
        let counts = |units| codes.iter().map(|code| (code.as_str(), "main", units)).collect();
        world.stock().apply_counts(world.counts(counts(1))).await.unwrap();
        let (mut slow, mut rows) = (watch_rows(world.stock(), &[], "").await.unwrap(), Rows::default());
        rows.until_snapshot_end(&mut slow).await;
        rows.until_checkpoint(&mut slow).await;
        let mut quick = watch_rows(StockServiceClient::new(world.connection(0)), &[&codes[0]], "").await.unwrap();
        let mut seen = Rows::default();
        let mut units = 1;
        let name = "holdfast_watchers_too_slow_total{topic=\"availability\"}";
        while world.metric(0, name).await.unwrap_or_default() < 1.0 {
            units += 1;
            world.stock().apply_counts(world.counts(counts(units))).await.unwrap();
            seen.until(&mut quick, "whoever reads is told", |rows| rows.total(&codes[0]) == units).await;
            assert!(units < 200, "nothing becomes too much for a reader who does not read");
        }
        let status = loop {
            match next(&mut slow).await {
                Ok(message) => rows.take(message),
                Err(status) => break status,
            }
        };
        assert_eq!(reason::<()>(Err(status)), R::WatcherTooSlow);
        let mut resumed = watch_rows(world.stock(), &[], &rows.token).await.unwrap();
        let everything = |rows: &Rows| codes.iter().all(|code| rows.total(code) == units);
        rows.until(&mut resumed, "nothing was missed", everything).await;
    });
}

#[test]
fn two_hundred_watchers_are_told_and_cost_the_record_no_more_than_one() {
    test_with(with(&[]), async |world| {
        world.count("A", 1_000).await;
        let mut watchers = Vec::new();
        for number in 0..200 {
            // Two connections: one may carry as many streams as the server allows at once, and no more.
            let channel = if number % 2 == 0 { world.stock() } else { StockServiceClient::new(world.connection(0)) };
            let (mut rows, mut stream) = (Rows::default(), watch_rows(channel, &["A"], "").await.unwrap());
            rows.until_checkpoint(&mut stream).await;
            watchers.push((rows, stream));
        }
        let admin = world.database.admin_pool().await;
        let (before, began) = (commits(&admin).await, tokio::time::Instant::now());
        for _ in 0..20 {
            world.hold("A", 1).await;
        }
        for (rows, stream) in &mut watchers {
            rows.until(stream, "everybody is told", |rows| rows.total("A") == 980).await;
        }
        let (after, took) = (commits(&admin).await, began.elapsed());
        // Twenty holds, the tail's looks, and what a replica does anyway beside them: nothing that grows with the watchers.
        let looks = i64::try_from(took.as_millis() / 20).unwrap();
        assert!(after - before < 20 * 5 + looks + 100, "{} commits in {took:?}", after - before);
        let found = world.metric(0, "holdfast_watch_changes_total{topic=\"availability\"}").await.unwrap();
        assert!(found <= 21.0, "each change was found once for all of them, not {found} times");
        assert_eq!(world.metric(0, "holdfast_watchers{topic=\"availability\"}").await, Some(200.0));
    });
}

/// Transactions committed in this database, from Postgres's own statistics.
async fn commits(admin: &sqlx::PgPool) -> i64 {
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(admin).await.unwrap();
    let read = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    sqlx::query_scalar(read).fetch_one(admin).await.unwrap()
}

#[test]
fn a_replica_that_ends_says_so_and_the_token_is_good_at_another_one() {
    test_with(Options { replicas: 2, ..with(&[]) }, async |world| {
        world.count("A", 9).await;
        let (mut rows, mut stream) = (Rows::default(), watch_rows(world.stock_of(0), &[], "").await.unwrap());
        let (mut events, mut happening) =
            (Events::default(), watch_reservations(world.reservations_of(0), "", &[], "").await.unwrap());
        rows.until_checkpoint(&mut stream).await;
        events.until_snapshot_end(&mut happening).await;
        world.stop(0);
        assert_eq!(reason::<()>(Err(end(&mut stream).await)), R::ShuttingDown);
        assert_eq!(reason::<()>(Err(end(&mut happening).await)), R::ShuttingDown);
        let held = world.reservations_of(1).reserve(ask(&[("A", 4)])).await.unwrap().into_inner();
        world.reservations_of(1).confirm(confirm(&id_of(&held))).await.unwrap();
        let mut stream = watch_rows(world.stock_of(1), &[], &rows.token).await.unwrap();
        rows.until(&mut stream, "what came in between is told", |rows| rows.total("A") == 5).await;
        let mut happening = watch_reservations(world.reservations_of(1), "", &[], &events.token).await.unwrap();
        events.until(&mut happening, "what happened in between is told", |events| events.told.len() == 1).await;
    });
}

/// The service as a process of its own, to be killed.
struct Process {
    channel: Channel,
    child: Child,
    _folder: TempDir,
}

impl Process {
    async fn start(world: &World) -> Self {
        let folder = TempDir::new().unwrap();
        let announced = folder.path().join("announced");
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-reservation"));
        command.arg("serve").arg("--announce").arg(&announced);
        command.env("HOLDFAST_RESERVATION__POSTGRES__URL", world.database.url());
        command.env("HOLDFAST_RESERVATION__GATE__URL", world.redis.lock().await.gate_url());
        command.env("HOLDFAST_RESERVATION__CALLERS__UNAUTHENTICATED_ROLES", r#"["checkout", "operator"]"#);
        command.env("HOLDFAST_RESERVATION__WATCH__CHECKPOINT_MS", "200");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let address = || async {
            let announced: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&announced).ok()?).ok()?;
            Some(announced["grpc"].as_str()?.to_owned())
        };
        let address = eventually("the process serves", Duration::from_secs(30), address).await;
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        Self { channel, child, _folder: folder }
    }

    /// Kills it, as kill -9 does, and waits until it is gone.
    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

#[test]
fn a_service_killed_under_its_watchers_leaves_tokens_with_which_nothing_is_missed() {
    test_with(with(&[]), async |world| {
        world.count("A", 100).await;
        let (mut rows, mut events) = (Rows::default(), Events::default());
        for round in 1..=3_usize {
            let process = Process::start(world).await;
            let stock = StockServiceClient::new(process.channel.clone());
            let mut reservations = ReservationServiceClient::new(process.channel.clone());
            let mut stream = watch_rows(stock, &[], &rows.token).await.unwrap();
            let mut happening = watch_reservations(reservations.clone(), "", &[], &events.token).await.unwrap();
            rows.until_checkpoint(&mut stream).await;
            events.until_checkpoint(&mut happening).await;
            assert_eq!(events.told.len(), 2 * (round - 1), "what was sold while it was dead is told");
            for _ in 0..2 {
                let held = reservations.reserve(ask(&[("A", 1)])).await.unwrap().into_inner();
                reservations.confirm(confirm(&id_of(&held))).await.unwrap();
            }
            // Killed before the watchers have read anything of it.
            process.kill().await;
        }
        let mut stream = watch_rows(world.stock(), &[], &rows.token).await.unwrap();
        rows.until(&mut stream, "all sales are told", |rows| rows.total("A") == 94).await;
        let mut happening = watch_reservations(world.reservations(), "", &[], &events.token).await.unwrap();
        events.until(&mut happening, "all sales are told", |events| events.told.len() == 6).await;
    });
}
