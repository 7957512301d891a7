//! The whole of Holdfast on this machine: stores, databases, migrations, services; up until one of them ends or somebody
//! says stop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::configuration::{Inputs, configuration};
use crate::endpoints::Endpoints;
use crate::error::{Result, StackError};
use crate::install::{Programs, Wanted, programs};
use crate::ports::Port;
use crate::postgres::{self, Postgres, PostgresOptions, StopMode};
use crate::project::{Lock, Project};
use crate::redis::{Redis, RedisOptions};
use crate::roles::{DATABASES, make_database, make_roles};
use crate::say::say;
use crate::secrets::Secrets;
use crate::services::{Replica, Service, ServiceProcess};

/// An administrator's address of a Postgres to use instead of a private one.
pub const POSTGRES_ADMIN_URL: &str = "HOLDFAST_POSTGRES_ADMIN_URL";
/// The address of a Redis to use instead of a private one.
pub const REDIS_URL: &str = "HOLDFAST_REDIS_URL";

/// Ports asked for by number; the others are whatever is free.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ports {
    /// PostgreSQL.
    pub postgres: Port,
    /// Redis.
    pub redis: Port,
    /// gRPC of catalog.
    pub catalog: Port,
    /// gRPC of reservation.
    pub reservation: Port,
    /// gRPC of vendor-sync.
    pub vendor_sync: Port,
}

/// A running Holdfast. Dropping it kills what it started.
#[derive(Debug)]
pub struct Stack {
    services: Vec<ServiceProcess>,
    redis: Option<Redis>,
    postgres: Option<Postgres>,
    endpoints: Endpoints,
    project: Project,
    _lock: Lock,
}

impl Stack {
    /// Starts everything and waits until all of it is ready, saying what it does.
    ///
    /// # Errors
    ///
    /// [`StackError::AlreadyRunning`] and whatever keeps one part from starting. Nothing runs then; what was written to
    /// the data folder stays.
    pub async fn start(project: &Project, ports: Ports) -> Result<Self> {
        let lock = project.lock()?;
        for folder in [project.logs(), project.run()] {
            project.make(&folder)?;
        }
        let _of_an_earlier_run = std::fs::remove_file(project.endpoints());
        let secrets = secrets(project)?;
        let given = |name| std::env::var(name).ok().filter(|url: &String| !url.is_empty());
        let (given_postgres, given_redis) = (given(POSTGRES_ADMIN_URL), given(REDIS_URL));
        let wanted = Wanted { postgres: given_postgres.is_none(), redis: given_redis.is_none() };
        let found = programs(project, wanted).await?;
        let (postgres, redis) = start_stores(project, &found, ports, &secrets).await?;
        let stores = Addresses {
            admin: given_postgres.or_else(|| postgres.as_ref().map(Postgres::admin_url)).unwrap_or_default(),
            redis: given_redis.clone().or_else(|| redis.as_ref().map(Redis::admin_url)).unwrap_or_default(),
            gate: given_redis.or_else(|| redis.as_ref().map(Redis::gate_url)).unwrap_or_default(),
        };
        make_databases(&stores.admin, &secrets).await?;
        let services = start_services(project, ports, &secrets, &stores).await?;
        let endpoints = endpoints(&services, &stores);
        endpoints.write(project)?;
        Ok(Self { services, redis, postgres, endpoints, project: project.clone(), _lock: lock })
    }

    /// Where everything listens.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Waits until one of its processes ends by itself, and says which and why.
    pub async fn failed(&mut self) -> StackError {
        let services = self.services.iter_mut().filter_map(ServiceProcess::process);
        let stores = self
            .redis
            .as_mut()
            .and_then(Redis::process)
            .into_iter()
            .chain(self.postgres.as_mut().and_then(Postgres::process));
        let mut ends: Vec<_> = services.chain(stores).map(|process| Box::pin(process.ended())).collect();
        std::future::poll_fn(|context| {
            ends.iter_mut()
                .map(|end| end.as_mut().poll(context))
                .find(std::task::Poll::is_ready)
                .unwrap_or(std::task::Poll::Pending)
        })
        .await
    }

    /// Ends everything in order: services drain, Postgres writes its checkpoint.
    ///
    /// # Errors
    ///
    /// [`StackError::Io`] when the system cannot tell; what is left is killed.
    pub async fn stop(mut self) -> Result<()> {
        let _gone_already = std::fs::remove_file(self.project.endpoints());
        // Callers before those whom they call.
        for service in self.services.iter_mut().rev() {
            if !service.stop().await? {
                say(format!("{} did not end in time and was killed", service.name()));
            }
        }
        if let Some(redis) = &mut self.redis {
            redis.stop().await?;
        }
        if let Some(postgres) = &mut self.postgres {
            postgres.stop(StopMode::Fast).await?;
        }
        Ok(())
    }
}

struct Addresses {
    admin: String,
    redis: String,
    gate: String,
}

fn secrets(project: &Project) -> Result<Secrets> {
    let mut names: Vec<String> = ["postgres", "redis", "gate"].map(String::from).into();
    names.extend(DATABASES.iter().flat_map(|database| [database.owner(), database.running().into()]));
    names.extend(Service::ALL.map(token));
    Secrets::load_or_make(&project.state().join("secrets.json"), &names)
}

fn token(service: Service) -> String {
    format!("token of {}", service.name())
}

