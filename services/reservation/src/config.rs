//! The service's configuration. `config.default.toml` says what each number means, and what too high and too low do.

use holdfast_kit::{Common, Priority, ServiceConfig};
use holdfast_stock::{HoldMicros, KeyWindow, Limits};
use serde::Deserialize;

use crate::auditor::AuditorConfig;
use crate::committer::CommitterConfig;
use crate::freshener::FreshenerConfig;
use crate::gate::GateConfig;
use crate::limiter::LimiterConfig;
use crate::looker::LookerConfig;
use crate::reconciler::ReconcilerConfig;
use crate::retention::RetentionConfig;
use crate::sweeper::SweeperConfig;
use crate::watch::WatchConfig;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// All of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// What every service has.
    #[serde(flatten)]
    pub common: Common,
    /// Redis.
    pub gate: GateConfig,
    /// The write queue.
    pub committer: CommitterConfig,
    /// The read queue.
    pub looker: LookerConfig,
    /// The way past the gate.
    pub limiter: LimiterConfig,
    /// Expiry.
    pub sweeper: SweeperConfig,
    /// Convergence of Redis.
    pub reconciler: ReconcilerConfig,
    /// Ageing of numbers.
    pub freshener: FreshenerConfig,
    /// Watches.
    pub watch: WatchConfig,
    /// How long the record is kept.
    pub retention: RetentionConfig,
    /// What looks whether the record agrees with itself.
    pub auditor: AuditorConfig,
    /// Holds and keys.
    pub holds: HoldsConfig,
}

/// How long holds last and keys are good for, in seconds.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldsConfig {
    default_seconds: u32,
    longest_seconds: u32,
    retry_window_seconds: u32,
    bulk_retry_window_seconds: u32,
    ahead_seconds: u32,
}

impl HoldsConfig {
    /// How long a hold lasts if the request does not say.
    #[must_use]
    pub fn default_hold(&self) -> HoldMicros {
        HoldMicros::new(micros(self.default_seconds)).expect("checked at start: at least a second")
    }

    /// The longest hold.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits { longest_hold_micros: micros(self.longest_seconds), default_hold: self.default_hold() }
    }

    /// Which keys of counts and adjustments are taken: those follow from files and decisions, which wait for longer than a checkout does.
    #[must_use]
    pub fn bulk_window(&self) -> KeyWindow {
        KeyWindow { back_micros: micros(self.bulk_retry_window_seconds), ..self.window() }
    }

    /// Which keys are taken.
    #[must_use]
    pub fn window(&self) -> KeyWindow {
        KeyWindow { back_micros: micros(self.retry_window_seconds), ahead_micros: micros(self.ahead_seconds) }
    }
}

fn micros(seconds: u32) -> i64 {
    i64::from(seconds) * MICROS_PER_SECOND
}

impl AsRef<Common> for Config {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

impl ServiceConfig for Config {
    const DEFAULTS: &'static str = include_str!("../config.default.toml");
    const ENV_PREFIX: &'static str = "HOLDFAST_RESERVATION";
    const FILES_READ_AGAIN: &'static [&'static str] = &["gate.url_file", "gate.password_file"];

