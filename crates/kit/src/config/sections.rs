//! The sections that every service's configuration has; their documentation for operators is `common.default.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::callers::{Callers, CallersConfig};

/// The largest `message_bytes_max`: tonic's own limit, which the generated servers have unless told otherwise.
const MESSAGE_BYTES_LIMIT: usize = 4 * 1024 * 1024;

/// What every service's configuration has. A service embeds it with `#[serde(flatten)]` and gives it out by `AsRef<Common>`.
#[derive(Debug, Clone, Deserialize)]
pub struct Common {
    /// `[server]`
    pub server: ServerConfig,
    /// `[postgres]`
    pub postgres: PostgresConfig,
    /// `[telemetry]`
    pub telemetry: TelemetryConfig,
    /// `[callers]`
    pub callers: CallersConfig,
}

impl Default for Common {
    /// The defaults as they are, without a database: for tests.
    fn default() -> Self {
        let mut table: toml::Table = super::COMMON_DEFAULTS.parse().expect("the embedded text is under test");
        super::layers::read_secret_files(&mut table, &[]).expect("the defaults name no secret files");
        table.try_into().expect("the embedded text is under test")
    }
}

impl AsRef<Self> for Common {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// What migrations use of it.
#[derive(Debug, Clone, Deserialize)]
pub struct MigrationConfig {
    /// `[postgres]`
    pub postgres: PostgresConfig,
    /// `[telemetry]`
    pub telemetry: TelemetryConfig,
}

impl MigrationConfig {
    /// The sections that it is made of.
    pub(super) const SECTIONS: [&str; 2] = ["postgres", "telemetry"];

