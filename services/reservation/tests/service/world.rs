//! One line builds an isolated world: a database, a Redis and replicas of the service in this process; the auditor looks at it when the test ends.

use std::future::Future;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_api::reservation::v1 as pb;
use holdfast_api::reservation::v1::audit_service_client::AuditServiceClient;
use holdfast_api::reservation::v1::reservation_service_client::ReservationServiceClient;
use holdfast_api::reservation::v1::stock_service_client::StockServiceClient;
use holdfast_kit::config::load_with;
use holdfast_kit::{CancellationToken, ErrorReason, Listeners, Service as _, reason_of};
use holdfast_reservation::Reservation;
use holdfast_reservation::store::{AuditFinding, MIGRATOR, Store};
use holdfast_testkit::{Database, PrivatePostgres, PrivateRedis, eventually};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

pub const WAREHOUSE: &str = "main";

pub struct World {
    pub database: Database,
    pub redis: tokio::sync::Mutex<PrivateRedis>,
    pub postgres: Option<tokio::sync::Mutex<PrivatePostgres>>,
    replicas: Vec<Replica>,
    sequence: AtomicI64,
}

struct Replica {
    address: String,
    admin: std::net::SocketAddr,
    channel: Channel,
    stop: CancellationToken,
    done: JoinHandle<anyhow::Result<()>>,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub replicas: usize,
    /// A Postgres of the test's own, to be stopped.
    pub own_postgres: bool,
    pub settings: Vec<(&'static str, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { replicas: 1, own_postgres: false, settings: Vec::new() }
    }
}

/// Runs a test in a world of its own; afterwards nothing may be wrong with the record.
pub fn test<F: AsyncFnOnce(&World)>(body: F) {
    test_with(Options::default(), body);
}

pub fn test_with<F: AsyncFnOnce(&World)>(options: Options, body: F) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let world = World::start(options).await;
        body(&world).await;
        world.end().await;
    });
}

impl World {
    async fn start(options: Options) -> Self {
        let redis = holdfast_testkit::redis().await;
        let postgres = if options.own_postgres { Some(holdfast_testkit::private_postgres(false).await) } else { None };
        let database = match &postgres {
            Some(postgres) => holdfast_testkit::database::database_on(postgres.info(), "reservation", &MIGRATOR).await,
            None => holdfast_testkit::database("reservation", &MIGRATOR).await,
        };
        let mut replicas = Vec::new();
        for _ in 0..options.replicas {
            replicas.push(Replica::start(&database.url(), &redis.gate_url(), &options.settings).await);
        }
        Self {
            database,
            redis: tokio::sync::Mutex::new(redis),
            postgres: postgres.map(tokio::sync::Mutex::new),
            replicas,
            sequence: AtomicI64::new(0),
        }
    }

    /// Everything must be consistent once the world has come to rest.
    async fn end(self) {
        let findings = self.audit().await;
        assert_eq!(findings, [], "the auditor found discrepancies");
        for replica in self.replicas {
            replica.stop.cancel();
            replica.done.await.expect("the service did not panic").expect("the service ended in order");
        }
    }

    pub async fn audit(&self) -> Vec<AuditFinding> {
        Store::new(self.database.pool(1).await).audit(20).await.expect("the audit runs")
    }

    pub fn reservations(&self) -> ReservationServiceClient<Channel> {
        self.reservations_of(0)
    }

    pub fn reservations_of(&self, replica: usize) -> ReservationServiceClient<Channel> {
        ReservationServiceClient::new(self.replicas[replica % self.replicas.len()].channel.clone())
    }

    pub fn stock(&self) -> StockServiceClient<Channel> {
        self.stock_of(0)
    }

    pub fn stock_of(&self, replica: usize) -> StockServiceClient<Channel> {
        StockServiceClient::new(self.replicas[replica % self.replicas.len()].channel.clone())
    }

