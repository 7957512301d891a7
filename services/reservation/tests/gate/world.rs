//! A Redis or a cluster, the gate's limited user in it, an administrator who looks and breaks, and words for stock.

use holdfast_kit::Metrics;
use holdfast_reservation::gate::{
    Carts, Gate, GateConfig, GateMetrics, GateState, Mode, Publish, Published, Scope, Taken, UnknownCause,
};
use holdfast_stack::redis_cluster::ClusterTls;
use holdfast_stock::{Location, ReservationId, Sku, UnixMicros};
use holdfast_testkit::{PrivateRedis, PrivateRedisCluster, eventually};
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::time::Duration;

const ACL: &str = include_str!("../../redis.acl");
const USER: &str = "limited";
const PASSWORD: &str = "p4ss";

/// No machine is so busy that Redis needs this long, so a test that waits it out has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    /// The only one, unless there is a cluster.
    pub(crate) redis: PrivateRedis,
    pub(crate) cluster: Option<PrivateRedisCluster>,
    pub(crate) registry: Metrics,
    metrics: GateMetrics,
}

pub(crate) async fn world() -> World {
    world_with("").await
}

/// A world whose Redis has further lines in its configuration.
pub(crate) async fn world_with(extra: &str) -> World {
    World::make(holdfast_testkit::redis_with(extra).await, None).await
}

/// A world with a cluster of three masters.
pub(crate) async fn cluster_world() -> World {
    replicated_world(0).await
}

/// A world with a cluster of three masters and so many replicas of each.
pub(crate) async fn replicated_world(replicas_each: usize) -> World {
    let (redis, cluster) = tokio::join!(holdfast_testkit::redis(), holdfast_testkit::redis_cluster(3, replicas_each));
    World::make(redis, Some(cluster)).await
}

/// A world with a cluster of so many masters, each with so many replicas, whose nodes speak TLS.
pub(crate) async fn secured_world(masters: usize, replicas_each: usize, tls: ClusterTls) -> World {
    let cluster = holdfast_testkit::redis_cluster_with(masters, replicas_each, Some(tls));
    let (redis, cluster) = tokio::join!(holdfast_testkit::redis(), cluster);
    World::make(redis, Some(cluster)).await
}

/// Where A, B and LAMP lie in a cluster of three.
pub(crate) const LAMPS_NODE: usize = 1;

impl World {
    async fn make(redis: PrivateRedis, cluster: Option<PrivateRedisCluster>) -> Self {
        let registry = Metrics::new();
        let metrics = GateMetrics::register(&registry);
        let world = Self { redis, cluster, registry, metrics };
        world.make_user().await;
        world
    }

    /// Makes the limited user; again after a restart, which forgets it.
    pub(crate) async fn make_user(&self) {
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg(USER).arg("reset").arg("on").arg(format!(">{PASSWORD}"));
        for rule in ACL.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace) {
            command.arg(rule);
        }
        for url in self.admin_urls() {
            command.exec_async(&mut connection(&url).await).await.unwrap();
        }
    }

    /// Every server of the world; in a cluster the one that has A first.
    fn admin_urls(&self) -> Vec<String> {
        let Some(cluster) = &self.cluster else { return vec![self.redis.admin_url()] };
        let mut urls: Vec<String> = cluster.nodes().iter().map(|node| node.admin_url()).collect();
        let last = urls.len() - 1;
        urls.swap(0, LAMPS_NODE.min(last));
        urls
    }

    pub(crate) fn url(&self) -> String {
        let ports: Vec<u16> = match &self.cluster {
            Some(cluster) => cluster.nodes().iter().map(|node| node.port()).collect(),
            None => vec![self.redis.port()],
        };
        let nodes: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis://{USER}:{PASSWORD}@{}", nodes.join(","))
    }

    /// Ways to ask for a cart that this world allows.
    pub(crate) fn carts(&self) -> Vec<Carts> {
        match self.cluster {
            Some(_) => vec![Carts::Auto, Carts::SkuBySku],
            None => vec![Carts::OneCall, Carts::SkuBySku],
        }
    }

    /// The defaults, but with time for a machine that builds while it tests.
    pub(crate) fn config(&self) -> GateConfig {
        let mut config = GateConfig::new(SecretString::from(self.url()));
        config.response_timeout_ms = 10_000;
        config.connect_timeout_ms = 10_000;
        config.take_lapse_ms = 60_000;
        config.queue_calls_max = 100_000;
        config.probe_interval_ms = 20;
        if self.cluster.is_some() {
            config.mode = Mode::Cluster;
        }
        config
    }

    pub(crate) async fn gate(&self) -> Gate {
        self.gate_with(|_| {}).await
    }

    pub(crate) async fn gate_with(&self, change: impl FnOnce(&mut GateConfig)) -> Gate {
        let mut config = self.config();
        change(&mut config);
        if config.mode == Mode::Cluster && config.carts == Carts::OneCall {
            config.carts = Carts::Auto;
        }
        assert_eq!(config.problems(), Vec::<String>::new());
        Gate::connect(&config, self.metrics.clone()).await
    }

    /// A connection that may do everything.
    pub(crate) async fn admin(&self) -> MultiplexedConnection {
        connection(&self.admin_urls()[0]).await
    }

    /// One command of the administrator's, words separated by spaces; in a cluster to the node that has the key.
    pub(crate) async fn ask<T: FromRedisValue>(&self, words: &str) -> T {
        self.try_ask(words).await.unwrap_or_else(|error| panic!("{words}: {error}"))
    }

    pub(crate) async fn try_ask<T: FromRedisValue>(&self, words: &str) -> Result<T, RedisError> {
        let command = command(words);
        let mut answer = Err(RedisError::from((redis::ErrorKind::Client, "there is no server")));
        for url in self.admin_urls() {
            answer = command.query_async(&mut connection(&url).await).await;
            if answer.as_ref().err().and_then(RedisError::code) != Some("MOVED") {
                break;
            }
        }
        answer
    }

    /// A metric of the gate's, or 0.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.registry.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |number| number.parse().unwrap())
    }

    /// Answers of nodes that pointed elsewhere.
    pub(crate) fn redirects(&self, answer: &str) -> f64 {
        self.metric(&format!("holdfast_gate_redirects_total{{answer=\"{answer}\"}}"))
    }

    /// The metrics as text.
    pub(crate) fn count(&self, script: &str, outcome: &str) -> u64 {
        let start = format!("holdfast_gate_calls_total{{script=\"{script}\",outcome=\"{outcome}\"}} ");
        let text = self.registry.encode();
        text.lines().find_map(|line| line.strip_prefix(&start)).map_or(0, |number| number.parse().unwrap())
    }
}

