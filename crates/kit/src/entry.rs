//! The entry of every service: its commands, its exit codes, its start and its end.

use std::ffi::OsString;
use std::future::Future;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use sqlx::migrate::Migrator;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::build::{REVISION, VERSION, VERSION_AND_REVISION};
use crate::config::{self, Common, ConfigError, ServiceConfig};
use crate::listeners::{BindError, Listeners};
use crate::methods::{Method, MethodTable};
use crate::pg;
use crate::telemetry;

/// It failed while it ran.
const EXIT_FAILED: u8 = 1;
/// The command line or the configuration cannot be used.
const EXIT_CONFIG: u8 = 2;
/// It could not start: a port in use, a store that cannot be reached, a schema that does not fit.
const EXIT_START: u8 = 3;

/// A service, as [`main`] needs it.
pub trait Service {
    /// Its name and its binary's: `holdfast-reservation`.
    const NAME: &'static str;
    /// Its configuration.
    type Config: ServiceConfig + AsRef<Common> + Send;

    /// Who may call what.
    fn methods() -> &'static MethodTable;

    /// Its migrations.
    fn migrator() -> &'static Migrator;

    /// Serves until `shutdown` is cancelled and everything has ended in order. Tests call it with ports of their own.
    ///
    /// # Errors
    /// When it cannot start or fails while it runs; the message says what to do next.
    fn run(
        config: Self::Config,
        listeners: Listeners,
        shutdown: CancellationToken,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// How this process was called, once [`main_as`] has been told.
static PROGRAM: OnceLock<String> = OnceLock::new();

/// What a person types to run `service`'s program: `holdfast reservation` where it is a role of one program, else the service's own name.
pub(crate) fn program(service: &str) -> String {
    PROGRAM.get().map_or(service, String::as_str).to_owned()
}

/// Runs a service's command line with the process's arguments: `serve` (the default), `migrate`, `wait-schema`, `config`, `methods`.
///
/// Exit codes: 0 done, 1 failed while running, 2 command line or configuration, 3 could not start.
#[must_use]
pub fn main<S: Service>() -> ExitCode {
    main_as::<S>(S::NAME, std::env::args_os().skip(1))
}

/// [`main()`] for a service that is a role of a larger program: `program` is what a person types to reach it, `words` is what follows.
#[must_use]
pub fn main_as<S: Service>(program: &'static str, words: impl IntoIterator<Item = OsString>) -> ExitCode {
    // A process is called once; whoever calls this a second time (a test) keeps the first name.
    let _named_already = PROGRAM.set(program.to_owned());
    let words = std::iter::once(OsString::from(program)).chain(words);
    let matches = match command::<S>(program).try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => {
            drop(error.print());
            return if error.use_stderr() { ExitCode::from(EXIT_CONFIG) } else { ExitCode::SUCCESS };
        }
    };
    let file = matches.get_one::<PathBuf>("config").cloned().or_else(|| variable::<S>("CONFIG"));
    let done = match matches.subcommand() {
        Some(("config", _)) => print_config::<S>(file.as_deref()),
        Some(("methods", _)) => print(&methods_text(S::methods())),
        Some(("migrate", _)) => migrate::<S>(file.as_deref()),
        Some(("wait-schema", matches)) => wait_schema::<S>(file.as_deref(), matches),
        Some(("serve", matches)) => serve_command::<S>(file.as_deref(), matches),
        _ => serve_command::<S>(file.as_deref(), &matches),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "{program}: {}", explain(&error)));
            ExitCode::from(exit_code(&error))
        }
    }
}

fn command<S: Service>(program: &'static str) -> Command {
    let prefix = S::Config::ENV_PREFIX;
    let announce = || {
        Arg::new("announce")
            .long("announce")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help(format!("Write the addresses to this file as JSON once they are bound [env: {prefix}_ANNOUNCE]"))
    };
    Command::new(program)
        .bin_name(program)
        .version(VERSION_AND_REVISION.as_str())
        .arg(
            Arg::new("config")
                .long("config")
                .global(true)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help(format!(
                    "Configuration to lay over the defaults [env: {prefix}_CONFIG]; {prefix}__SECTION__KEY sets a key"
                )),
        )
        .arg(announce())
        .subcommand(Command::new("serve").about("Serve until SIGTERM or SIGINT (the default)").arg(announce()))
        .subcommand(Command::new("migrate").about("Bring the database's schema to this version"))
        .subcommand(
            Command::new("wait-schema")
                .about("Wait until the database's schema serves this program, as the running role; ends with 3 if it does not")
                .arg(
                    Arg::new("seconds")
                        .long("seconds")
                        .value_name("SECONDS")
                        .default_value("300")
                        .value_parser(value_parser!(u64).range(0..=86_400))
                        .help("How long to wait; 0 looks once"),
                ),
        )
        .subcommand(Command::new("config").about("Print the effective configuration, secrets masked"))
        .subcommand(Command::new("methods").about("Print who may call what"))
}

