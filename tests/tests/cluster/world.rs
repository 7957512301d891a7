//! One line builds a cluster of a test's own: databases, a Redis, and the services as processes. When the test ends, the auditor looks at the record and
//! every process must end in order.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use holdfast_client::{
    CatalogClient, Connection, HouseClient, QuarantineClient, ReservationClient, Settings, StockClient,
    VendorSyncClient,
};
use holdfast_kit::Service as _;
use holdfast_reservation::store::Store;
use holdfast_stack::configuration::{Inputs, configuration};
use holdfast_stack::ports::Port;
use holdfast_stack::postgres::{Postgres, connect_options};
use holdfast_stack::proxy::Proxy;
use holdfast_stack::services::{Replica, Service, ServiceProcess};
use holdfast_testkit::{Database, PrivatePostgres, PrivateRedis, PrivateRedisCluster};
use rustix::process::Signal;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

/// Longer than any process takes to end in order.
const END_WITHIN: Duration = Duration::from_secs(30);
/// The token by which vendor-sync is known to the other two.
pub(crate) const VENDOR_SYNC_TOKEN: &str = "the-token-of-vendor-sync";
/// Catalog's.
pub(crate) const CATALOG_TOKEN: &str = "the-token-that-catalog-shows";

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    replicas: usize,
    whole: bool,
    own_postgres: bool,
    has_address: bool,
    replicas_of_shards: Option<usize>,
    settings: Vec<(String, toml::Value)>,
}

impl Options {
    /// Replicas of reservation, and nothing else.
    pub(crate) fn reservation(replicas: usize) -> Self {
        Self {
            replicas,
            whole: false,
            own_postgres: false,
            has_address: false,
            replicas_of_shards: None,
            settings: Vec::new(),
        }
    }

    /// All three services.
    pub(crate) fn whole() -> Self {
        Self { whole: true, ..Self::reservation(1) }
    }

    /// A Postgres of the test's own, to be killed.
    pub(crate) fn own_postgres(self) -> Self {
        Self { own_postgres: true, ..self }
    }

    /// A Postgres of the test's own behind an address that can be led elsewhere, as the name of whichever server is the primary.
    pub(crate) fn behind_an_address(self) -> Self {
        Self { has_address: true, ..self.own_postgres() }
    }

    /// A Redis Cluster of three masters instead of one Redis, with so many replicas of each.
    pub(crate) fn sharded(self, replicas_each: usize) -> Self {
        Self { replicas_of_shards: Some(replicas_each), ..self }.set("reservation:gate.mode", "cluster")
    }

    /// A configuration key of all services (`telemetry.otlp_endpoint`), or of one (`vendor-sync:runs.batch_counts`).
    pub(crate) fn set(mut self, key: &str, value: impl Into<toml::Value>) -> Self {
        self.settings.push((key.to_owned(), value.into()));
        self
    }
}

/// Runs a scenario in a cluster of its own; afterwards nothing may be wrong with the record, and every process must end in order.
pub(crate) fn scenario(options: Options, body: impl AsyncFnOnce(&mut Cluster)) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut cluster = Cluster::start(options).await;
        body(&mut cluster).await;
        cluster.end().await;
    });
}

/// Where callers of processes that something else runs come in, and the tokens that they show.
pub(crate) struct Doors {
    /// Reservation.
    pub(crate) reservation: String,
    /// Of those who buy.
    pub(crate) buyers: String,
    /// Of the shop's people.
    pub(crate) people: String,
    /// Of those who count.
    pub(crate) counters: String,
}

/// A running cluster. What runs is killed when it is dropped.
pub(crate) struct Cluster {
    /// The replicas of reservation.
    pub(crate) reservation: Vec<ServiceProcess>,
    /// If it was asked for.
    pub(crate) catalog: Option<ServiceProcess>,
    /// If it was asked for.
    pub(crate) vendor_sync: Option<ServiceProcess>,
    /// Reservation's Redis.
    pub(crate) redis: PrivateRedis,
    /// Reservation's Redis instead, if it was asked for.
    pub(crate) shards: Option<PrivateRedisCluster>,
    /// Reservation's record, as the superuser.
    pub(crate) record: PgPool,
    /// Reservation's database.
    pub(crate) database: Database,
    /// Only if it was asked for.
    pub(crate) postgres: Option<PrivatePostgres>,
    /// Whatever follows it, once a test has made one.
    pub(crate) standby: Option<Postgres>,
    /// By which everybody comes to it, only if it was asked for.
    pub(crate) address: Option<Proxy>,
    /// Where configurations and logs lie.
    pub(crate) folder: Folder,
    options: Options,
    /// How callers come in, where the processes are not this cluster's own.
    doors: Option<Doors>,
    /// Catalog's and vendor-sync's databases, if they were asked for.
    pub(crate) others: Vec<Database>,
}