    pub fn audits_of(&self, replica: usize) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.replicas[replica % self.replicas.len()].channel.clone())
    }

    pub async fn metrics(&self) -> String {
        self.metrics_of(0).await
    }

    /// A replica's metrics, as text.
    pub async fn metrics_of(&self, replica: usize) -> String {
        holdfast_stack::http::get(self.replicas[replica].admin, "/metrics").await.expect("the admin port answers").1
    }

    /// Counts so many units of a SKU in the warehouse.
    pub async fn count(&self, sku: &str, units: i64) {
        self.count_at(sku, WAREHOUSE, units).await;
    }

    pub async fn count_at(&self, sku: &str, location: &str, units: i64) {
        let request = self.counts(vec![(sku, location, units)]);
        self.stock().apply_counts(request).await.expect("the count is taken");
    }

    /// A count as of now, later than all before.
    pub fn counts(&self, counts: Vec<(&str, &str, i64)>) -> pb::ApplyCountsRequest {
        let count = |(sku, location, quantity): (&str, &str, i64)| pb::Count {
            sku: sku.into(),
            location: location.into(),
            quantity,
            effect: pb::CountEffect::Set.into(),
            expected_on_hand: None,
        };
        pb::ApplyCountsRequest {
            request_id: Uuid::now_v7().to_string(),
            connection: "house".into(),
            run: "run".into(),
            as_of_time: Some(now()),
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
            meaning: pb::CountMeaning::OnHand.into(),
            counts: counts.into_iter().map(count).collect(),
            covers_all: false,
            validate_only: false,
        }
    }

    /// What can be reserved of a SKU in all, as the gate's writer and the read queue see it.
    pub async fn on_offer(&self, sku: &str) -> i64 {
        let request = pb::BatchGetAvailabilityRequest { skus: vec![sku.into()], source: pb::ReadSource::Record.into() };
        let response = self.stock().batch_get_availability(request).await.expect("availability");
        response.into_inner().results[0].available
    }

    /// The only row of a SKU.
    pub async fn level(&self, sku: &str) -> pb::StockLevel {
        let response = self.stock().get_stock(pb::GetStockRequest { sku: sku.into() }).await.expect("stock");
        let [level] = response.into_inner().levels.try_into().expect("one location");
        level
    }

    /// Waits until the row of a SKU is as wanted.
    pub async fn level_becomes(
        &self,
        sku: &str,
        what: &str,
        wanted: impl Fn(&pb::StockLevel) -> bool,
    ) -> pb::StockLevel {
        eventually(what, Duration::from_secs(20), || async {
            let response = self.stock().get_stock(pb::GetStockRequest { sku: sku.into() }).await.ok()?;
            response.into_inner().levels.into_iter().next().filter(|level| wanted(level))
        })
        .await
    }

    pub async fn reserve(&self, sku: &str, units: i64) -> Result<pb::ReserveResponse, Status> {
        self.reservations().reserve(ask(&[(sku, units)])).await.map(tonic::Response::into_inner)
    }

    /// Reserves and gives the id.
    pub async fn hold(&self, sku: &str, units: i64) -> String {
        id_of(&self.reserve(sku, units).await.expect("granted"))
    }

    pub async fn confirm(&self, id: &str) -> Result<pb::ConfirmResponse, Status> {
        self.reservations().confirm(confirm(id)).await.map(tonic::Response::into_inner)
    }

    pub async fn release(&self, id: &str) -> Result<pb::ReleaseResponse, Status> {
        self.reservations().release(release(id)).await.map(tonic::Response::into_inner)
    }

    pub async fn get(&self, id: &str) -> Result<pb::Reservation, Status> {
        let request = pb::GetReservationRequest { reservation_id: id.into() };
        let response = self.reservations().get_reservation(request).await?;
        Ok(response.into_inner().reservation.expect("a reservation"))
    }

    /// What Redis publishes of a SKU; none if it is unknown there.
    pub async fn published(&self, sku: &str) -> Option<i64> {
        let request = pb::BatchGetAvailabilityRequest { skus: vec![sku.into()], source: pb::ReadSource::Cache.into() };
        let response = self.stock().batch_get_availability(request).await.expect("availability");
        let [result] = response.into_inner().results.try_into().expect("one result");
        (result.source() == pb::ReadSource::Cache).then_some(result.available)
    }

    /// A connection of its own to a replica.
    pub fn connection(&self, replica: usize) -> Channel {
        Endpoint::from_shared(self.replicas[replica].address.clone()).expect("an endpoint").connect_lazy()
    }

    /// Tells a replica to end, and does not wait.
    pub fn stop(&self, replica: usize) {
        self.replicas[replica].stop.cancel();
    }

    /// The value of a replica's metric, by its name with its labels; none if it is not there (yet).
    pub async fn metric(&self, replica: usize, name: &str) -> Option<f64> {
        let (_, body) = holdfast_stack::http::get(self.replicas[replica].admin, "/metrics").await.expect("metrics");
        let line = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        line.map(|value| value.trim().parse().expect("a number"))
    }

    /// Makes every reservation an hour older, for what a vendor did since: nothing happened to units before they were reserved.
    pub async fn sold_an_hour_ago(&self) {
        let older = "UPDATE reservation SET created_at = created_at - interval '1 hour'";
        sqlx::query(older).execute(&self.database.admin_pool().await).await.expect("older reservations");
    }

    /// Writes into Redis that there are so many units of a SKU in the warehouse, whatever there is.
    pub async fn spoil(&self, sku: &str, units: i64) {
        let mut command = Self::on_counter("HSET", sku);
        let () = command.arg(units).query_async(&mut self.redis_connection().await).await.expect("HSET");
    }

    /// What was published of a SKU in the warehouse, whatever was taken since.
    pub async fn counter(&self, sku: &str) -> Option<i64> {
        Self::on_counter("HGET", sku).query_async(&mut self.redis_connection().await).await.expect("HGET")
    }

    fn on_counter(verb: &str, sku: &str) -> redis::Cmd {
        let mut command = redis::cmd(verb);
        command.arg(format!("hf:a:{{{sku}}}")).arg(format!("l:{WAREHOUSE}"));
        command
    }

    async fn redis_connection(&self) -> redis::aio::MultiplexedConnection {
        let url = self.redis.lock().await.admin_url();
        redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.expect("Redis")
    }

    pub async fn wipe_redis(&self) {
        let url = self.redis.lock().await.admin_url();
        holdfast_stack::redis::wipe(&url).await.expect("FLUSHALL");
    }
}

