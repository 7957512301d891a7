//! vendor-sync's configuration. What each key means stands in `config.default.toml`, which is embedded in the binary.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use holdfast_feeds::guards::file::{FileLimits, Tolerance};
use holdfast_feeds::guards::jump::RowLimits;
use holdfast_kit::{Common, ServiceConfig};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::convert::Fetchable;

/// vendor-sync's configuration.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// The sections that every service has.
    #[serde(flatten)]
    pub common: Common,
    /// How catalog is reached.
    pub catalog: PeerConfig,
    /// How reservation is reached.
    pub reservation: PeerConfig,
    /// Limits of uploads.
    pub uploads: UploadsConfig,
    /// How runs are worked on.
    pub runs: RunsConfig,
    /// When a file is held.
    pub gate: GateConfig,
    /// When a row is stopped.
    pub guards: GuardsConfig,
    /// What is forgotten, and when.
    pub janitor: JanitorConfig,
    /// How folders and addresses are looked at.
    pub fetch: FetchConfig,
    /// Drop folders.
    #[serde(rename = "drop")]
    pub drop_folders: DropConfig,
    /// Addresses.
    pub pull: PullConfig,
}

impl Config {
    /// What connections may refer to.
    #[must_use]
    pub fn fetchable(&self) -> Fetchable {
        let names = self.pull.credentials.iter().map(|credential| credential.name.clone());
        Fetchable { has_drop_root: !self.drop_folders.root.as_os_str().is_empty(), credentials: names.collect() }
    }
}

/// The section `[fetch]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchConfig {
    /// Connections looked at at once by this process.
    pub at_once_max: usize,
    /// How often it is looked what is due, in milliseconds.
    pub poll_ms: u64,
    /// After how long without a sign of life another process looks, in milliseconds.
    pub lease_ms: u64,
    /// The longest pause after looks that failed, in seconds, unless the connection's own interval is longer.
    pub pause_seconds_max: u32,
}

/// The section `[drop]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropConfig {
    /// The folder below which all drop folders lie; empty: there are none.
    pub root: PathBuf,
    /// How often each folder is looked at, in milliseconds.
    pub look_ms: u64,
    /// For how long a file must have been the same, in milliseconds, where no marker says that it is whole.
    pub settle_ms: u64,
    /// The most entries of a folder that one look considers.
    pub entries_max: usize,
}

/// The section `[pull]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullConfig {
    /// Whether addresses of one's own network may be fetched from.
    pub allow_private_addresses: bool,
    /// How long a connection may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// The longest silence of a server, in milliseconds.
    pub idle_timeout_ms: u64,
    /// How long a fetch may take in all, in milliseconds.
    pub total_timeout_ms: u64,
    /// Redirects that are followed.
    pub redirects_max: usize,
    /// A file with certificates, in PEM, that are believed beside the system's; empty: none.
    pub certificates: PathBuf,
    /// What Authorization headers are sent, by name.
    pub credentials: Vec<CredentialConfig>,
}

/// One credential: `[[pull.credentials]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialConfig {
    /// Its name, for connections to refer to.
    pub name: String,
    /// The Authorization header, whole; in files also `token_file`.
    pub token: SecretString,
}

/// How another service is reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    /// Its address.
    pub endpoint: String,
    /// The token with which vendor-sync presents itself; empty: none.
    pub token: SecretString,
    /// Requests at once for one run.
    pub requests_at_once_max: usize,
    /// How long a call may take in all, in milliseconds.
    pub call_timeout_ms: u64,
}

impl PeerConfig {
    /// How long a call may take in all, its retries included.
    #[must_use]
    pub fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms)
    }

    fn problems(&self, name: &str) -> Vec<String> {
        let mut problems = Vec::new();
        if self.endpoint.is_empty() {
            problems.push(format!("{name}.endpoint is empty: say where {name} is, for example http://127.0.0.1:7001"));
        }
        if !(1..=16).contains(&self.requests_at_once_max) {
            problems.push(format!("{name}.requests_at_once_max must be 1 to 16, is {}", self.requests_at_once_max));
        }
        if self.call_timeout_ms == 0 {
            problems.push(format!("{name}.call_timeout_ms must be at least 1: there is always a limit"));
        }
        problems
    }
}

/// The section `[uploads]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadsConfig {
    /// The largest file, in bytes.
    pub file_bytes_max: u64,
    /// Uploads at once.
    pub at_once_max: usize,
    /// How long an upload waits for its run to be finished, in milliseconds.
    pub answer_wait_ms_max: u64,
    /// The longest pause between two messages, in seconds.
    pub idle_seconds_max: u32,
}

