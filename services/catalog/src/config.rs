//! The catalog's configuration; its documentation for operators is `config.default.toml`.

use std::time::Duration;

use holdfast_kit::{Common, ServiceConfig};
use secrecy::SecretString;
use serde::Deserialize;

use crate::import::{ImportLimits, RecordLimits};

/// The largest piece of an import, in bytes: the proto's limit.
pub const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// The most SKUs that reservation and vendor-sync take in one request.
const BATCH_SKUS_LIMIT: u32 = 1000;

/// Configuration of the catalog.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// What every service has.
    #[serde(flatten)]
    pub common: Common,
    /// `[limits]`
    pub limits: LimitsConfig,
    /// `[import]`
    pub import: ImportConfig,
    /// `[changes]`
    pub changes: ChangesConfig,
    /// `[watch]`
    pub watch: WatchConfig,
    /// `[relay]`
    pub relay: RelayConfig,
    /// `[reservation]`
    pub reservation: PeerConfig,
    /// `[vendor_sync]`
    pub vendor_sync: PeerConfig,
    /// `[janitor]`
    pub janitor: JanitorConfig,
}

/// The section `[limits]`.
#[derive(Debug, Clone, Deserialize)]
pub struct LimitsConfig {
    /// The largest answer, in bytes.
    pub response_bytes_max: usize,
    /// Mutations at once.
    pub mutations_in_flight_max: usize,
    /// Searches at once.
    pub searches_in_flight_max: usize,
}

/// The section `[import]`.
#[derive(Debug, Clone, Deserialize)]
pub struct ImportConfig {
    /// Imports at once.
    pub concurrent_max: usize,
    /// Rows staged and applied at once.
    pub batch_rows_max: u32,
    /// Bytes of rows staged at once.
    pub batch_bytes_max: usize,
    /// The largest file, in bytes.
    pub file_bytes_max: u64,
    /// The most rows of a file.
    pub rows_max: u32,
    /// The largest row, in bytes.
    pub record_bytes_max: usize,
    /// The most columns of a file.
    pub columns_max: usize,
    /// The longest pause between two messages, in seconds.
    pub idle_seconds_max: u32,
    /// How long applying waits for a lock, in milliseconds.
    pub lock_timeout_ms: u32,
}

impl ImportConfig {
    /// The longest pause between two messages.
    #[must_use]
    pub fn idle_max(&self) -> Duration {
        Duration::from_secs(self.idle_seconds_max.into())
    }

    /// The limits of one import.
    #[must_use]
    pub fn limits(&self) -> ImportLimits {
        ImportLimits {
            batch_rows_max: self.batch_rows_max,
            batch_bytes_max: self.batch_bytes_max,
            file_bytes_max: self.file_bytes_max,
            rows_max: self.rows_max.into(),
            lock_timeout_ms: self.lock_timeout_ms,
            record: RecordLimits { bytes_max: self.record_bytes_max, columns_max: self.columns_max },
        }
    }
}

/// The section `[changes]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangesConfig {
    /// How often changes of other processes are looked for, in milliseconds.
    pub poll_ms: u64,
    /// How long changes are kept, in seconds.
    pub retention_seconds: u32,
}

/// The section `[watch]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchConfig {
    /// Watchers at once.
    pub watchers_max: usize,
    /// SKUs that are read at once for one watcher.
    pub page_skus: u32,
    /// After how long without a change a checkpoint is sent, in milliseconds.
    pub checkpoint_ms: u64,
}

impl WatchConfig {
    /// After how long without a change a checkpoint is sent.
    #[must_use]
    pub fn checkpoint_after(&self) -> Duration {
        Duration::from_millis(self.checkpoint_ms)
    }
}

/// The section `[relay]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayConfig {
    /// SKUs that are told of at once.
    pub batch_skus: u32,
    /// Bytes of a message, about.
    pub batch_bytes_max: usize,
    /// How long a call may take, in milliseconds.
    pub call_timeout_ms: u64,
    /// After how long without a sign of life another process takes over, in milliseconds.
    pub lease_ms: u64,
    /// The first pause after a failure, in milliseconds.
    pub pause_ms_min: u64,
    /// The longest pause, in milliseconds.
    pub pause_ms_max: u64,
    /// How often the lag is measured, in milliseconds.
    pub measure_ms: u64,
}

impl RelayConfig {
    /// How long a call may take.
    #[must_use]
    pub fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms)
    }

    /// After how long without a sign of life another process takes over.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// The pause after so many failures in a row: it doubles up to its limit.
    #[must_use]
    pub fn pause(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        Duration::from_millis(self.pause_ms_min.saturating_mul(1 << doublings).min(self.pause_ms_max))
    }
}

