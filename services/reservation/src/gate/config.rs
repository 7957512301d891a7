//! What can be set about the gate.

use redis::{ConnectionAddr, IntoConnectionInfo as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use std::time::Duration;

/// The section `[gate]`: how to reach Redis and how long to wait for it. Its documentation for operators is `config.default.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateConfig {
    /// Where Redis listens and as whom; secret, for the password in it.
    pub url: SecretString,
    /// How long a call waits for its answer from its turn on, in milliseconds, 1 to 10,000.
    pub response_timeout_ms: u64,
    /// How long opening a connection may take, in milliseconds, 1 to 60,000.
    pub connect_timeout_ms: u64,
    /// How long a take holds its units back when nobody gives it back, in milliseconds, 10 to 60,000.
    pub take_lapse_ms: u64,
    /// Calls in a row that may fail before Redis is no longer asked, 1 or more.
    pub breaker_failures_max: u32,
    /// How often Redis is tried while it is not asked, in milliseconds, 10 to 60,000.
    pub probe_interval_ms: u64,
    /// How often a connection is tried that seems to be well, in milliseconds, 10 to 60,000.
    pub heartbeat_interval_ms: u64,
    /// SKUs published, read or reconciled in one round trip, 1 to 1,000.
    pub batch_skus_max: usize,
    /// Calls that may be on their way at once, 1 to 10,000. Too low: round trips are not used. Too high: in a rush calls wait in the connection until their time is
    /// over, and a living Redis counts as dead.
    #[serde(default = "calls_in_flight_max")]
    pub calls_in_flight_max: usize,
    /// Calls that may wait for their turn, 1 to 100,000; one more is answered at once that nothing is known.
    pub queue_calls_max: usize,
    /// How a cart over several SKUs is asked for.
    pub carts: Carts,
}

/// How a cart over several SKUs is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Carts {
    /// All SKUs in one call, all or nothing in one step. Needs one Redis that has all keys.
    OneCall,
    /// One call per SKU, ascending; what was taken is given back when a later SKU is refused. No call spans two hash
    /// slots, as Redis Cluster demands.
    SkuBySku,
}

impl GateConfig {
    /// The defaults with this URL.
    #[must_use]
    pub const fn new(url: SecretString) -> Self {
        Self {
            url,
            response_timeout_ms: 50,
            connect_timeout_ms: 500,
            take_lapse_ms: 1_000,
            breaker_failures_max: 5,
            probe_interval_ms: 100,
            heartbeat_interval_ms: 1_000,
            batch_skus_max: 128,
            calls_in_flight_max: calls_in_flight_max(),
            queue_calls_max: 4_096,
            carts: Carts::OneCall,
        }
    }

    /// What is wrong with these values, each problem naming its key; empty when the gate can start with them.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        // The error of a URL that cannot be read is left out: it may quote the password.
        let url = self.url.expose_secret().into_connection_info().ok();
        let url_problem = match url.as_ref().map(|info| (info.addr(), info.redis_settings().db())) {
            None => Some("is not a Redis URL"),
            Some((ConnectionAddr::TcpTls { .. }, _)) => Some("asks for TLS, which is not built in"),
            Some((_, 0)) => None,
            Some(_) => Some("names a database other than 0"),
        };
        problems.extend(url_problem.map(|problem| format!("gate.url {problem}")));
        let mut within = |name: &str, value: u64, min: u64, max: u64| {
            if !(min..=max).contains(&value) {
                problems.push(format!("gate.{name} must be {min} to {max}, is {value}"));
            }
        };
        within("response_timeout_ms", self.response_timeout_ms, 1, 10_000);
        within("connect_timeout_ms", self.connect_timeout_ms, 1, 60_000);
        within("take_lapse_ms", self.take_lapse_ms, 10, TAKE_LAPSE_MS_MAX);
        within("breaker_failures_max", self.breaker_failures_max.into(), 1, 1_000_000);
        within("probe_interval_ms", self.probe_interval_ms, 10, 60_000);
        within("heartbeat_interval_ms", self.heartbeat_interval_ms, 10, 60_000);
        within("batch_skus_max", self.batch_skus_max as u64, 1, 1_000);
        within("calls_in_flight_max", self.calls_in_flight_max as u64, 1, 10_000);
        within("queue_calls_max", self.queue_calls_max as u64, 1, 100_000);
        if self.take_lapse_ms <= self.response_timeout_ms {
            problems.push(format!(
                "gate.take_lapse_ms ({}) must be more than gate.response_timeout_ms ({}), else takes lapse before they are answered",
                self.take_lapse_ms, self.response_timeout_ms
            ));
        }
        problems
    }

    pub(super) fn response_timeout(&self) -> Duration {
        Duration::from_millis(self.response_timeout_ms)
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn probe_interval(&self) -> Duration {
        Duration::from_millis(self.probe_interval_ms)
    }

    pub(super) fn heartbeat_interval(&self) -> Duration {
        Duration::from_millis(self.heartbeat_interval_ms)
    }
}

const fn calls_in_flight_max() -> usize {
    256
}

/// The scripts take a later lapse for the trace of a clock that was set back.
const TAKE_LAPSE_MS_MAX: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use holdfast_kit::config::load_with;

    #[test]
    fn the_documented_defaults_are_those_of_the_code() {
        let given = [
            ("HOLDFAST_RESERVATION__GATE__URL", "redis://127.0.0.1"),
            ("HOLDFAST_RESERVATION__POSTGRES__URL", "postgres://127.0.0.1/x"),
        ];
        let environment = given.map(|(key, value)| (key.into(), value.into()));
        let read = load_with::<Config>(None, environment).unwrap().gate;
        let coded = GateConfig::new(SecretString::from("redis://127.0.0.1"));
        assert_eq!(format!("{read:?}"), format!("{coded:?}"));
    }

    fn problems_of(url: &str) -> Vec<String> {
        GateConfig::new(SecretString::from(url)).problems()
    }

    #[test]
    fn the_defaults_are_fit_to_start_with() {
        assert_eq!(problems_of("redis://user:password@127.0.0.1:6379"), Vec::<String>::new());
        assert_eq!(problems_of("redis+unix:///run/redis.sock?user=u&pass=p"), Vec::<String>::new());
    }

    #[test]
    fn a_url_that_cannot_be_used_is_named_without_its_password() {
        for url in [
            "",
            "hunter2",
            "rediss://u:hunter2@localhost",
            "http://u:hunter2@localhost",
            "redis://u:hunter2@localhost/3",
        ] {
            let problems = problems_of(url);
            assert_eq!(problems.len(), 1, "{url}: {problems:?}");
            assert!(problems[0].starts_with("gate.url ") && !problems[0].contains("hunter2"), "{problems:?}");
        }
    }

    #[test]
    fn every_number_out_of_range_is_reported_at_once() {
        let mut config = GateConfig::new(SecretString::from("redis://127.0.0.1"));
        config.response_timeout_ms = 0;
        config.connect_timeout_ms = 0;
        config.take_lapse_ms = 60_001;
        config.breaker_failures_max = 0;
        config.probe_interval_ms = 0;
        config.heartbeat_interval_ms = 0;
        config.batch_skus_max = 0;
        config.calls_in_flight_max = 0;
        config.queue_calls_max = 0;
        assert_eq!(config.problems().len(), 9, "{:?}", config.problems());
    }

    #[test]
    fn a_take_must_outlive_the_wait_for_its_answer() {
        let mut config = GateConfig::new(SecretString::from("redis://127.0.0.1"));
        config.take_lapse_ms = config.response_timeout_ms;
        assert_eq!(config.problems().len(), 1);
    }
}
