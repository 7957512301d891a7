//! The catalog's configuration; its documentation for operators is `config.default.toml`.

use std::time::Duration;

use holdfast_kit::{Common, ServiceConfig};
use serde::Deserialize;

use crate::import::{ImportLimits, RecordLimits};

/// The largest piece of an import, in bytes: the proto's limit.
pub const CHUNK_BYTES_MAX: usize = 1024 * 1024;

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
        let Self { common, limits, import, janitor } = self;
        for (key, value) in [
            ("limits.response_bytes_max", limits.response_bytes_max as u64),
            ("limits.mutations_in_flight_max", limits.mutations_in_flight_max as u64),
            ("import.concurrent_max", import.concurrent_max as u64),
            ("import.batch_rows_max", import.batch_rows_max.into()),
            ("import.batch_bytes_max", import.batch_bytes_max as u64),
            ("import.file_bytes_max", import.file_bytes_max),
            ("import.rows_max", import.rows_max.into()),
            ("import.record_bytes_max", import.record_bytes_max as u64),
            ("import.columns_max", import.columns_max as u64),
            ("import.idle_seconds_max", import.idle_seconds_max.into()),
            ("import.lock_timeout_ms", import.lock_timeout_ms.into()),
            ("janitor.period_seconds", janitor.period_seconds.into()),
            ("janitor.retention_seconds", janitor.retention_seconds.into()),
            ("janitor.batch_rows_max", janitor.batch_rows_max.into()),
        ] {
            if value == 0 {
                problems.push(format!("{key} must be at least 1"));
            }
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