async fn connection(url: &str) -> MultiplexedConnection {
    redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

fn command(words: &str) -> redis::Cmd {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    command
}

pub(crate) fn sku(text: &str) -> Sku {
    Sku::new(text).unwrap()
}

pub(crate) fn location(text: &str) -> Location {
    Location::new(text).unwrap()
}

/// Reservation number so-and-so.
pub(crate) fn id(number: u128) -> ReservationId {
    ReservationId::from_bytes(number.to_be_bytes())
}

pub(crate) fn cart(lines: &[(&str, i64)]) -> BTreeMap<Sku, i64> {
    lines.iter().map(|(text, units)| (sku(text), *units)).collect()
}

pub(crate) fn locations(units: &[(&str, i64)]) -> Vec<(Location, i64)> {
    units.iter().map(|(name, units)| (location(name), *units)).collect()
}

/// All that Postgres says about a SKU.
pub(crate) fn whole(text: &str, units: &[(&str, i64)]) -> Publish {
    Publish {
        sku: sku(text),
        read_at: UnixMicros(1_000),
        scope: Scope::Whole,
        locations: locations(units),
        taken_back: Vec::new(),
    }
}

/// What a commit says about some locations of a SKU, giving back the takes that it decided.
pub(crate) fn touched(text: &str, units: &[(&str, i64)], taken_back: &[(u128, i64)]) -> Publish {
    let taken_back = taken_back.iter().map(|(number, units)| (id(*number), *units)).collect();
    Publish { scope: Scope::Touched, taken_back, ..whole(text, units) }
}

pub(crate) fn record(text: &str, units: &[(&str, i64)]) -> Published {
    Published { sku: sku(text), locations: locations(units), at: UnixMicros(1_000) }
}

/// Publishes one SKU at one location.
pub(crate) async fn publish(gate: &Gate, text: &str, units: i64) {
    gate.publish(vec![whole(text, &[("WH", units)])]).await.unwrap();
}

pub(crate) async fn take(gate: &Gate, number: u128, lines: &[(&str, i64)]) -> Taken {
    gate.take(id(number), &cart(lines)).await
}

/// Whether the take was granted; panics if nothing is known.
pub(crate) async fn granted(gate: &Gate, number: u128, lines: &[(&str, i64)]) -> bool {
    match take(gate, number, lines).await {
        Taken::Granted(_) => true,
        Taken::Refused => false,
        Taken::Unknown(cause) => panic!("unknown: {cause:?}"),
    }
}

pub(crate) const MISSING: Taken = Taken::Unknown(UnknownCause::Missing);
pub(crate) const UNREACHABLE: Taken = Taken::Unknown(UnknownCause::Unreachable);
pub(crate) const TIMED_OUT: Taken = Taken::Unknown(UnknownCause::TimedOut);

/// Waits until the gate is in this state.
pub(crate) async fn reaches(gate: &Gate, state: GateState) {
    eventually(&format!("{state:?}"), PATIENCE, || async { (gate.state() == state).then_some(()) }).await;
}

/// Waits until the cart is answered like this, asking each time under a new id.
pub(crate) async fn answers(gate: &Gate, lines: &[(&str, i64)], wanted: impl Fn(&Taken) -> bool) -> Taken {
    let number = std::sync::atomic::AtomicU64::new(1 << 40);
    eventually("an answer", PATIENCE, || async {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Some(take(gate, number.into(), lines).await).filter(&wanted)
    })
    .await
}

pub(crate) fn is_granted(taken: &Taken) -> bool {
    matches!(taken, Taken::Granted(_))
}