/// The section `[runs]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunsConfig {
    /// The most rows of a file.
    pub rows_max: u64,
    /// Connections worked on at once by this process.
    pub connections_at_once_max: usize,
    /// Counts in one request to reservation.
    pub batch_counts: usize,
    /// How often work is looked for, in milliseconds.
    pub poll_ms: u64,
    /// After how long without a sign of life another process takes over, in milliseconds.
    pub lease_ms: u64,
    /// The first pause after an attempt that broke off, in milliseconds.
    pub pause_ms_min: u64,
    /// The longest pause, in milliseconds.
    pub pause_ms_max: u64,
}

impl RunsConfig {
    /// How long to wait after so many attempts in a row broke off: doubling, bounded.
    #[must_use]
    pub fn pause(&self, attempts: u32) -> Duration {
        let doubled = self.pause_ms_min.saturating_mul(1_u64 << attempts.min(32));
        Duration::from_millis(doubled.min(self.pause_ms_max))
    }
}

/// The section `[gate]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateConfig {
    /// Known codes that may be gone, in thousandths.
    pub keys_gone_permille_warn: u32,
    /// … before the file is held.
    pub keys_gone_permille_max: u32,
    /// Codes that may be new, in thousandths of the known ones.
    pub keys_unknown_permille_warn: u32,
    /// … before the file is held.
    pub keys_unknown_permille_max: u32,
    /// Codes in stock that may fall to 0, in thousandths.
    pub sold_out_permille_warn: u32,
    /// … before the file is held.
    pub sold_out_permille_max: u32,
    /// Rows that may be unreadable, in thousandths.
    pub rows_unreadable_permille_warn: u32,
    /// … before the file is held.
    pub rows_unreadable_permille_max: u32,
    /// Rows that may have one number, in thousandths …
    pub one_value_permille_max: u32,
    /// … if fewer than so many had it before.
    pub one_value_before_permille: u32,
    /// From how many accepted files on the following rules are applied.
    pub accepted_files_min: u64,
    /// Rows that may lack beside the median, in thousandths.
    pub rows_fewer_permille_warn: u32,
    /// … before the file is held.
    pub rows_fewer_permille_max: u32,
    /// Rows that may be more than the median, in thousandths.
    pub rows_more_permille_max: u32,
    /// By how much the sum may change, in thousandths.
    pub units_permille_warn: u32,
    /// … before the file is held.
    pub units_permille_max: u32,
    /// Numbers that may change at once, in thousandths.
    pub rows_changed_permille_warn: u32,
    /// … before the file is held.
    pub rows_changed_permille_max: u32,
    /// Below so many codes or rows a file is small.
    pub small_file_keys: u64,
    /// How many rows a small file may lack.
    pub small_file_rows_max: u64,
    /// After how many held files in a row a connection is paused.
    pub holds_in_row_max: u32,
}

impl GateConfig {
    /// The limits as the guard takes them.
    #[must_use]
    pub fn limits(&self) -> FileLimits {
        FileLimits {
            rows_unreadable: Tolerance::new(self.rows_unreadable_permille_warn, self.rows_unreadable_permille_max),
            keys_gone: Tolerance::new(self.keys_gone_permille_warn, self.keys_gone_permille_max),
            keys_unknown: Tolerance::new(self.keys_unknown_permille_warn, self.keys_unknown_permille_max),
            sold_out: Tolerance::new(self.sold_out_permille_warn, self.sold_out_permille_max),
            one_value_permille_max: self.one_value_permille_max,
            one_value_before_permille: self.one_value_before_permille,
            accepted_files_min: self.accepted_files_min,
            rows_fewer: Tolerance::new(self.rows_fewer_permille_warn, self.rows_fewer_permille_max),
            rows_more_permille_max: self.rows_more_permille_max,
            units: Tolerance::new(self.units_permille_warn, self.units_permille_max),
            rows_changed: Tolerance::new(self.rows_changed_permille_warn, self.rows_changed_permille_max),
            small_file_keys: self.small_file_keys,
            small_file_rows_max: self.small_file_rows_max,
        }
    }