    fn problems(&self) -> Vec<String> {
        let mut problems = self.gate.problems();
        let mut positive = |key: &str, value: u64| {
            if value == 0 {
                problems.push(format!("{key} must be at least 1"));
            }
        };
        positive("committer.queue_max", self.committer.queue_max as u64);
        positive("committer.batch_operations_max", self.committer.batch_operations_max as u64);
        positive("committer.batch_rows_max", self.committer.batch_rows_max as u64);
        positive("committer.contended_attempts_max", u64::from(self.committer.contended_attempts_max));
        positive("looker.queue_max", self.looker.queue_max as u64);
        positive("looker.keys_max", self.looker.keys_max as u64);
        positive("looker.skus_max", self.looker.skus_max as u64);
        positive("limiter.requests_max", self.limiter.requests_max as u64);
        positive("limiter.requests_per_sku_max", self.limiter.requests_per_sku_max as u64);
        positive("sweeper.period_ms", self.sweeper.period_ms);
        positive("sweeper.holds_max", u64::from(self.sweeper.holds_max));
        positive("reconciler.period_ms", self.reconciler.period_ms);
        positive("reconciler.skus_max", u64::from(self.reconciler.skus_max));
        positive("reconciler.others_max", u64::from(self.reconciler.others_max));
        positive("freshener.period_ms", self.freshener.period_ms);
        positive("freshener.rows_max", u64::from(self.freshener.rows_max));
        positive("watch.watchers_max", self.watch.watchers_max as u64);
        positive("watch.period_ms", self.watch.period_ms);
        positive("watch.entries_max", u64::from(self.watch.entries_max));
        positive("watch.snapshot_rows_max", u64::from(self.watch.snapshot_rows_max));
        positive("watch.waiting_max", self.watch.waiting_max as u64);
        positive("watch.checkpoint_ms", self.watch.checkpoint_ms);
        positive("holds.default_seconds", u64::from(self.holds.default_seconds));
        positive("holds.retry_window_seconds", u64::from(self.holds.retry_window_seconds));
        let holds = &self.holds;
        let beyond = u64::from(holds.longest_seconds) + u64::from(holds.ahead_seconds);
        let window = |seconds: u32| u64::from(seconds) + beyond;
        let (key, bulk) = (window(holds.retry_window_seconds), window(holds.bulk_retry_window_seconds));
        problems.extend(self.retention.problems(key, bulk));
        if self.holds.retry_window_seconds > self.holds.bulk_retry_window_seconds {
            problems.push("holds.retry_window_seconds must not exceed holds.bulk_retry_window_seconds".to_owned());
        }
        problems.extend(self.auditor.problems(self.reconciler.period_ms));
        if self.holds.default_seconds > self.holds.longest_seconds {
            problems.push("holds.default_seconds must not exceed holds.longest_seconds".to_owned());
        }
        if self.limiter.requests_max > Priority::Begin.places(self.committer.queue_max) {
            let text = "limiter.requests_max must not exceed what new work may fill of committer.queue_max, 90 %: they would be shed there";
            problems.push(text.to_owned());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_kit::config::load_with;
    use secrecy::ExposeSecret as _;

    fn load(variables: &[(&str, &str)]) -> Result<Config, String> {
        let given = [
            ("HOLDFAST_RESERVATION__POSTGRES__URL", "postgres://x@127.0.0.1/x"),
            ("HOLDFAST_RESERVATION__GATE__URL", "redis://127.0.0.1:1"),
        ];
        let all = given.iter().chain(variables).map(|(key, value)| ((*key).into(), (*value).into()));
        load_with(None, all).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_can_be_used() {
        let config = load(&[]).expect("the defaults");
        assert_eq!(config.holds.default_hold().get(), 900 * MICROS_PER_SECOND);
    }

    #[test]
    fn where_the_gates_secrets_lie_stays_known_so_that_they_can_be_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let [url, password] = [("url", "redis://127.0.0.1:7"), ("password", "p4ss")].map(|(name, text)| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("{text}\n")).expect("a file");
            path
        });
        let config = load(&[
            ("HOLDFAST_RESERVATION__GATE__URL", ""),
            ("HOLDFAST_RESERVATION__GATE__URL_FILE", url.to_str().expect("a path")),
            ("HOLDFAST_RESERVATION__GATE__USER", "gate"),
            ("HOLDFAST_RESERVATION__GATE__PASSWORD_FILE", password.to_str().expect("a path")),
        ])
        .expect("a configuration");
        assert_eq!((config.gate.url_file, config.gate.password_file), (url, password));
        assert_eq!(config.gate.url.expose_secret(), "redis://127.0.0.1:7");
        assert_eq!(config.gate.password.expose_secret(), "p4ss");
    }

    #[test]
    fn nothing_is_forgotten_while_its_key_is_still_taken() {
        for (key, value, named) in [
            ("HOLDFAST_RESERVATION__RETENTION__OPERATIONS_SECONDS", "2678699", "retention.operations_seconds"),
            ("HOLDFAST_RESERVATION__RETENTION__RESERVATIONS_SECONDS", "600000", "retention.reservations_seconds"),
            ("HOLDFAST_RESERVATION__RETENTION__LEDGER_SECONDS", "3023999", "retention.ledger_seconds"),
            ("HOLDFAST_RESERVATION__HOLDS__BULK_RETRY_WINDOW_SECONDS", "3024000", "retention.operations_seconds"),
            ("HOLDFAST_RESERVATION__HOLDS__BULK_RETRY_WINDOW_SECONDS", "80000", "holds.bulk_retry_window_seconds"),
        ] {
            let error = load(&[(key, value)]).expect_err("a contradiction");
            assert!(error.contains(named), "{error}");
        }
        load(&[("HOLDFAST_RESERVATION__RETENTION__OPERATIONS_SECONDS", "2678700")]).expect("just long enough");
    }

    #[test]
    fn contradictions_are_all_named_at_once() {
        let error = load(&[
            ("HOLDFAST_RESERVATION__HOLDS__DEFAULT_SECONDS", "90000"),
            ("HOLDFAST_RESERVATION__SWEEPER__PERIOD_MS", "0"),
        ])
        .expect_err("two contradictions");
        assert!(error.contains("holds.longest_seconds") && error.contains("sweeper.period_ms"), "{error}");
    }
}
