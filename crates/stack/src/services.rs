//! Holdfast's own services as processes: configured, migrated, started, and stopped in every way.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::Deserialize;

use crate::error::{Result, StackError};
use crate::http;
use crate::ports::Port;
use crate::process::{Process, Spec};
use crate::project::write_private;
use crate::roles::{DATABASES, ServiceDatabase};

const READY_WITHIN: Duration = Duration::from_secs(60);
/// Longer than a service's own drain.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// SKUs, vendors, locations, offers.
    Catalog,
    /// The only writer of stock.
    Reservation,
    /// Vendors' feeds.
    VendorSync,
}

impl Service {
    /// All of them, in the order in which they are started: later ones call earlier ones.
    pub const ALL: [Self; 3] = [Self::Reservation, Self::Catalog, Self::VendorSync];

    /// Its name, for people and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Reservation => "reservation",
            Self::VendorSync => "vendor-sync",
        }
    }

    /// Its binary.
    pub fn binary(self) -> &'static str {
        match self {
            Self::Catalog => "holdfast-catalog",
            Self::Reservation => "holdfast-reservation",
            Self::VendorSync => "holdfast-vendor-sync",
        }
    }

    /// Its database.
    pub fn database(self) -> ServiceDatabase {
        let [catalog, reservation, vendor_sync] = DATABASES;
        match self {
            Self::Catalog => catalog,
            Self::Reservation => reservation,
            Self::VendorSync => vendor_sync,
        }
    }

    /// What its environment variables begin with.
    pub fn env_prefix(self) -> &'static str {
        match self {
            Self::Catalog => "HOLDFAST_CATALOG",
            Self::Reservation => "HOLDFAST_RESERVATION",
            Self::VendorSync => "HOLDFAST_VENDOR_SYNC",
        }
    }
}

/// How one replica of a service is run.
#[derive(Debug, Clone)]
pub struct Replica {
    /// Which service.
    pub service: Service,
    /// What it is called in messages and files: `reservation`, `reservation-2`.
    pub name: String,
    /// The service's binary.
    pub binary: PathBuf,
    /// Its configuration, TOML; see [`crate::configuration`].
    pub configuration: String,
    /// Folder for its configuration and the file with its addresses.
    pub folder: PathBuf,
    /// The log file, appended to.
    pub log: PathBuf,
    /// Where gRPC listens on 127.0.0.1.
    pub port: Port,
}

impl Replica {
    fn configuration_file(&self) -> PathBuf {
        self.folder.join(format!("{}.toml", self.name))
    }

    fn announce_file(&self) -> PathBuf {
        self.folder.join(format!("{}.addresses.json", self.name))
    }

    fn spec(&self, command: &str) -> Spec {
        Spec::new(format!("{} {command}", self.name), &self.binary)
            .arg(command)
            .arg("--config")
            .arg(self.configuration_file())
    }

    fn write_configuration(&self) -> Result<()> {
        std::fs::create_dir_all(&self.folder).map_err(|error| StackError::unwritable(&self.folder, error))?;
        write_private(&self.configuration_file(), &self.configuration)
    }

    /// Brings the database's schema to this binary's version.
    ///
    /// # Errors
    ///
    /// [`StackError::Command`] with what it said; migrations before the failing one are applied then.
    pub async fn migrate(&self) -> Result<()> {
        self.write_configuration()?;
        Process::output(&self.spec("migrate")).await.map(|_output| ())
    }
}

/// A running replica. Dropping it kills it.
#[derive(Debug)]
pub struct ServiceProcess {
    replica: Replica,
    addresses: Addresses,
    process: Option<Process>,
}

/// What a service says about itself once it listens.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Addresses {
    grpc: SocketAddr,
    admin: SocketAddr,
}