    fn problems(&self) -> Vec<String> {
        let pairs = [
            ("keys_gone_permille", self.keys_gone_permille_warn, self.keys_gone_permille_max),
            ("keys_unknown_permille", self.keys_unknown_permille_warn, self.keys_unknown_permille_max),
            ("sold_out_permille", self.sold_out_permille_warn, self.sold_out_permille_max),
            ("rows_unreadable_permille", self.rows_unreadable_permille_warn, self.rows_unreadable_permille_max),
            ("rows_fewer_permille", self.rows_fewer_permille_warn, self.rows_fewer_permille_max),
            ("units_permille", self.units_permille_warn, self.units_permille_max),
            ("rows_changed_permille", self.rows_changed_permille_warn, self.rows_changed_permille_max),
        ];
        let mut problems = Vec::new();
        for (key, warn, max) in pairs {
            if max > 1000 {
                problems.push(format!("gate.{key}_max must be at most 1000 (thousandths), is {max}"));
            }
            if warn > max {
                problems.push(format!("gate.{key}_warn ({warn}) must not exceed gate.{key}_max ({max})"));
            }
        }
        for (key, value) in [
            ("one_value_permille_max", self.one_value_permille_max),
            ("one_value_before_permille", self.one_value_before_permille),
        ] {
            if value > 1000 {
                problems.push(format!("gate.{key} must be at most 1000 (thousandths), is {value}"));
            }
        }
        if !(1..=100).contains(&self.accepted_files_min) {
            problems.push(format!("gate.accepted_files_min must be 1 to 100, is {}", self.accepted_files_min));
        }
        if self.holds_in_row_max == 0 {
            problems.push("gate.holds_in_row_max must be at least 1".to_owned());
        }
        problems
    }
}

/// The section `[guards]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardsConfig {
    /// Changes of fewer units are believed.
    pub units_min: u64,
    /// Increases from fewer units are believed.
    pub old_units_min: u64,
    /// R2: so many times as many are not believed.
    pub factor_min: u64,
    /// R3: so many units of what nothing is known of are not believed.
    pub unknown_units_min: u64,
    /// R4: numbers that stand for something else.
    pub sentinels: Vec<u64>,
    /// R4: the smallest of them that is not believed where nothing was in stock.
    pub sentinel_unknown_min: u64,
}

impl GuardsConfig {
    /// The limits as the guards take them.
    #[must_use]
    pub fn limits(&self) -> RowLimits {
        RowLimits {
            units_min: self.units_min,
            old_units_min: self.old_units_min,
            factor_min: self.factor_min,
            unknown_units_min: self.unknown_units_min,
            sentinels: self.sentinels.clone(),
            sentinel_unknown_min: self.sentinel_unknown_min,
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, value) in [("units_min", self.units_min), ("unknown_units_min", self.unknown_units_min)] {
            if value == 0 {
                problems.push(format!("guards.{key} must be at least 1: else every number waits for a person"));
            }
        }
        if self.factor_min < 2 {
            problems.push(format!("guards.factor_min must be at least 2, is {}", self.factor_min));
        }
        problems
    }
}

/// The section `[janitor]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JanitorConfig {
    /// How often it looks, in seconds.
    pub period_seconds: u32,
    /// How long answers are kept, in seconds.
    pub retention_seconds: u32,
    /// How long reports are kept, in seconds.
    pub report_retention_seconds: u32,
}

impl AsRef<Common> for Config {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

impl Config {
    /// What is wrong with how files are fetched.
    fn fetch_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let root = &self.drop_folders.root;
        if !root.as_os_str().is_empty() && !root.is_absolute() {
            problems.push(format!("drop.root must be an absolute path, is {}", root.display()));
        }
        let mut names = HashSet::new();
        for CredentialConfig { name, token } in &self.pull.credentials {
            if !names.insert(name) {
                problems.push(format!("pull.credentials has {name:?} more than once"));
            }
            if http::HeaderValue::try_from(token.expose_secret()).is_err() || token.expose_secret().is_empty() {
                problems
                    .push(format!("pull.credentials: the token of {name:?} must be an Authorization header's value"));
            }
        }
        problems
    }
}

/// The largest piece of a file, in bytes: the proto's limit.
pub const CHUNK_BYTES_MAX: usize = 1024 * 1024;
/// The largest `uploads.file_bytes_max`: a file is held in memory while it is read.
const FILE_BYTES_LIMIT: u64 = 1024 * 1024 * 1024;
/// The most counts that reservation takes in one request.
const BATCH_COUNTS_LIMIT: usize = 1000;

impl ServiceConfig for Config {
    const DEFAULTS: &'static str = include_str!("../config.default.toml");
    const ENV_PREFIX: &'static str = "HOLDFAST_VENDOR_SYNC";

