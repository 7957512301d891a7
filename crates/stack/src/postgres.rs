//! A private PostgreSQL: made, started, stopped in every way that a test wants, and started again.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection};

use crate::disk::check_room;
use crate::error::{Result, StackError};
use crate::ports::Port;
use crate::process::{Process, Spec};
use crate::programs::PostgresPrograms;
use crate::project::write_private;
use crate::unprivileged::Unprivileged;

/// The superuser of private instances.
pub const ADMIN: &str = "postgres";
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How a private PostgreSQL runs.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// The data folder; made when it does not exist.
    pub data: PathBuf,
    /// The log file, appended to.
    pub log: PathBuf,
    /// The superuser's password. It is written into a new data folder; it must fit an old one.
    pub password: String,
    /// Where to listen on 127.0.0.1.
    pub port: Port,
    /// Whether a commit is on the disk before it is answered. Off only for tests that do not crash the machine.
    pub durable: bool,
}

/// How a PostgreSQL is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Open transactions are rolled back, connections closed, a checkpoint written (SIGINT).
    Fast,
    /// Everything is dropped at once; recovery at the next start (SIGQUIT).
    Immediate,
    /// The postmaster is killed; its children notice (SIGKILL).
    Kill,
}

/// A private PostgreSQL server. Dropping it kills it.
#[derive(Debug)]
pub struct Postgres {
    programs: PostgresPrograms,
    options: PostgresOptions,
    shim: Unprivileged,
    port: u16,
    process: Option<Process>,
}

impl Postgres {
    /// Makes the data folder if there is none, starts a server on it and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`StackError::OtherVersion`], [`StackError::PortInUse`], [`StackError::DiskFull`],
    /// [`StackError::NotWritable`]; [`StackError::Died`] or [`StackError::NotReady`] with the log otherwise. Nothing
    /// runs then.
    pub async fn start(programs: &PostgresPrograms, options: PostgresOptions) -> Result<Self> {
        Self::start_as(programs, options, Unprivileged::choose().await).await
    }

    pub(crate) async fn start_as(
        programs: &PostgresPrograms,
        options: PostgresOptions,
        shim: Unprivileged,
    ) -> Result<Self> {
        prepare(programs, &options, &shim).await?;
        let mut postgres = Self { programs: programs.clone(), options, shim, port: 0, process: None };
        postgres.start_again().await?;
        Ok(postgres)
    }

    /// Starts it after a stop, on the same port. Does nothing when it runs.
    ///
    /// # Errors
    ///
    /// As [`Postgres::start`].
    pub async fn start_again(&mut self) -> Result<()> {
        if let Some(process) = &mut self.process
            && process.check_alive().is_ok()
        {
            return Ok(());
        }
        let give_up = Instant::now() + READY_WITHIN;
        loop {
            let same_port_again = self.port != 0;
            if !same_port_again {
                self.port = self.options.port.pick("PostgreSQL")?;
            }
            remove_stale_lock(&self.options.data);
            let mut process = Process::spawn(&self.server()).await?;
            let Err(error) = self.wait_until_ready(&mut process, give_up).await else {
                self.process = Some(process);
                return Ok(());
            };
            match why_it_died(&process.log_text()) {
                Some(Death::PortTaken) if self.options.port == Port::Free && !same_port_again => self.port = 0,
                Some(Death::PortTaken) => {
                    return Err(StackError::PortInUse { what: "PostgreSQL".into(), port: self.port });
                }
                // The backends of a killed server may live some milliseconds longer than it did.
                Some(Death::OldOneStillThere) if Instant::now() < give_up => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Some(Death::DiskFull) => {
                    check_room(&self.options.data)?;
                    return Err(error);
                }
                Some(Death::OldOneStillThere) | None => return Err(error),
            }
        }
    }

