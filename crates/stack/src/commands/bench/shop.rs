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
use crate::install::{Wanted, programs};
use crate::ports::Port;
use crate::postgres::{Postgres, PostgresOptions, StopMode, connect, store, with_role};
use crate::project::Project;
use crate::redis::{Redis, RedisOptions};
use crate::roles::{make_database, make_roles};
use crate::secrets::random_secret;
use crate::services::{Replica, Service, ServiceProcess};
use crate::stack::binary;

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
    pub(super) admin: PgConnection,
    pub(super) admin_url: String,
    redis: Redis,
    postgres: Postgres,
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
        let found = programs(project, Wanted { postgres: true, redis: true }).await?;
        let (Some(postgres), Some(redis)) = (&found.postgres, &found.redis) else {
            return Err(StackError::Found("neither PostgreSQL nor Redis was asked for".to_owned()));
        };
        let password = random_secret();
        let options = PostgresOptions {
            data: folder.0.join("postgres"),
            log: folder.0.join("postgres.log"),
            password: password.clone(),
            port: Port::Free,
            durable: true,
        };
        let postgres = Postgres::start(postgres, options).await?;
        let options = RedisOptions {
            folder: folder.0.clone(),
            log: folder.0.join("redis.log"),
            admin_password: random_secret(),
            gate_password: random_secret(),
            port: Port::Free,
            extra: String::new(),
        };
        let redis = Redis::start(redis, options).await?;
        let database = Service::Reservation.database();
        make_roles(&mut connect(&postgres.admin_url()).await?, |_role| password.clone()).await?;
        make_database(&postgres.admin_url(), database, database.name, "template0").await?;
        let address = |role: &str| with_role(&postgres.admin_url(), role, &password, database.name);
        let inputs = Inputs {
            postgres_url: address(database.running()),
            migrate_url: address(&database.owner()),
            gate_url: redis.gate_url(),
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
        let admin_url = postgres.url(crate::postgres::ADMIN, &password, database.name);
        let mut admin = connect(&admin_url).await?;
        fill(&mut admin, skus).await?;
        let service = ServiceProcess::start(replica).await?;
        Ok(Self { service, admin, admin_url, redis, postgres, folder })
    }

    /// Ends everything.
    pub(super) async fn close(mut self) -> Result<()> {
        self.service.stop().await?;
        self.redis.stop().await?;
        self.postgres.stop(StopMode::Immediate).await?;
        drop(self.folder);
        Ok(())
    }

    /// A connection to Redis that may do everything.
    pub(super) async fn redis(&self) -> Result<MultiplexedConnection> {
        let failed =
            |error: redis::RedisError| StackError::Store { doing: "asking Redis".into(), detail: error.to_string() };
        crate::redis::patient_connection(&self.redis.admin_url()).await.map_err(failed)
    }

    pub(super) async fn wipe(&self) -> Result<()> {
        crate::redis::wipe(&self.redis.admin_url()).await
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
        let text = http::get(self.service.admin(), "/metrics").await.map(|(_, text)| text).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_default()
    }
}

/// So many SKUs at one location, each with a ledger that agrees, and one that everybody wants.
async fn fill(admin: &mut PgConnection, skus: u32) -> Result<()> {
    let script = format!(
        "CREATE TEMP TABLE made AS SELECT 'CHAIR-ERGO-' || lpad(n::text, 7, '0') AS sku, 1 + n % 2000 AS units FROM generate_series(1, {skus}) n
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