    fn problems(&self) -> Vec<String> {
        let mut problems = self.catalog.problems("catalog");
        problems.extend(self.reservation.problems("reservation"));
        let (uploads, runs, janitor) = (&self.uploads, &self.runs, &self.janitor);
        let mut check = |wrong: bool, text: String| {
            if wrong {
                problems.push(text);
            }
        };
        check(
            !(1..=FILE_BYTES_LIMIT).contains(&uploads.file_bytes_max),
            format!("uploads.file_bytes_max must be 1 to {FILE_BYTES_LIMIT}, is {}", uploads.file_bytes_max),
        );
        check(
            !(1..=BATCH_COUNTS_LIMIT).contains(&runs.batch_counts),
            format!("runs.batch_counts must be 1 to {BATCH_COUNTS_LIMIT}, is {}", runs.batch_counts),
        );
        for (key, value) in [
            ("uploads.at_once_max", uploads.at_once_max as u64),
            ("uploads.answer_wait_ms_max", uploads.answer_wait_ms_max),
            ("runs.rows_max", runs.rows_max),
            ("runs.connections_at_once_max", runs.connections_at_once_max as u64),
            ("runs.poll_ms", runs.poll_ms),
            ("runs.lease_ms", runs.lease_ms),
            ("runs.pause_ms_min", runs.pause_ms_min),
            ("uploads.idle_seconds_max", uploads.idle_seconds_max.into()),
            ("janitor.period_seconds", janitor.period_seconds.into()),
            ("janitor.retention_seconds", janitor.retention_seconds.into()),
            ("fetch.at_once_max", self.fetch.at_once_max as u64),
            ("fetch.poll_ms", self.fetch.poll_ms),
            ("fetch.lease_ms", self.fetch.lease_ms),
            ("fetch.pause_seconds_max", self.fetch.pause_seconds_max.into()),
            ("drop.look_ms", self.drop_folders.look_ms),
            ("drop.settle_ms", self.drop_folders.settle_ms),
            ("drop.entries_max", self.drop_folders.entries_max as u64),
            ("pull.connect_timeout_ms", self.pull.connect_timeout_ms),
            ("pull.idle_timeout_ms", self.pull.idle_timeout_ms),
            ("pull.total_timeout_ms", self.pull.total_timeout_ms),
            ("janitor.report_retention_seconds", janitor.report_retention_seconds.into()),
        ] {
            check(value == 0, format!("{key} must be at least 1"));
        }
        check(
            runs.pause_ms_min > runs.pause_ms_max,
            format!(
                "runs.pause_ms_min ({}) must not exceed runs.pause_ms_max ({})",
                runs.pause_ms_min, runs.pause_ms_max
            ),
        );
        check(
            self.common.server.message_bytes_max < CHUNK_BYTES_MAX + 64,
            format!(
                "server.message_bytes_max ({}) must leave room for a piece of a file of {CHUNK_BYTES_MAX} bytes and its frame",
                self.common.server.message_bytes_max
            ),
        );
        problems.extend(self.gate.problems());
        problems.extend(self.guards.problems());
        problems.extend(self.fetch_problems());
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(settings: &[(&str, &str)]) -> Result<Config, String> {
        let needed = [
            ("POSTGRES__URL", "postgres://x"),
            ("CATALOG__ENDPOINT", "http://c"),
            ("RESERVATION__ENDPOINT", "http://r"),
        ];
        let environment = needed
            .iter()
            .chain(settings)
            .map(|(key, value)| (format!("{}__{key}", Config::ENV_PREFIX).into(), (*value).into()));
        holdfast_kit::config::load_with(None, environment).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_the_documented_thresholds() {
        let config = load(&[]).unwrap();
        assert_eq!(config.gate.limits(), FileLimits::default());
        assert_eq!(config.guards.limits(), RowLimits::default());
        assert_eq!(config.uploads.file_bytes_max, 64 * 1024 * 1024);
        let server = &config.common.server;
        assert_eq!((server.grpc_listen.port(), server.admin_listen.port()), (50053, 9053), "k8s and docs name them");
    }

    #[test]
    fn every_number_that_cannot_work_is_complained_of_at_once() {
        let wrong = load(&[
            ("RUNS__BATCH_COUNTS", "1001"),
            ("RUNS__LEASE_MS", "0"),
            ("RUNS__PAUSE_MS_MIN", "100000000"),
            ("GATE__KEYS_GONE_PERMILLE_MAX", "1001"),
            ("UPLOADS__FILE_BYTES_MAX", "0"),
            ("CATALOG__REQUESTS_AT_ONCE_MAX", "17"),
        ])
        .unwrap_err();
        for key in
            ["batch_counts", "lease_ms", "pause_ms_min", "keys_gone", "file_bytes_max", "catalog.requests_at_once_max"]
        {
            assert!(wrong.contains(key), "{key}: {wrong}");
        }
    }

    #[test]
    fn pauses_double_up_to_their_limit() {
        let config = load(&[("RUNS__PAUSE_MS_MIN", "100"), ("RUNS__PAUSE_MS_MAX", "1000")]).unwrap();
        let pauses: Vec<u128> = [0, 1, 2, 3, 4, 40].map(|attempts| config.runs.pause(attempts).as_millis()).to_vec();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
    }
}