impl Replica {
    async fn start(postgres: &str, redis: &str, settings: &[(&'static str, String)]) -> Self {
        let roles = r#"["checkout", "merchandiser", "operator", "vendor-sync", "catalog", "reservation", "monitor"]"#;
        let given = [
            ("POSTGRES__URL", postgres.to_owned()),
            ("GATE__URL", redis.to_owned()),
            ("CALLERS__UNAUTHENTICATED_ROLES", roles.to_owned()),
            ("SERVER__DRAIN_SECONDS_MAX", "5".to_owned()),
        ];
        let all = given.iter().chain(settings);
        let variables = all.map(|(key, value)| (format!("HOLDFAST_RESERVATION__{key}").into(), value.clone().into()));
        let config = load_with(None, variables).expect("a configuration");
        let listeners = Listeners::local().await.expect("free ports");
        let address = listeners.grpc_address().expect("an address");
        let admin = listeners.admin_address().expect("an address");
        let stop = CancellationToken::new();
        let mut done = tokio::spawn(Reservation::run(config, listeners, stop.clone()));
        let ready = eventually("the service is ready", Duration::from_secs(20), || async {
            holdfast_stack::http::get(admin, "/readyz").await.ok().filter(|(code, _)| *code == 200)
        });
        tokio::select! {
            _ = ready => {}
            ended = &mut done => panic!("the service ended: {ended:?}"),
        }
        let channel = Endpoint::from_shared(format!("http://{address}")).expect("an endpoint").connect_lazy();
        Self { address: format!("http://{address}"), admin, channel, stop, done }
    }
}

pub fn key() -> String {
    Uuid::now_v7().to_string()
}

/// A Reserve with a new key.
pub fn ask(lines: &[(&str, i64)]) -> pb::ReserveRequest {
    let line = |(sku, quantity): &(&str, i64)| pb::ReserveLine {
        sku: (*sku).into(),
        quantity: *quantity,
        ..Default::default()
    };
    pb::ReserveRequest {
        reservation_id: key(),
        owner: "cart".into(),
        lines: lines.iter().map(line).collect(),
        ..Default::default()
    }
}

pub fn confirm(id: &str) -> pb::ConfirmRequest {
    pb::ConfirmRequest { request_id: key(), reservation_id: id.into(), ..Default::default() }
}

/// Units of a SKU in a reservation, wherever they are.
pub fn portion(sku: &str, quantity: i64) -> pb::Portion {
    pb::Portion { sku: sku.into(), location: String::new(), quantity }
}

/// What is to be shipped, under a new key.
pub fn fulfil(id: &str, portions: Vec<pb::Portion>) -> pb::FulfilRequest {
    pb::FulfilRequest { request_id: key(), reservation_id: id.into(), portions, ..Default::default() }
}

/// What is to be called off, under a new key.
pub fn cancel(id: &str, portions: Vec<pb::Portion>) -> pb::CancelRequest {
    pb::CancelRequest { request_id: key(), reservation_id: id.into(), portions, ..Default::default() }
}

pub fn release(id: &str) -> pb::ReleaseRequest {
    pb::ReleaseRequest { request_id: key(), reservation_id: id.into() }
}

pub fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

pub fn id_of(response: &pb::ReserveResponse) -> String {
    response.reservation.as_ref().expect("a reservation").reservation_id.clone()
}

pub fn now() -> prost_types::Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    prost_types::Timestamp {
        seconds: i64::try_from(since.as_secs()).expect("in range"),
        nanos: i32::try_from(since.subsec_nanos()).expect("in range"),
    }
}

/// The fields that a refusal names, in its order.
#[track_caller]
pub fn fields<T: std::fmt::Debug>(result: Result<T, Status>) -> Vec<String> {
    let status = result.expect_err("a refusal");
    let details = status.get_error_details();
    let bad = details.bad_request().unwrap_or_else(|| panic!("no BadRequest in {status:?}"));
    bad.field_violations.iter().map(|violation| violation.field.clone()).collect()
}

/// The reason of a refusal.
#[track_caller]
pub fn reason<T: std::fmt::Debug>(result: Result<T, Status>) -> ErrorReason {
    let status = result.expect_err("a refusal");
    reason_of(&status).unwrap_or_else(|| panic!("no reason in {status:?}"))
}

/// Asks until Postgres and Redis agree about a SKU.
pub async fn published_becomes(world: &World, sku: &str, units: i64) {
    eventually(&format!("{sku} is published as {units}"), Duration::from_secs(10), || async {
        (world.published(sku).await == Some(units)).then_some(())
    })
    .await;
}

/// Sends all at once and gives all outcomes.
pub async fn all_at_once<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.expect("no panic"));
    }
    outcomes
}

/// A request with a deadline.
pub fn within<T>(message: T, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}
