//! `./dev up`: everything, until Ctrl-C.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Args;

use crate::endpoints::Endpoints;
use crate::error::{Result, StackError};
use crate::process::last_lines;
use crate::project::Project;
use crate::say::say;
use crate::signals::Interrupts;
use crate::stack::{Ports, Stack};

/// Flags of `up`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Return once everything runs; `./dev down` ends it.
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    ports: PortOptions,
}

/// Fixed ports, for those who want them.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct PortOptions {
    /// Port of PostgreSQL on 127.0.0.1; a free one if not given.
    #[arg(long, value_name = "PORT")]
    postgres_port: Option<u16>,
    /// Port of Redis.
    #[arg(long, value_name = "PORT")]
    redis_port: Option<u16>,
    /// Port of catalog's gRPC.
    #[arg(long, value_name = "PORT")]
    catalog_port: Option<u16>,
    /// Port of reservation's gRPC.
    #[arg(long, value_name = "PORT")]
    reservation_port: Option<u16>,
    /// Port of vendor-sync's gRPC.
    #[arg(long, value_name = "PORT")]
    vendor_sync_port: Option<u16>,
}

impl From<PortOptions> for Ports {
    fn from(options: PortOptions) -> Self {
        Self {
            postgres: options.postgres_port.into(),
            redis: options.redis_port.into(),
            catalog: options.catalog_port.into(),
            reservation: options.reservation_port.into(),
            vendor_sync: options.vendor_sync_port.into(),
        }
    }
}

/// Starts everything; ends it at the first signal, or when a part of it ends by itself.
pub(crate) async fn run(project: &Project, options: Options) -> Result<ExitCode> {
    if options.detach {
        return detach(project).await;
    }
    let mut interrupts = Interrupts::listen()?;
    let mut stack = tokio::select! {
        // Being told to stop while things start drops, and thereby kills, what has been started.
        () = interrupts.next() => return Ok(ExitCode::from(130)),
        stack = Stack::start(project, options.ports.into()) => stack?,
    };
    say_ready(stack.endpoints());
    say("Ctrl-C ends everything; the data stays. Logs: .holdfast/logs");
    let failed = tokio::select! {
        () = interrupts.next() => None,
        error = stack.failed() => Some(error),
    };
    say("Ending …");
    tokio::select! {
        () = interrupts.next() => say("Killed."),
        stopped = stack.stop() => stopped?,
    }
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// What a person may want to do next.
pub(crate) fn say_ready(endpoints: &Endpoints) {
    let admin = |service| endpoints.admin.get(service).map_or("", String::as_str);
    let database = endpoints.postgres.get("reservation").map_or("", String::as_str);
    say("\nHoldfast runs.");
    for (service, grpc) in [
        ("reservation", &endpoints.reservation),
        ("catalog", &endpoints.catalog),
        ("vendor-sync", &endpoints.vendor_sync),
    ] {
        say(format!("  {service:<12} gRPC {grpc}   health and metrics {}", admin(service)));
    }
    say(format!("  {:<12} psql '{database}'", "PostgreSQL"));
    say(format!("  {:<12} redis-cli -u '{}'", "Redis", endpoints.redis));
    say("\nTry next, in another terminal:\n  ./dev ctl --help\n  ./dev demo\n");
}

/// Starts `./dev up` in the background and waits until it is ready.
async fn detach(project: &Project) -> Result<ExitCode> {
    if let Some(pid) = project.holder() {
        return Err(StackError::AlreadyRunning { pid: pid.to_string() });
    }
    let log = project.logs().join("up.log");
    project.make(&project.logs())?;
    let file = std::fs::File::create(&log).map_err(|error| StackError::unwritable(&log, error))?;
    let starting = |error| StackError::io("starting in the background", error);
    let own = std::env::current_exe().map_err(starting)?;
    let flags = std::env::args_os().skip(1).filter(|flag| flag != "--detach");
    let mut child = Command::new(own)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(file.try_clone().map_err(starting)?)
        .stderr(file)
        .process_group(0)
        .spawn()
        .map_err(starting)?;
    loop {
        if let Some(status) = child.try_wait().map_err(starting)? {
            let tail = last_lines(&std::fs::read_to_string(&log).unwrap_or_default(), 12);
            return Err(StackError::Died { name: "./dev up".into(), status, log, tail });
        }
        match Endpoints::read(project) {
            Ok(endpoints) if endpoints.pid == child.id() => {
                say_ready(&endpoints);
                say("It runs in the background; ./dev down ends it.");
                return Ok(ExitCode::SUCCESS);
            }
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
