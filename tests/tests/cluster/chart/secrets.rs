//! The stores of an example, and its Secrets, as the chart's README has its user make them.

use std::collections::BTreeMap;

use holdfast_stack::kubernetes::Rendered;
use holdfast_stack::kubernetes::objects::Texts;
use holdfast_testkit::{PrivatePostgres, PrivateRedisCluster};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::Chart;

/// The stores that an example needs and that are not every test's.
#[derive(Default)]
pub(super) struct Stores {
    pub(super) postgres: Option<PrivatePostgres>,
    /// Who certified it, in PEM.
    pub(super) ca: String,
    pub(super) redis_cluster: Option<PrivateRedisCluster>,
}

impl Stores {
    pub(super) async fn of(example: &str) -> Self {
        match example {
            "production" => {
                let (ca, certificate, key) = certified("holdfast-pg-rw");
                let postgres = holdfast_testkit::private_postgres_with_tls(&certificate, &key).await;
                Self { postgres: Some(postgres), ca, redis_cluster: None }
            }
            "redis-cluster" => {
                let cluster = holdfast_testkit::redis_cluster(3, 0).await;
                Self { redis_cluster: Some(cluster), ..Self::default() }
            }
            _ => Self::default(),
        }
    }
}

/// A new authority, and a host's certificate by it with its key.
fn certified(host: &str) -> (String, String, String) {
    let (authority, key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&authority).expect("it may").pem();
    let issuer = Issuer::new(params, authority);
    let host = CertificateParams::new(vec![host.to_owned()]).expect("a name");
    (ca, host.signed_by(&key, &issuer).expect("it may").pem(), key.serialize_pem())
}

pub(super) fn token(secret: &str, key: &str) -> String {
    format!("a-token-that-is-long-enough-{secret}-{key}")
}

impl Chart {
    /// Makes the Secrets that pods ask for.
    pub(super) fn provide(&self, rendered: &Rendered) {
        let mut secrets = BTreeMap::<String, Texts>::new();
        for (name, key) in rendered.secrets() {
            let text = self.content(&name, &key);
            secrets.entry(name).or_default().insert(key, text);
        }
        for (name, keys) in secrets {
            self.kubernetes.secret(&name, keys);
        }
    }

    /// What stands behind a key of a Secret, told by its name.
    fn content(&self, secret: &str, key: &str) -> String {
        let full = format!("{secret} {key}");
        let [catalog, vendor_sync] = self.cluster.others.as_slice() else { panic!("three databases") };
        let database = match () {
            () if full.contains("vendor-sync") => vendor_sync,
            () if full.contains("catalog") => catalog,
            () => &self.cluster.database,
        };
        let asks = |word: &str| full.contains(word);
        let redis = || match &self.redis_cluster {
            Some(cluster) => cluster.gate_url(),
            None => self.cluster.redis.gate_url(),
        };
        match key {
            "wrong-url" => "postgres://holdfast_reservation:wrong@127.0.0.1:1/nowhere".to_owned(),
            "wrong-redis-url" => "redis://127.0.0.1:1".to_owned(),
            "ca.crt" => self.ca.clone(),
            _ if key.ends_with("token") => token(secret, key),
            _ if key.ends_with("authorization") => format!("Bearer {}", token(secret, key)),
            _ if asks("redis") && key == "password" => password(&redis()),
            _ if asks("redis") => redis(),
            _ if asks("password") => database.password().to_owned(),
            _ if asks("migrate") || asks("owner") => database.owner_url(),
            _ if asks("url") || asks("uri") => database.url(),
            other => panic!("nobody knows what {other} of {secret} is"),
        }
    }
}

/// The password in a URL.
fn password(url: &str) -> String {
    let who = url.split_once("://").and_then(|(_, rest)| rest.split_once('@')).expect("a URL with a user").0;
    who.split_once(':').expect("a user with a password").1.to_owned()
}
