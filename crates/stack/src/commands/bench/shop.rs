//! A reservation service of the benchmark's own: a private Postgres, a private Redis, one replica, and so many SKUs.

use std::path::PathBuf;
use std::time::Duration;

use holdfast_loadgen::history::History;
use holdfast_loadgen::load;
use redis::aio::MultiplexedConnection;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use crate::configuration::{Inputs, configuration};
use crate::error::{Result, StackError};
use crate::http;
use crate::ports::Port;
use crate::postgres::{ADMIN, Postgres, StopMode, connect, store};
use crate::project::Project;
use crate::secrets::random_secret;
use crate::services::{Replica, Service, ServiceProcess};
use crate::stack::binary;

use super::super::own_stores::OwnStores;

/// The SKU that everybody wants; it has units enough.
pub(super) const HOT: &str = "SALE";
/// Units of it.
pub(super) const HOT_UNITS: i64 = 1_000_000_000;

/// What differs in the service's configuration, in TOML.
#[derive(Default)]
pub(super) struct Settings {
    /// Lines of the section `postgres`.
    pub(super) postgres: &'static str,
    /// Further sections.
    pub(super) sections: String,
}

impl Settings {
    fn apply(&self, configuration: &str) -> String {
        let postgres = format!("[postgres]\n{}", self.postgres);
        format!("{}\n{}", configuration.replacen("[postgres]\n", &postgres, 1), self.sections)
    }
}

/// The shop. Dropping it kills what it started and removes its data.
pub(super) struct Shop {
    pub(super) service: ServiceProcess,
    /// Beside the first one.
    pub(super) others: Vec<ServiceProcess>,
    pub(super) admin: PgConnection,
    pub(super) admin_url: String,
    pub(super) stores: OwnStores,
    standby: Option<Postgres>,
    replica: Replica,
    folder: Folder,
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _left_for_the_next_reset = std::fs::remove_dir_all(&self.0);
    }
}

impl Shop {
    /// Starts everything, and waits until the service is ready.
    pub(super) async fn open(project: &Project, skus: u32, settings: &Settings) -> Result<Self> {
        let folder = Folder(project.state().join(format!("bench-{}", &random_secret()[..8])));
        project.make(&folder.0)?;
        let stores = OwnStores::start(project, &folder.0, &[Service::Reservation]).await?;
        let database = Service::Reservation.database();
        let address = |role: &str| stores.url(role, Service::Reservation);
        let inputs = Inputs {
            postgres_url: address(database.running()),
            migrate_url: address(&database.owner()),
            gate_url: stores.redis.gate_url(),
            own_token: random_secret(),
            ..Inputs::default()
        };
        let replica = Replica {
            service: Service::Reservation,
            name: "reservation".into(),
            binary: binary(Service::Reservation)?,
            configuration: settings.apply(&configuration(Service::Reservation, &inputs)),
            folder: folder.0.clone(),
            log: folder.0.join("reservation.log"),
            port: Port::Free,
        };
        replica.migrate().await?;
        let admin_url = address(ADMIN);
        let mut admin = connect(&admin_url).await?;
        fill(&mut admin, skus).await?;
        let service = ServiceProcess::start(replica.clone()).await?;
        Ok(Self { service, others: Vec::new(), admin, admin_url, stores, standby: None, replica, folder })
    }

    /// Starts another replica beside those that run.
    pub(super) async fn add_replica(&mut self) -> Result<()> {
        let name = format!("reservation-{}", self.others.len() + 2);
        let log = self.folder.0.join(format!("{name}.log"));
        self.others.push(ServiceProcess::start(Replica { name, log, ..self.replica.clone() }).await?);
        Ok(())
    }

    /// Where all replicas listen.
    pub(super) fn endpoints(&self) -> Vec<String> {
        std::iter::once(&self.service).chain(&self.others).map(ServiceProcess::url).collect()
    }