impl Cluster {
    async fn start(options: Options) -> Self {
        let folder = Folder::make();
        let redis = holdfast_testkit::redis().await;
        let shards = match options.replicas_of_shards {
            Some(replicas_each) => Some(holdfast_testkit::redis_cluster(3, replicas_each).await),
            None => None,
        };
        let postgres = match options.own_postgres {
            true => Some(holdfast_testkit::private_postgres(false).await),
            false => None,
        };
        let mut info = postgres.as_ref().map_or_else(holdfast_testkit::stores, |own| own.info().clone());
        let mut address = None;
        if let Some(own) = postgres.as_ref().filter(|_| options.has_address) {
            let proxy = Proxy::start((Ipv4Addr::LOCALHOST, own.port()).into()).await.expect("a free port");
            let [there, here] = [own.port(), proxy.address().port()].map(|port| format!("@127.0.0.1:{port}/"));
            info.admin_url = info.admin_url.replace(&there, &here);
            address = Some(proxy);
        }
        let migrator = holdfast_reservation::Reservation::migrator();
        let database = holdfast_testkit::database::database_on(&info, "reservation", migrator).await;
        let mut cluster = Self {
            reservation: Vec::new(),
            catalog: None,
            vendor_sync: None,
            redis,
            shards,
            record: lazy_pool(&database.admin_url()),
            database,
            postgres,
            standby: None,
            address,
            folder,
            options,
            doors: None,
            others: Vec::new(),
        };
        for number in 1..=cluster.options.replicas {
            let sharded = cluster.shards.as_ref().map(|shards| shards.gate_url());
            let gate_url = sharded.unwrap_or_else(|| cluster.redis.gate_url());
            let inputs = Inputs { gate_url, ..inputs(&cluster.database) };
            let name = if number == 1 { "reservation".to_owned() } else { format!("reservation-{number}") };
            let replica = cluster.replica(Service::Reservation, name, &inputs);
            cluster.reservation.push(launch(replica).await);
        }
        if cluster.options.whole {
            cluster.start_others().await;
        }
        cluster
    }

    /// A cluster whose processes something else runs: its databases, reservation's first, are empty. Stores that it is not given it has as every other test.
    pub(crate) async fn around(
        doors: Doors,
        folder: Folder,
        postgres: Option<PrivatePostgres>,
        redis: Option<PrivateRedis>,
    ) -> Self {
        let info = postgres.as_ref().map_or_else(holdfast_testkit::stores, |own| own.info().clone());
        let empty = |service| holdfast_testkit::database::empty_database_on(&info, service);
        let database = empty("reservation").await;
        let redis = match redis {
            Some(redis) => redis,
            None => holdfast_testkit::redis().await,
        };
        Self {
            reservation: Vec::new(),
            catalog: None,
            vendor_sync: None,
            redis,
            shards: None,
            record: lazy_pool(&database.admin_url()),
            database,
            postgres,
            standby: None,
            address: None,
            folder,
            options: Options::reservation(0),
            doors: Some(doors),
            others: vec![empty("catalog").await, empty("vendor_sync").await],
        }
    }

    async fn start_others(&mut self) {
        let catalog = holdfast_testkit::database("catalog", holdfast_catalog::Catalog::migrator()).await;
        // The two call each other.
        let port = Port::Free.decide("vendor-sync").expect("a free port");
        let catalogs = Inputs {
            reservation_url: self.reservation[0].url(),
            vendor_sync_url: port.url().expect("it is decided"),
            own_token: CATALOG_TOKEN.to_owned(),
            ..inputs(&catalog)
        };
        let replica = self.replica(Service::Catalog, "catalog".into(), &catalogs);
        let process = launch(replica).await;
        let vendor_sync = holdfast_testkit::database("vendor_sync", holdfast_vendor_sync::VendorSync::migrator()).await;
        let inputs = Inputs {
            reservation_url: self.reservation[0].url(),
            catalog_url: process.url(),
            own_token: VENDOR_SYNC_TOKEN.to_owned(),
            drop_root: self.drop_root().display().to_string(),
            ..inputs(&vendor_sync)
        };
        std::fs::create_dir_all(self.drop_root()).expect("a folder to drop files into");
        self.catalog = Some(process);
        let replica = Replica { port, ..self.replica(Service::VendorSync, "vendor-sync".into(), &inputs) };
        self.vendor_sync = Some(launch(replica).await);
        self.others = vec![catalog, vendor_sync];
    }