/// How another service is reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    /// Its address; empty: it is not told of anything.
    pub endpoint: String,
    /// The token with which catalog presents itself; empty: none.
    pub token: SecretString,
}

/// The section `[janitor]`.
#[derive(Debug, Clone, Deserialize)]
pub struct JanitorConfig {
    /// How often it looks, in seconds.
    pub period_seconds: u32,
    /// How long answers and ended imports are kept, in seconds.
    pub retention_seconds: u32,
    /// After how long a silent import counts as broken off, in seconds.
    pub import_silence_seconds_max: u32,
    /// Rows deleted by one statement.
    pub batch_rows_max: u32,
}

impl AsRef<Common> for Config {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

impl ServiceConfig for Config {
    const DEFAULTS: &'static str = include_str!("../config.default.toml");
    const ENV_PREFIX: &'static str = "HOLDFAST_CATALOG";

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let Self { common, limits, import, changes, watch, relay, reservation: _, vendor_sync: _, janitor } = self;
        for (key, value) in [
            ("limits.response_bytes_max", limits.response_bytes_max as u64),
            ("limits.mutations_in_flight_max", limits.mutations_in_flight_max as u64),
            ("limits.searches_in_flight_max", limits.searches_in_flight_max as u64),
            ("import.concurrent_max", import.concurrent_max as u64),
            ("import.batch_rows_max", import.batch_rows_max.into()),
            ("import.batch_bytes_max", import.batch_bytes_max as u64),
            ("import.file_bytes_max", import.file_bytes_max),
            ("import.rows_max", import.rows_max.into()),
            ("import.record_bytes_max", import.record_bytes_max as u64),
            ("import.columns_max", import.columns_max as u64),
            ("import.idle_seconds_max", import.idle_seconds_max.into()),
            ("import.lock_timeout_ms", import.lock_timeout_ms.into()),
            ("changes.poll_ms", changes.poll_ms),
            ("changes.retention_seconds", changes.retention_seconds.into()),
            ("watch.watchers_max", watch.watchers_max as u64),
            ("watch.page_skus", watch.page_skus.into()),
            ("watch.checkpoint_ms", watch.checkpoint_ms),
            ("relay.batch_bytes_max", relay.batch_bytes_max as u64),
            ("relay.call_timeout_ms", relay.call_timeout_ms),
            ("relay.lease_ms", relay.lease_ms),
            ("relay.pause_ms_min", relay.pause_ms_min),
            ("relay.measure_ms", relay.measure_ms),
            ("janitor.period_seconds", janitor.period_seconds.into()),
            ("janitor.retention_seconds", janitor.retention_seconds.into()),
            ("janitor.batch_rows_max", janitor.batch_rows_max.into()),
        ] {
            if value == 0 {
                problems.push(format!("{key} must be at least 1"));
            }
        }
        if !(1..=BATCH_SKUS_LIMIT).contains(&relay.batch_skus) {
            problems.push(format!("relay.batch_skus must be 1 to {BATCH_SKUS_LIMIT}, is {}", relay.batch_skus));
        }
        if relay.lease_ms <= relay.call_timeout_ms {
            problems.push(format!(
                "relay.lease_ms ({}) must exceed relay.call_timeout_ms ({}), or another replica takes over in the middle of a call",
                relay.lease_ms, relay.call_timeout_ms
            ));
        }
        if relay.pause_ms_min > relay.pause_ms_max {
            problems.push(format!(
                "relay.pause_ms_min ({}) must not exceed relay.pause_ms_max ({})",
                relay.pause_ms_min, relay.pause_ms_max
            ));
        }
        if common.server.message_bytes_max < CHUNK_BYTES_MAX + 64 {
            problems.push(format!(
                "server.message_bytes_max ({}) must leave room for a piece of an import of {CHUNK_BYTES_MAX} bytes and its frame",
                common.server.message_bytes_max
            ));
        }
        if janitor.import_silence_seconds_max <= import.idle_seconds_max {
            problems.push(format!(
                "janitor.import_silence_seconds_max ({}) must exceed import.idle_seconds_max ({}), or live imports are broken off",
                janitor.import_silence_seconds_max, import.idle_seconds_max
            ));
        }
        if common.postgres.pool_connections_max as usize <= import.concurrent_max {
            problems.push(format!(
                "postgres.pool_connections_max ({}) must exceed import.concurrent_max ({}), or imports leave no connection for others",
                common.postgres.pool_connections_max, import.concurrent_max
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_used() {
        let url = [("HOLDFAST_CATALOG__POSTGRES__URL".into(), "postgres://x@127.0.0.1/x".into())];
        let config: Config = holdfast_kit::config::load_with(None, url).expect("the defaults");
        let server = &config.common.server;
        assert_eq!((server.grpc_listen.port(), server.admin_listen.port()), (50052, 9052), "k8s and docs name them");
    }
}
