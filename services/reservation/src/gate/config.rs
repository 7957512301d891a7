//! What can be set about the gate.

use super::access;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The section `[gate]`: how to reach Redis and how long to wait for it. Its documentation for operators is `config.default.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateConfig {
    /// One Redis, or Redis Cluster.
    pub mode: Mode,
    /// Where Redis listens and as whom; secret, for the password that may be in it. In a cluster one or more of its nodes, separated by commas.
    pub url: SecretString,
    /// The file with the URL, read again for every connection; empty: none.
    pub url_file: PathBuf,
    /// The Redis user, instead of the URL's; empty: the URL's.
    pub user: String,
    /// Its password, instead of the URL's; empty: the URL's.
    pub password: SecretString,
    /// The file with the password, read again for every connection; empty: none.
    pub password_file: PathBuf,
    /// The authority whose certificates are accepted, in PEM; empty: the system's.
    pub ca_file: PathBuf,
    /// The certificate that is shown to Redis, in PEM; empty: none.
    pub client_cert_file: PathBuf,
    /// The certificate's key, in PEM.
    pub client_key_file: PathBuf,
    /// How long a call waits for its answer from its turn on, in milliseconds, 1 to 10,000.
    pub response_timeout_ms: u64,
    /// How long opening a connection may take, in milliseconds, 1 to 60,000.
    pub connect_timeout_ms: u64,
    /// How long a take holds its units back when nobody gives it back, in milliseconds, 10 to 60,000.
    pub take_lapse_ms: u64,
    /// Calls in a row that may fail before a Redis is no longer asked, 1 or more.
    pub breaker_failures_max: u32,
    /// How often a Redis is tried while it is not asked, in milliseconds, 10 to 60,000.
    pub probe_interval_ms: u64,
    /// How often a connection is tried that seems to be well, in milliseconds, 10 to 60,000; as often a cluster is asked who has which slots.
    pub heartbeat_interval_ms: u64,
    /// SKUs published, read or reconciled in one round trip, 1 to 1,000.
    pub batch_skus_max: usize,
    /// Calls that may be on their way to one Redis at once, 1 to 10,000. Too low: round trips are not used. Too high: in a rush calls wait in the connection until their time
    /// is over, and a living Redis counts as dead.
    #[serde(default = "calls_in_flight_max")]
    pub calls_in_flight_max: usize,
    /// Calls that may wait for their turn, 1 to 100,000; one more is answered at once that nothing is known.
    pub queue_calls_max: usize,
    /// How a cart over several SKUs is asked for.
    pub carts: Carts,
}

/// What kind of Redis is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One Redis, or a name behind which there is always one master.
    Single,
    /// Redis Cluster.
    Cluster,
}

/// How a cart over several SKUs is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Carts {
    /// As the mode allows: in one call to a single Redis, SKU by SKU in a cluster.
    Auto,
    /// All SKUs in one call, all or nothing in one step. Needs one Redis that has all keys.
    OneCall,
    /// One call per SKU, ascending; what was taken is given back when a later SKU is refused. No call spans two hash
    /// slots, as Redis Cluster demands.
    SkuBySku,
}

impl GateConfig {
    /// The defaults with this URL.
    #[must_use]
    pub fn new(url: SecretString) -> Self {
        Self {
            mode: Mode::Single,
            url,
            url_file: PathBuf::new(),
            user: String::new(),
            password: SecretString::default(),
            password_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            client_cert_file: PathBuf::new(),
            client_key_file: PathBuf::new(),
            response_timeout_ms: 50,
            connect_timeout_ms: 500,
            take_lapse_ms: 1_000,
            breaker_failures_max: 5,
            probe_interval_ms: 100,
            heartbeat_interval_ms: 1_000,
            batch_skus_max: 128,
            calls_in_flight_max: calls_in_flight_max(),
            queue_calls_max: 4_096,
            carts: Carts::Auto,
        }
    }

    /// What is wrong with these values, each problem naming its key; empty when the gate can start with them.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.access_problems();
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

    /// What is wrong with where Redis is and how one gets in.
    fn access_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        // No error of a URL that cannot be read is quoted: it may quote the password.
        let uses_tls = match access::addresses(self.url.expose_secret(), self.mode) {
            Err(problem) => {
                problems.push(format!("gate.url {problem}"));
                None
            }
            Ok(addresses) => Some(access::is_tls(&addresses)),
        };
        let given = |path: &Path| !path.as_os_str().is_empty();
        for (key, path) in [
            ("ca_file", &self.ca_file),
            ("client_cert_file", &self.client_cert_file),
            ("client_key_file", &self.client_key_file),
        ] {
            if given(path) && uses_tls == Some(false) {
                problems.push(format!("gate.{key} is for TLS: let gate.url begin with rediss://"));
            } else if given(path)
                && let Err(error) = std::fs::read(path)
            {
                problems.push(format!("gate.{key}: cannot read {}: {error}", path.display()));
            }
        }
        if given(&self.client_cert_file) != given(&self.client_key_file) {
            problems.push("gate.client_cert_file and gate.client_key_file need each other".to_owned());
        }
        if !self.user.is_empty()
            && self.password.expose_secret().is_empty()
            && !access::has_password(self.url.expose_secret(), self.mode)
        {
            problems.push("gate.user needs gate.password_file, gate.password, or a password in gate.url".to_owned());
        }
        if self.mode == Mode::Cluster && self.carts == Carts::OneCall {
            problems.push("gate.carts must not be \"one_call\" in a cluster: no call may span two slots".to_owned());
        }
        problems
    }

    /// Whether a cart is asked for SKU by SKU.
    pub(super) fn is_sku_by_sku(&self) -> bool {
        match (self.carts, self.mode) {
            (Carts::SkuBySku, _) | (Carts::Auto, Mode::Cluster) => true,
            (Carts::OneCall, _) | (Carts::Auto, Mode::Single) => false,
        }
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
        assert_eq!(problems_of("rediss://user:password@127.0.0.1:6379"), Vec::<String>::new());
        assert_eq!(problems_of("redis+unix:///run/redis.sock?user=u&pass=p"), Vec::<String>::new());
    }

    #[test]
    fn a_url_that_cannot_be_used_is_named_without_its_password() {
        for url in [
            "",
            "hunter2",
            "rediss://u:hunter2@localhost/#insecure",
            "redis://u:hunter2@localhost,localhost",
            "redis://u:hunter2@localhost:6379,localhost:6380",
            "http://u:hunter2@localhost",
            "redis://u:hunter2@localhost/3",
        ] {
            let problems = problems_of(url);
            assert_eq!(problems.len(), 1, "{url}: {problems:?}");
            assert!(problems[0].starts_with("gate.url ") && !problems[0].contains("hunter2"), "{problems:?}");
        }
    }

    fn cluster(url: &str) -> GateConfig {
        GateConfig { mode: Mode::Cluster, ..GateConfig::new(SecretString::from(url)) }
    }

    #[test]
    fn a_cluster_may_be_named_by_several_of_its_nodes() {
        for url in [
            "redis://u:p@a:7000",
            "redis://u:p@a:7000,redis://u:p@b:7001",
            "redis://u:p@a:7000, b:7001,c",
            "rediss://a,b",
        ] {
            assert_eq!(cluster(url).problems(), Vec::<String>::new(), "{url}");
        }
    }

    #[test]
    fn a_cluster_that_cannot_be_asked_is_refused_without_its_password() {
        for url in [
            "",
            "redis://u:hunter2@a,",
            "redis://u:hunter2@a,rediss://u:hunter2@b",
            "redis://u:hunter2@a,redis://v:hunter2@b",
            "redis://u:hunter2@a/1",
            "redis+unix:///run/redis.sock?user=u&pass=hunter2",
        ] {
            let problems = cluster(url).problems();
            assert_eq!(problems.len(), 1, "{url}: {problems:?}");
            assert!(problems[0].starts_with("gate.url ") && !problems[0].contains("hunter2"), "{problems:?}");
        }
        let mut config = cluster("redis://a");
        config.carts = Carts::OneCall;
        assert!(config.problems()[0].contains("gate.carts"));
    }

    #[test]
    fn carts_are_asked_for_as_the_mode_allows() {
        let mut config = cluster("redis://a");
        assert!(config.is_sku_by_sku());
        config.mode = Mode::Single;
        assert!(!config.is_sku_by_sku());
        config.carts = Carts::SkuBySku;
        assert!(config.is_sku_by_sku());
    }

    #[test]
    fn certificates_and_users_that_cannot_be_used_are_named() {
        let mut plain = GateConfig::new(SecretString::from("redis://127.0.0.1"));
        plain.ca_file = "/etc/ssl/certs".into();
        plain.user = "somebody".to_owned();
        let problems = plain.problems();
        assert!(problems[0].contains("gate.ca_file is for TLS") && problems[1].contains("gate.user"), "{problems:?}");
        let mut tls = GateConfig::new(SecretString::from("rediss://127.0.0.1"));
        tls.client_cert_file = "/nowhere/cert.pem".into();
        let problems = tls.problems();
        assert!(problems[0].contains("/nowhere/cert.pem") && problems[1].contains("need each other"), "{problems:?}");
        assert_eq!(problems.len(), 2);
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