    fn replica(&self, service: Service, name: String, inputs: &Inputs) -> Replica {
        let folder = &self.folder.0;
        Replica {
            service,
            binary: binary(service),
            configuration: configured(service, inputs, &self.options.settings),
            folder: folder.clone(),
            log: folder.join(format!("{name}.log")),
            port: Port::Free,
            name,
        }
    }

    /// The folder below which vendor-sync takes files that are dropped.
    pub(crate) fn drop_root(&self) -> PathBuf {
        self.folder.0.join("drop")
    }

    /// Everything must be consistent once the cluster has come to rest, and every process must end in order.
    async fn end(mut self) {
        self.audited().await;
        for process in self.vendor_sync.iter_mut().chain(&mut self.catalog).chain(&mut self.reservation) {
            if process.process().is_some_and(|running| running.check_alive().is_ok()) {
                let ended = end_in_order(process).await;
                assert!(ended.success(), "{} ended with {ended}", process.name());
            }
        }
    }

    /// The auditor looks at the record; it may do so beside load.
    pub(crate) async fn audited(&self) {
        let findings = Store::new(self.record.clone()).audit(20).await.expect("the audit runs");
        assert_eq!(findings, [], "the auditor found discrepancies");
    }

    /// The shards of reservation's Redis.
    pub(crate) fn shards(&mut self) -> &mut PrivateRedisCluster {
        self.shards.as_mut().expect("a sharded Redis")
    }

    /// Every server of reservation's Redis, for the administrator.
    pub(crate) fn redis_urls(&self) -> Vec<String> {
        match &self.shards {
            Some(shards) => shards.nodes().iter().map(|node| node.admin_url()).collect(),
            None => vec![self.redis.admin_url()],
        }
    }

    /// A connection to all replicas of reservation.
    pub(crate) fn connection(&self) -> Connection {
        self.connection_with(patient(), |doors| &doors.people)
    }

    /// The same with these settings, as one of those who come in by doors.
    pub(crate) fn connection_with(&self, settings: Settings, who: impl Fn(&Doors) -> &String) -> Connection {
        match &self.doors {
            None => connect(&self.reservation.iter().collect::<Vec<_>>(), settings),
            Some(doors) => {
                let endpoint = std::iter::once(doors.reservation.clone());
                Connection::builder_with(endpoint, settings).token(who(doors)).build().expect("an endpoint")
            }
        }
    }

    /// Where the other side's addresses become known only later.
    pub(crate) fn doors(&mut self) -> &mut Doors {
        self.doors.as_mut().expect("processes that something else runs")
    }

    pub(crate) fn reservations(&self) -> ReservationClient {
        ReservationClient::new(&self.connection())
    }

    /// Stock, as those who count see it.
    pub(crate) fn counter(&self) -> StockClient {
        StockClient::new(&self.connection_with(patient(), |doors| &doors.counters))
    }

    pub(crate) fn stock(&self) -> StockClient {
        StockClient::new(&self.connection())
    }

    pub(crate) fn catalog(&self) -> CatalogClient {
        CatalogClient::new(&connect(&[self.catalog.as_ref().expect("a whole cluster")], patient()))
    }

    pub(crate) fn vendor_sync(&self) -> VendorSyncClient {
        VendorSyncClient::new(&connect(&[self.vendor_sync.as_ref().expect("a whole cluster")], patient()))
    }

    pub(crate) fn quarantine(&self) -> QuarantineClient {
        QuarantineClient::new(&connect(&[self.vendor_sync.as_ref().expect("a whole cluster")], patient()))
    }

    pub(crate) fn house(&self) -> HouseClient {
        HouseClient::new(&connect(&[self.vendor_sync.as_ref().expect("a whole cluster")], patient()))
    }

    /// Lets go of reservation's record, so that its database can be set aside; it is connected to again when it is used.
    pub(crate) async fn let_go_of_the_record(&mut self) {
        self.record.close().await;
        self.record = lazy_pool(&self.database.admin_url());
    }