    /// Stops it and waits until it is gone. A fast stop that takes more than 30 s becomes a kill.
    ///
    /// # Errors
    ///
    /// [`StackError::Io`] when the system cannot tell.
    pub async fn stop(&mut self, mode: StopMode) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let signal = match mode {
            StopMode::Fast => Signal::INT,
            StopMode::Immediate => Signal::QUIT,
            StopMode::Kill => Signal::KILL,
        };
        process.stop(signal, Duration::from_secs(30)).await.map(|_by_itself| ())
    }

    /// Copies this server into `data`, a new folder, and starts the copy as a standby that follows it. It is waited for by commits once
    /// `synchronous_standby_names` names it.
    ///
    /// # Errors
    ///
    /// [`StackError::Command`] when it cannot be copied; else as [`Postgres::start`]. The folder may hold a part of the copy then.
    pub async fn standby(&self, data: PathBuf, log: PathBuf) -> Result<Self> {
        let copy = self
            .programs
            .spec("pg_basebackup", "pg_basebackup")
            .args([
                "--host=127.0.0.1",
                "--username",
                ADMIN,
                "--no-password",
                "--wal-method=stream",
                "--write-recovery-conf",
            ])
            .args(["--checkpoint=fast", "--port", &self.port.to_string()])
            .arg("--pgdata")
            .arg(&data)
            .env("PGPASSWORD", &self.options.password)
            .wrapped(&self.shim.wrapper());
        Process::output(&copy).await?;
        let options = PostgresOptions { data, log, port: Port::Free, ..self.options.clone() };
        Self::start_as(&self.programs, options, self.shim.clone()).await
    }

    /// The port on 127.0.0.1; it stays the same over stops and starts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The postmaster, while it runs.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// The address of a database, with user and password.
    pub fn url(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// The superuser's address of the database `postgres`.
    pub fn admin_url(&self) -> String {
        self.url(ADMIN, &self.options.password, "postgres")
    }

    fn server(&self) -> Spec {
        let settings = [
            ("listen_addresses", "127.0.0.1"),
            ("port", &self.port.to_string()),
            ("unix_socket_directories", ""),
            ("max_connections", "200"),
            ("shared_buffers", "128MB"),
            ("password_encryption", "scram-sha-256"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
            ("log_line_prefix", "%m [%p] %a/%d "),
            ("max_wal_size", "2GB"),
            // Compiling a statement takes longer than running any of ours, and its compiler is not always installed.
            ("jit", "off"),
            // Whoever stops in the middle of logging in, as a test that ends does, holds up every DROP DATABASE for so long.
            ("authentication_timeout", if self.options.durable { "60s" } else { "5s" }),
            ("fsync", if self.options.durable { "on" } else { "off" }),
            ("full_page_writes", if self.options.durable { "on" } else { "off" }),
        ];
        let spec = self.programs.spec("PostgreSQL", "postgres").arg("-D").arg(&self.options.data);
        let spec = settings.iter().fold(spec, |spec, (key, value)| spec.arg("-c").arg(format!("{key}={value}")));
        spec.log(&self.options.log).wrapped(&self.shim.wrapper())
    }

    async fn wait_until_ready(&self, process: &mut Process, give_up: Instant) -> Result<()> {
        let address = connect_options(&self.admin_url())?;
        loop {
            process.check_alive()?;
            let error = match PgConnection::connect_with(&address).await {
                Ok(connection) => {
                    return connection.close().await.map_err(|error| store("greeting PostgreSQL", &error));
                }
                Err(error) => error,
            };
            // A wrong password does not get better by waiting: the data folder is older than the secrets.
            if let sqlx::Error::Database(refusal) = &error
                && refusal.code().as_deref() == Some("28P01")
            {
                return Err(store("PostgreSQL refuses the kept password; ./dev reset makes a new one", &error));
            }
            if Instant::now() >= give_up {
                let (name, log) = (process.name().to_owned(), process.log().to_owned());
                return Err(StackError::NotReady { name, waited: READY_WITHIN, detail: error.to_string(), log });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Makes a data folder, completely or not at all; leaves one that is there alone but for its owner.
///
/// # Errors
///
/// As [`Postgres::start`].
async fn prepare(programs: &PostgresPrograms, options: &PostgresOptions, shim: &Unprivileged) -> Result<()> {
    let data = &options.data;
    let parent = data.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|error| StackError::unwritable(parent, error))?;
    check_room(parent)?;
    if let Ok(found) = std::fs::read_to_string(data.join("PG_VERSION")) {
        let found = found.trim().to_owned();
        if found != programs.major.to_string() {
            return Err(StackError::OtherVersion { path: data.clone(), found, wanted: programs.major });
        }
        return shim.own(data);
    }
    let draft = data.with_extension("new");
    if draft.exists() {
        std::fs::remove_dir_all(&draft).map_err(|error| StackError::unwritable(&draft, error))?;
    }
    std::fs::create_dir(&draft).map_err(|error| StackError::unwritable(&draft, error))?;
    shim.own(&draft)?;
    let password = data.with_extension("pw");
    write_private(&password, &options.password)?;
    shim.own(&password)?;
    let initdb = programs
        .spec("initdb", "initdb")
        .args(["--username", ADMIN, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"])
        .args(if options.durable { None } else { Some("--no-sync") })
        .arg("--pwfile")
        .arg(&password)
        .arg("-D")
        .arg(&draft)
        .wrapped(&shim.wrapper());
    let made = Process::output(&initdb).await;
    std::fs::remove_file(&password).map_err(|error| StackError::unwritable(&password, error))?;
    if let Err(error) = made {
        check_room(parent)?;
        return Err(error);
    }
    std::fs::rename(&draft, data).map_err(|error| StackError::unwritable(data, error))
}

/// Why a server that was just started ended, as far as starting it again may help.
enum Death {
    PortTaken,
    OldOneStillThere,
    DiskFull,
}

fn why_it_died(log: &str) -> Option<Death> {
    let says = |words: &[&str]| words.iter().any(|word| log.contains(word));
    if says(&["Address already in use", "could not create any TCP/IP sockets"]) {
        Some(Death::PortTaken)
    } else if says(&["pre-existing shared memory block", "lock file \"postmaster.pid\" already exists"]) {
        Some(Death::OldOneStillThere)
    } else if says(&["No space left on device"]) {
        Some(Death::DiskFull)
    } else {
        None
    }
}

/// Removes the lock file of a killed server whose process number now belongs to some other program, which would make
/// PostgreSQL refuse to start for ever. The project's own lock guarantees that no server of ours uses the folder.
fn remove_stale_lock(data: &Path) {
    let file = data.join("postmaster.pid");
    let Ok(text) = std::fs::read_to_string(&file) else { return };
    let Some(pid) = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok()) else { return };
    let runs = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if runs.trim() != "postgres" {
        let _gone_already = std::fs::remove_file(file);
    }
}

/// Reads a `postgres://` address.
///
/// # Errors
///
/// [`StackError::Usage`] when it is none; the address is not repeated, it may hold a password.
pub fn connect_options(url: &str) -> Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|error| StackError::Usage(format!("not a postgres:// address: {error}")))?;
    let options = if url.contains("sslmode=") { options } else { options.ssl_mode(PgSslMode::Prefer) };
    Ok(options.disable_statement_logging())
}

/// Connects to a `postgres://` address.
///
/// # Errors
///
/// [`StackError::Usage`] or [`StackError::Store`].
pub async fn connect(url: &str) -> Result<PgConnection> {
    PgConnection::connect_with(&connect_options(url)?).await.map_err(|error| store("connecting to PostgreSQL", &error))
}

/// The same server and options with another user, password and database.
pub fn with_role(url: &str, user: &str, password: &str, database: &str) -> String {
    rewrite(url, &format!("{user}:{password}"), database)
}

/// The same server, user and options with another database.
pub fn with_database(url: &str, database: &str) -> String {
    let who = url.rsplit_once('@').map_or("", |(who, _rest)| who);
    rewrite(url, who.split_once("://").map_or("", |(_scheme, who)| who), database)
}

fn rewrite(url: &str, who: &str, database: &str) -> String {
    let rest =
        url.rsplit_once('@').map_or_else(|| url.split_once("://").map_or(url, |(_, rest)| rest), |(_, rest)| rest);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let server = path.split('/').next().unwrap_or("");
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    format!("postgres://{who}@{server}/{database}{query}")
}

/// What PostgreSQL said, as our error.
pub(crate) fn store(doing: impl Into<String>, error: &sqlx::Error) -> StackError {
    StackError::Store { doing: doing.into(), detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Project;

    #[tokio::test]
    async fn root_runs_it_also_where_namespaces_are_forbidden() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        // The folder is root's alone, as /root is.
        let options = PostgresOptions {
            data: folder.path().join("data"),
            log: folder.path().join("log"),
            password: "secret".into(),
            port: Port::Free,
            durable: false,
        };
        let programs = PostgresPrograms::find(&Project::locate()).await.unwrap().expect("./dev test gets PostgreSQL");
        let mut postgres = Postgres::start_as(&programs, options.clone(), Unprivileged::OtherUser).await.unwrap();
        postgres.stop(StopMode::Fast).await.unwrap();
        let mut postgres = Postgres::start_as(&programs, options, Unprivileged::choose().await).await.unwrap();
        postgres.stop(StopMode::Fast).await.unwrap();
    }

    #[test]
    fn addresses_of_other_databases_keep_the_server_and_its_options() {
        let admin = "postgres://root:s@db.example:5/postgres?sslmode=disable";
        assert_eq!(with_role(admin, "role", "p", "shop"), "postgres://role:p@db.example:5/shop?sslmode=disable");
        assert_eq!(with_database(admin, "shop"), "postgres://root:s@db.example:5/shop?sslmode=disable");
        assert_eq!(with_database("postgres://root@db.example", "shop"), "postgres://root@db.example/shop");
        assert_eq!(with_role("postgres://db.example/x", "role", "p", "shop"), "postgres://role:p@db.example/shop");
    }
}