fn variable<S: Service>(name: &str) -> Option<PathBuf> {
    std::env::var_os(format!("{}_{name}", S::Config::ENV_PREFIX)).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// Prints first and complains after: an operator wants to see the numbers that are complained of.
fn print_config<S: Service>(file: Option<&Path>) -> anyhow::Result<()> {
    print(&config::render::<S::Config>(file)?)?;
    config::load::<S::Config>(file)?;
    Ok(())
}

fn methods_text(table: &MethodTable) -> String {
    table.rows().iter().map(methods_row).collect()
}

fn methods_row(row: &Method) -> String {
    let roles: Vec<_> = row.roles.iter().map(|role| role.name()).collect();
    format!("{} {:?} {}\n", row.path, row.priority, roles.join(","))
}

fn migrate<S: Service>(file: Option<&Path>) -> anyhow::Result<()> {
    let config = config::load_for_migrations::<S::Config>(file)?;
    with_runtime(async move {
        end_on_signals()?;
        let guard = telemetry::init(&config.telemetry, S::NAME)?;
        let migrated = pg::migrate(&config.postgres, S::migrator(), S::NAME).await;
        guard.shutdown().await;
        let pg::Migrated { applied, version } = migrated?;
        print(&format!("{}: applied {applied} migrations, the schema is at version {version}\n", program(S::NAME)))
    })
}

fn wait_schema<S: Service>(file: Option<&Path>, matches: &ArgMatches) -> anyhow::Result<()> {
    let config = config::load::<S::Config>(file)?;
    let within = Duration::from_secs(matches.get_one("seconds").copied().unwrap_or_default());
    let common = config.as_ref().clone();
    with_runtime(async move {
        end_on_signals()?;
        let guard = telemetry::init(&common.telemetry, S::NAME)?;
        let waited = pg::wait_schema(&common.postgres, S::migrator(), S::NAME, within).await;
        guard.shutdown().await;
        let version = waited?;
        print(&format!("{}: the schema is at version {version} and serves this program\n", program(S::NAME)))
    })
}

fn serve_command<S: Service>(file: Option<&Path>, matches: &ArgMatches) -> anyhow::Result<()> {
    let config = config::load::<S::Config>(file)?;
    let announce = matches.get_one::<PathBuf>("announce").cloned().or_else(|| variable::<S>("ANNOUNCE"));
    with_runtime(async move {
        let common = config.as_ref();
        let guard = telemetry::init(&common.telemetry, S::NAME)?;
        let served = serve::<S>(config, announce).await;
        if let Err(error) = &served {
            tracing::error!(error = explain(error), "the service ends with an error");
        }
        guard.shutdown().await;
        served
    })
}

async fn serve<S: Service>(config: S::Config, announce: Option<PathBuf>) -> anyhow::Result<()> {
    let listeners = Listeners::bind(&config.as_ref().server).await?;
    tracing::info!(
        grpc = %listeners.grpc_address()?,
        admin = %listeners.admin_address()?,
        version = VERSION,
        revision = REVISION,
        "listening"
    );
    if let Some(file) = announce {
        listeners
            .announce(S::NAME, &file)
            .map_err(|error| anyhow::anyhow!("cannot announce the addresses in {}: {error}", file.display()))?;
    }
    let shutdown = CancellationToken::new();
    on_signals(shutdown.clone())?;
    S::run(config, listeners, shutdown).await?;
    tracing::info!("ended in order");
    Ok(())
}

/// The first SIGTERM or SIGINT asks for an orderly end, the second one ends at once.
fn on_signals(shutdown: CancellationToken) -> std::io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = term.recv() => "SIGTERM",
                _ = int.recv() => "SIGINT",
            };
            if shutdown.is_cancelled() {
                tracing::warn!(signal = name, "a second signal: ending at once");
                std::process::exit(i32::from(EXIT_FAILED));
            }
            tracing::info!(signal = name, "ending in order");
            shutdown.cancel();
        }
    });
    Ok(())
}

/// SIGTERM and SIGINT end a command at once, as they do by default for every process but the first of a container, which would not even notice. What a
/// migration has not committed did not happen.
fn end_on_signals() -> std::io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut asked = signal(kind)?;
        tokio::spawn(async move {
            asked.recv().await;
            // What shells say of a process that a signal has ended.
            std::process::exit(128 + kind.as_raw_value());
        });
    }
    Ok(())
}

fn with_runtime<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = Runtime::new()?;
    let done = runtime.block_on(work);
    // What did not end by itself until now is not waited for any longer.
    runtime.shutdown_timeout(Duration::from_millis(500));
    done
}

/// The error with its causes, leaving out causes that the text above has already.
fn explain(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<ConfigError>() {
        return EXIT_CONFIG;
    }
    let start = error.chain().any(|cause| {
        cause.is::<BindError>()
            || cause.is::<pg::ConnectError>()
            || cause.is::<pg::SchemaError>()
            || cause.is::<pg::MigrateError>()
            || cause.is::<pg::WaitError>()
    });
    if start { EXIT_START } else { EXIT_FAILED }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;
    use crate::{Priority, Role};

    #[test]
    fn the_table_is_printed_for_people_and_for_grep() {
        static TABLE: MethodTable = MethodTable::new(&["holdfast.vendorsync.v1.Nothing"], &[]);
        assert_eq!(methods_text(&TABLE), "");
        let row = Method::new("/a.B/C", Priority::Read, &[Role::Checkout, Role::VendorSync]);
        assert_eq!(methods_row(&row), "/a.B/C Read checkout,vendor-sync\n");
    }

    #[test]
    fn an_error_is_told_once_with_what_was_being_done() {
        let source = std::io::Error::other("no route");
        let error = anyhow::Error::new(BindError { key: "grpc_listen", address: ([127, 0, 0, 1], 1).into(), source });
        let error = Err::<(), _>(error).context("starting").unwrap_err();
        assert_eq!(explain(&error), "starting: cannot listen on 127.0.0.1:1 (server.grpc_listen): no route");
        assert_eq!(exit_code(&error), EXIT_START);
        assert_eq!(exit_code(&ConfigError::Refused(Vec::new()).into()), EXIT_CONFIG);
        assert_eq!(exit_code(&anyhow::anyhow!("else")), EXIT_FAILED);
    }
}