impl ServiceProcess {
    /// Starts a replica and waits until it is ready.
    ///
    /// # Errors
    ///
    /// [`StackError::PortInUse`], [`StackError::Died`] or [`StackError::NotReady`] with its log. Nothing runs then.
    pub async fn start(replica: Replica) -> Result<Self> {
        let grpc = match replica.port {
            Port::Free => 0,
            fixed @ Port::Fixed(_) => fixed.pick(&replica.name)?,
        };
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut service = Self { addresses: Addresses { grpc: local(grpc), admin: local(0) }, replica, process: None };
        service.start_again().await?;
        Ok(service)
    }

    /// Starts it after a stop, on the same ports. Does nothing when it runs.
    ///
    /// # Errors
    ///
    /// As [`ServiceProcess::start`].
    pub async fn start_again(&mut self) -> Result<()> {
        if let Some(process) = &mut self.process
            && process.check_alive().is_ok()
        {
            return Ok(());
        }
        let replica = &self.replica;
        replica.write_configuration()?;
        let announced = replica.announce_file();
        let _none_yet = std::fs::remove_file(&announced);
        let prefix = replica.service.env_prefix();
        let spec = replica
            .spec("serve")
            .arg("--announce")
            .arg(&announced)
            .env(format!("{prefix}__SERVER__GRPC_LISTEN"), self.addresses.grpc.to_string())
            .env(format!("{prefix}__SERVER__ADMIN_LISTEN"), self.addresses.admin.to_string())
            .log(&replica.log);
        let mut process = Process::spawn(&spec).await?;
        self.addresses = wait_until_ready(&mut process, &announced).await?;
        self.process = Some(process);
        Ok(())
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.replica.name
    }

    /// Which service it is.
    pub fn service(&self) -> Service {
        self.replica.service
    }

    /// Where gRPC listens; stays the same over stops and starts.
    pub fn grpc(&self) -> SocketAddr {
        self.addresses.grpc
    }

    /// Where health and metrics listen; stays the same over stops and starts.
    pub fn admin(&self) -> SocketAddr {
        self.addresses.admin
    }

    /// The address for a gRPC client.
    pub fn url(&self) -> String {
        format!("http://{}", self.addresses.grpc)
    }

    /// The process, while it runs.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Asks it to end in order (SIGTERM) and waits; says whether it did by itself within 30 s.
    ///
    /// # Errors
    ///
    /// [`StackError::Io`] when the system cannot tell.
    pub async fn stop(&mut self) -> Result<bool> {
        let Some(mut process) = self.process.take() else { return Ok(true) };
        process.stop(Signal::TERM, STOP_WITHIN).await
    }

    /// Kills it (SIGKILL): the fault.
    ///
    /// # Errors
    ///
    /// [`StackError::Io`] when the system cannot tell.
    pub async fn kill(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.kill().await
    }

    /// Stops it in the middle of whatever it does (SIGSTOP); connections stay open.
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen one go on (SIGCONT).
    pub fn thaw(&mut self) {
        self.signal(Signal::CONT);
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(process) = &mut self.process {
            process.signal(signal);
        }
    }
}

async fn wait_until_ready(process: &mut Process, announced: &Path) -> Result<Addresses> {
    let give_up = Instant::now() + READY_WITHIN;
    loop {
        process.check_alive()?;
        let addresses: Option<Addresses> =
            std::fs::read_to_string(announced).ok().and_then(|text| serde_json::from_str(&text).ok());
        let detail = match addresses {
            None => "it has not said where it listens".to_owned(),
            Some(addresses) => match http::get(addresses.admin, "/readyz").await {
                Ok((200, _body)) => return Ok(addresses),
                Ok((status, body)) => format!("/readyz answers {status} {}", body.trim()),
                Err(error) => format!("/readyz: {error}"),
            },
        };
        if Instant::now() >= give_up {
            let (name, log) = (process.name().to_owned(), process.log().to_owned());
            return Err(StackError::NotReady { name, waited: READY_WITHIN, detail, log });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