async fn start_stores(
    project: &Project,
    found: &Programs,
    ports: Ports,
    secrets: &Secrets,
) -> Result<(Option<Postgres>, Option<Redis>)> {
    let postgres = async {
        let Some(programs) = &found.postgres else {
            say(format!("PostgreSQL    the one that {POSTGRES_ADMIN_URL} names"));
            return Ok(None);
        };
        let start = Instant::now();
        let options = PostgresOptions {
            data: project.state().join("postgres"),
            log: project.logs().join("postgres.log"),
            password: secrets.get("postgres").into(),
            port: ports.postgres,
            durable: true,
        };
        let postgres = Postgres::start(programs, options).await?;
        say(format!("PostgreSQL    127.0.0.1:{}{}", postgres.port(), took(start)));
        Ok(Some(postgres))
    };
    let redis = async {
        let Some(program) = &found.redis else {
            say(format!("Redis         the one that {REDIS_URL} names"));
            return Ok(None);
        };
        let start = Instant::now();
        let options = RedisOptions {
            folder: project.run(),
            log: project.logs().join("redis.log"),
            admin_password: secrets.get("redis").into(),
            gate_password: secrets.get("gate").into(),
            port: ports.redis,
            extra: String::new(),
        };
        let redis = Redis::start(program, options).await?;
        say(format!("Redis         127.0.0.1:{}{}", redis.port(), took(start)));
        Ok(Some(redis))
    };
    tokio::try_join!(postgres, redis)
}

async fn make_databases(admin_url: &str, secrets: &Secrets) -> Result<()> {
    let mut admin = postgres::connect(admin_url).await?;
    make_roles(&mut admin, |role| secrets.get(role).into()).await?;
    for database in DATABASES {
        make_database(admin_url, database, database.name, "template0").await?;
    }
    Ok(())
}

async fn start_services(
    project: &Project,
    ports: Ports,
    secrets: &Secrets,
    stores: &Addresses,
) -> Result<Vec<ServiceProcess>> {
    // Catalog and vendor-sync call each other: both addresses are known before either listens.
    let vendor_sync = ports.vendor_sync.decide(Service::VendorSync.name())?;
    let vendor_sync_url = vendor_sync.url().unwrap_or_default();
    let drop_root = project.state().join("drop");
    project.make(&drop_root)?;
    let mut started: Vec<ServiceProcess> = Vec::new();
    for service in Service::ALL {
        let start = Instant::now();
        let url =
            |wanted| started.iter().find(|one| one.service() == wanted).map(ServiceProcess::url).unwrap_or_default();
        let database = service.database();
        let address = |role: &str| postgres::with_role(&stores.admin, role, secrets.get(role), database.name);
        let inputs = Inputs {
            postgres_url: address(database.running()),
            migrate_url: address(&database.owner()),
            gate_url: stores.gate.clone(),
            reservation_url: url(Service::Reservation),
            catalog_url: url(Service::Catalog),
            vendor_sync_url: vendor_sync_url.clone(),
            drop_root: drop_root.display().to_string(),
            own_token: secrets.get(&token(service)).into(),
            callers: Service::ALL
                .into_iter()
                .filter(|caller| *caller != service)
                .map(|caller| (caller.name().to_owned(), secrets.get(&token(caller)).to_owned()))
                .collect(),
        };
        let replica = Replica {
            service,
            name: service.name().into(),
            binary: binary(service)?,
            configuration: configuration(service, &inputs),
            folder: project.run(),
            log: project.logs().join(format!("{}.log", service.name())),
            port: match service {
                Service::Catalog => ports.catalog,
                Service::Reservation => ports.reservation,
                Service::VendorSync => vendor_sync,
            },
        };
        replica.migrate().await?;
        let process = ServiceProcess::start(replica).await?;
        say(format!("{:<13} {}{}", service.name(), process.grpc(), took(start)));
        started.push(process);
    }
    Ok(started)
}

fn endpoints(services: &[ServiceProcess], stores: &Addresses) -> Endpoints {
    let url = |wanted| services.iter().find(|one| one.service() == wanted).map(ServiceProcess::url).unwrap_or_default();
    let admin = services.iter().map(|one| (one.name().to_owned(), format!("http://{}", one.admin())));
    let databases = Service::ALL
        .map(|service| (service.name().to_owned(), postgres::with_database(&stores.admin, service.database().name)));
    Endpoints {
        pid: std::process::id(),
        catalog: url(Service::Catalog),
        reservation: url(Service::Reservation),
        vendor_sync: url(Service::VendorSync),
        admin: admin.collect(),
        postgres: BTreeMap::from(databases),
        redis: stores.redis.clone(),
    }
}

/// A service's binary.
///
/// # Errors
///
/// [`StackError::Usage`] when it was not built.
pub fn binary(service: Service) -> Result<PathBuf> {
    beside_us(service.binary(), service.binary())
}

/// The operator's command line: beside this one, where cargo puts both.
///
/// # Errors
///
/// [`StackError::Usage`] when it was not built.
pub fn holdctl() -> Result<PathBuf> {
    beside_us("holdctl", "holdfast-ctl")
}

/// A binary of the workspace: beside this one, where cargo puts them.
pub(crate) fn beside_us(binary: &str, package: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(|error| StackError::io("looking for the built binaries", error))?;
    let folder = own.parent().unwrap_or(Path::new("."));
    // Tests run one folder below.
    let places = [folder.join(binary), folder.join("..").join(binary)];
    places
        .iter()
        .find(|path| path.is_file())
        .cloned()
        .ok_or_else(|| StackError::Usage(format!("{} is not there: cargo build -p {package}", places[0].display())))
}

fn took(start: Instant) -> String {
    format!("  ({:.1} s)", start.elapsed().as_secs_f64())
}