    pub(super) fn problems(&self) -> Vec<String> {
        [self.postgres.problems(), self.telemetry.problems()].concat()
    }
}

/// The section `[server]`.
#[derive(Debug, Clone, Deserialize)]
pub struct ServerConfig {
    /// Where gRPC is served; port 0 takes a free one.
    pub grpc_listen: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    pub admin_listen: SocketAddr,
    /// The largest message taken, in bytes.
    pub message_bytes_max: usize,
    /// Requests at once on one connection.
    pub concurrent_streams_max: u32,
    /// Headers of one request, in bytes.
    pub header_list_bytes_max: u32,
    /// After how long a connection is asked to go, in seconds; 0 is never.
    pub connection_age_seconds_max: u64,
    /// How often silent connections are pinged, in seconds; 0 is never.
    pub keepalive_seconds: u64,
    /// Until when a request without a deadline is answered, in milliseconds.
    pub deadline_default_ms: u64,
    /// The longest deadline, in milliseconds.
    pub deadline_max_ms: u64,
    /// Requests in flight in the whole process.
    pub requests_in_flight_max: usize,
    /// What a shed caller is told to wait, in milliseconds.
    pub overload_retry_ms: u64,
    /// How long requests may go on after SIGTERM, in seconds.
    pub drain_seconds_max: u64,
}

impl ServerConfig {
    /// How long requests may go on after SIGTERM.
    #[must_use]
    pub fn drain_max(&self) -> Duration {
        Duration::from_secs(self.drain_seconds_max)
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |wrong: bool, text: String| {
            if wrong {
                problems.push(text);
            }
        };
        for (key, value) in [
            ("concurrent_streams_max", u64::from(self.concurrent_streams_max)),
            ("deadline_default_ms", self.deadline_default_ms),
            ("requests_in_flight_max", self.requests_in_flight_max as u64),
            ("overload_retry_ms", self.overload_retry_ms),
            ("drain_seconds_max", self.drain_seconds_max),
        ] {
            check(value == 0, format!("server.{key} must be at least 1"));
        }
        check(
            !(1024..=MESSAGE_BYTES_LIMIT).contains(&self.message_bytes_max),
            format!("server.message_bytes_max must be 1024 to {MESSAGE_BYTES_LIMIT}, is {}", self.message_bytes_max),
        );
        check(
            self.header_list_bytes_max < 1024,
            format!("server.header_list_bytes_max must be at least 1024, is {}", self.header_list_bytes_max),
        );
        check(
            self.deadline_default_ms > self.deadline_max_ms,
            format!(
                "server.deadline_default_ms ({}) must not exceed server.deadline_max_ms ({})",
                self.deadline_default_ms, self.deadline_max_ms
            ),
        );
        check(
            self.grpc_listen.port() != 0 && self.grpc_listen == self.admin_listen,
            format!("server.grpc_listen and server.admin_listen are both {}: give each its own port", self.grpc_listen),
        );
        problems
    }
}

/// The section `[postgres]`.
#[derive(Debug, Clone, Deserialize)]
pub struct PostgresConfig {
    /// The database as the running role; user and password may stand in keys of their own.
    pub url: SecretString,
    /// The file that `url` was read from, and is read from again when it changes; empty: none.
    pub url_file: PathBuf,
    /// The running role; empty: the one in `url`.
    pub user: String,
    /// Its password, as it is; empty: the one in `url`.
    pub password: SecretString,
    /// The file that `password` was read from, and is read from again when it changes; empty: none.
    pub password_file: PathBuf,
    /// The database as the role that owns the schema; empty: `url`.
    pub migrate_url: SecretString,
    /// The file that has it, read by `migrate` only; empty: none.
    pub migrate_url_file: PathBuf,
    /// The role that owns the schema; empty: the one in `migrate_url`.
    pub migrate_user: String,
    /// Its password, as it is; empty: the one in `migrate_url`.
    pub migrate_password: SecretString,
    /// The file that has it, read by `migrate` only; empty: none.
    pub migrate_password_file: PathBuf,
    /// How long a migration waits for what is in its way, in seconds.
    pub migrate_wait_seconds_max: u64,
    /// Connections of this process.
    pub pool_connections_max: u32,
    /// How long a request waits for a connection, in milliseconds.
    pub acquire_timeout_ms: u64,
    /// How long the start tries to reach Postgres, in seconds.
    pub connect_seconds_max: u64,
    /// The longest statement, in milliseconds.
    pub statement_timeout_ms: u64,
    /// The longest wait for a lock, in milliseconds.
    pub lock_timeout_ms: u64,
    /// The longest pause within a transaction, in milliseconds.
    pub idle_in_transaction_timeout_ms: u64,
}

impl PostgresConfig {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.url.expose_secret().is_empty() {
            problems.push(String::from(
                "postgres.url (or postgres.url_file) is empty: say where the service's database is",
            ));
        }
        for (key, value) in [
            ("pool_connections_max", u64::from(self.pool_connections_max)),
            ("acquire_timeout_ms", self.acquire_timeout_ms),
            ("statement_timeout_ms", self.statement_timeout_ms),
            ("lock_timeout_ms", self.lock_timeout_ms),
            ("idle_in_transaction_timeout_ms", self.idle_in_transaction_timeout_ms),
        ] {
            if value == 0 {
                problems.push(format!("postgres.{key} must be at least 1: there is always a limit"));
            }
        }
        if self.lock_timeout_ms > self.statement_timeout_ms {
            problems.push(format!(
                "postgres.lock_timeout_ms ({}) must not exceed postgres.statement_timeout_ms ({}), which would always come first",
                self.lock_timeout_ms, self.statement_timeout_ms
            ));
        }
        problems
    }
}

/// The section `[telemetry]`.
#[derive(Debug, Clone, Deserialize)]
pub struct TelemetryConfig {
    /// How the log looks.
    pub log_format: LogFormat,
    /// What is logged, as tracing-subscriber's directives.
    pub log_filter: String,
    /// Where traces go; empty: nowhere.
    pub otlp_endpoint: String,
    /// The share of new traces that is recorded, 0 to 1.
    pub sampling_ratio: f64,
    /// What this replica is called; empty: found out.
    pub instance: String,
}

impl TelemetryConfig {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(0.0..=1.0).contains(&self.sampling_ratio) {
            problems.push(format!("telemetry.sampling_ratio must be 0 to 1, is {}", self.sampling_ratio));
        }
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.log_filter) {
            problems.push(format!("telemetry.log_filter {:?} is not understood: {error}", self.log_filter));
        }
        if !self.otlp_endpoint.is_empty() && self.otlp_endpoint.parse::<http::Uri>().is_err() {
            problems.push(format!("telemetry.otlp_endpoint {:?} is not a URL", self.otlp_endpoint));
        }
        problems
    }
}

/// How the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Common {
    /// What is wrong with the common sections, relations between their numbers included.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.server.problems();
        problems.extend(self.postgres.problems());
        problems.extend(self.telemetry.problems());
        problems.extend(Callers::new(&self.callers).err().map(|error| format!("callers: {error}")));
        problems
    }
}