    /// A single number out of reservation's record.
    pub(crate) async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.record).await.expect("a number")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.show_logs();
        }
    }
}

/// Settings of a caller who waits for a busy machine.
fn patient() -> Settings {
    Settings { deadline: Duration::from_secs(60), attempt_timeout: Duration::from_secs(20), ..Settings::default() }
}

/// A connection to these processes.
pub(crate) fn connect(processes: &[&ServiceProcess], settings: Settings) -> Connection {
    let endpoints = processes.iter().map(|process| process.url());
    Connection::builder_with(endpoints, settings).build().expect("endpoints")
}

async fn launch(replica: Replica) -> ServiceProcess {
    ServiceProcess::start(replica).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Sends SIGTERM and waits.
pub(crate) async fn end_in_order(process: &mut ServiceProcess) -> ExitStatus {
    let name = process.name().to_owned();
    let running = process.process().expect("it runs");
    running.signal(Signal::TERM);
    let ended = tokio::time::timeout(END_WITHIN, running.wait()).await;
    ended.unwrap_or_else(|_elapsed| panic!("{name} does not end")).expect("the system can tell")
}

fn inputs(database: &Database) -> Inputs {
    Inputs {
        postgres_url: database.url(),
        migrate_url: database.owner_url(),
        callers: vec![
            ("vendor-sync".to_owned(), VENDOR_SYNC_TOKEN.to_owned()),
            ("catalog".to_owned(), CATALOG_TOKEN.to_owned()),
        ],
        ..Inputs::default()
    }
}

/// The service's configuration under `./dev`, and the settings that this test changes.
fn configured(service: Service, inputs: &Inputs, settings: &[(String, toml::Value)]) -> String {
    let mut table: toml::Table = configuration(service, inputs).parse().expect("the stack writes TOML");
    let drain = ("server.drain_seconds_max".to_owned(), toml::Value::Integer(10));
    for (key, value) in std::iter::once(&drain).chain(settings) {
        let path = match key.split_once(':') {
            Some((name, path)) if name == service.name() => path,
            Some(_) => continue,
            None => key,
        };
        let (section, key) = path.split_once('.').expect("section.key");
        let section = table.entry(section).or_insert_with(|| toml::Table::new().into());
        section.as_table_mut().expect("a section").insert(key.to_owned(), value.clone());
    }
    toml::to_string(&table).expect("it can be written")
}

/// A service's binary. Cargo does not build other packages' binaries for a test: `./dev test` and `cargo build` do.
fn binary(service: Service) -> PathBuf {
    let path = holdfast_stack::stack::binary(service).unwrap_or_else(|error| panic!("{error}"));
    if let Some(newer) = newer_source(&path) {
        eprintln!("{} is older than {newer}: cargo build -p {}", path.display(), service.binary());
    }
    path
}

/// A source file that changed after the binary was built, if there is one: cargo wrote down beside it what it was made of.
fn newer_source(binary: &std::path::Path) -> Option<String> {
    let built = modified(binary)?;
    let made_of = std::fs::read_to_string(binary.with_extension("d")).ok()?;
    let sources = made_of.split_once(": ")?.1.split_whitespace();
    sources.filter(|source| modified(source.as_ref()).is_some_and(|time| time > built)).map(str::to_owned).next()
}

fn modified(path: &std::path::Path) -> Option<SystemTime> {
    path.metadata().and_then(|meta| meta.modified()).ok()
}

/// Connects when it is used, so that a Postgres may come and go.
fn lazy_pool(url: &str) -> PgPool {
    let options = connect_options(url).unwrap_or_else(|error| panic!("{error}"));
    PgPoolOptions::new().max_connections(2).connect_lazy_with(options)
}

/// A folder of the test's own for configurations and logs, removed when it ends.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn make() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cluster-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join("holdfast-tests").join(name);
        std::fs::create_dir_all(&path).expect("a folder for the test");
        Self(path)
    }

    /// The last lines of every log, for whoever reads why a test failed.
    fn show_logs(&self) {
        let Ok(entries) = std::fs::read_dir(&self.0) else { return };
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.extension() == Some("log".as_ref()))
        {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(25)..];
            eprintln!("── the end of {}\n{}", path.display(), last.join("\n"));
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A killed process may still write for a moment; what is left lies in the temporary folder.
        let _left = std::fs::remove_dir_all(&self.0);
    }
}