    /// Starts a standby that follows Postgres, or does nothing when there is one.
    pub(super) async fn add_standby(&mut self) -> Result<()> {
        if self.standby.is_none() {
            let (data, log) = (self.folder.0.join("standby"), self.folder.0.join("standby.log"));
            self.standby = Some(self.stores.postgres.standby(data, log).await?);
        }
        Ok(())
    }

    /// Ends everything.
    pub(super) async fn close(mut self) -> Result<()> {
        for service in self.others.iter_mut().chain([&mut self.service]) {
            service.stop().await?;
        }
        if let Some(standby) = &mut self.standby {
            standby.stop(StopMode::Immediate).await?;
        }
        self.stores.stop().await?;
        drop(self.folder);
        Ok(())
    }

    /// A connection to Redis that may do everything.
    pub(super) async fn redis(&self) -> Result<MultiplexedConnection> {
        let failed =
            |error: redis::RedisError| StackError::Store { doing: "asking Redis".into(), detail: error.to_string() };
        crate::redis::patient_connection(&self.stores.redis.admin_url()).await.map_err(failed)
    }

    pub(super) async fn wipe(&self) -> Result<()> {
        crate::redis::wipe(&self.stores.redis.admin_url()).await
    }

    /// One number that Postgres says.
    pub(super) async fn ask(&mut self, question: &str) -> Result<i64> {
        let asked = sqlx::query_scalar(AssertSqlSafe(question.to_owned())).fetch_one(&mut self.admin).await;
        asked.map_err(|error| store(question, &error))
    }

    /// Memory of the replica's process now, in bytes.
    pub(super) fn memory(&mut self) -> Result<u64> {
        let pid = self.service.process().map(|process| process.pid()).ok_or(StackError::NotRunning)?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
            .map_err(|error| StackError::io("reading a process's memory", error))?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kib.map(|kib| kib * 1_024)
            .ok_or_else(|| StackError::Found("the system does not say how much memory a process has".to_owned()))
    }

    /// The value of one of the service's metrics.
    pub(super) async fn metric(&self, name: &str) -> f64 {
        metric(&self.service, name).await
    }
}

/// The value of one of a replica's metrics.
pub(super) async fn metric(service: &ServiceProcess, name: &str) -> f64 {
    let text = http::get(service.admin(), "/metrics").await.map(|(_, text)| text).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_default()
}

/// So many SKUs at one location, each with a ledger that agrees, and one that everybody wants.
async fn fill(admin: &mut PgConnection, skus: u32) -> Result<()> {
    let script = format!(
        "CREATE TEMP TABLE made AS SELECT 'CHAIR-ERGO-' || lpad(n::text, 7, '0') AS sku, 100 + n % 2000 AS units FROM generate_series(1, {skus}) n
             UNION ALL SELECT '{HOT}', {HOT_UNITS};
         INSERT INTO stock (sku, location, on_hand, version, count_as_of, count_sequence) SELECT sku, 'WH-MAIN', units, 1, now(), 0 FROM made;
         INSERT INTO ledger (sku, location, version, at, cause, cause_id, on_hand, actor)
             SELECT sku, 'WH-MAIN', 1, now(), 'COUNT', gen_random_uuid(), units, 'bench' FROM made;
         INSERT INTO policy (sku) SELECT sku FROM made;
         DROP TABLE made; ANALYZE"
    );
    admin.execute(AssertSqlSafe(script)).await.map_err(|error| store("filling the shop", &error))?;
    Ok(())
}

/// So many callers at once who want one unit each, over few connections, so many times one after the other.
pub(super) async fn buy(endpoint: String, callers: usize, times: usize, deadline: Duration) -> Result<History> {
    let spec = load::Spec {
        callers,
        reservations_per_caller: times,
        deadline,
        attempts_max: 1,
        connections: 4,
        ..load::Spec::new(endpoint, HOT)
    };
    load::run(&spec).await.map_err(|error| StackError::Found(error.to_string()))
}
