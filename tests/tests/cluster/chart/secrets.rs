//! The stores of an example, and its Secrets, as the chart's README has its user make them.

use std::collections::BTreeMap;
use std::path::Path;

use holdfast_stack::kubernetes::Rendered;
use holdfast_stack::kubernetes::objects::Texts;
use holdfast_stack::ports::Port;
use holdfast_testkit::{PrivatePostgres, PrivateRedis, PrivateRedisCluster};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

use super::Chart;

/// The stores that an example needs and that are not every test's.
#[derive(Default)]
pub(super) struct Stores {
    pub(super) postgres: Option<PrivatePostgres>,
    pub(super) redis: Option<PrivateRedis>,
    /// Where it speaks TLS.
    pub(super) redis_tls_port: u16,
    /// Who certified them, in PEM.
    pub(super) ca: String,
    pub(super) redis_cluster: Option<PrivateRedisCluster>,
}

impl Stores {
    /// `folder` is for files that they read.
    pub(super) async fn of(example: &str, folder: &Path) -> Self {
        match example {
            "production" => Self::certified(folder).await,
            "redis-cluster" => {
                let cluster = holdfast_testkit::redis_cluster(3, 0).await;
                Self { redis_cluster: Some(cluster), ..Self::default() }
            }
            _ => Self::default(),
        }
    }

    /// Stores that prove who they are.
    async fn certified(folder: &Path) -> Self {
        let authority = Authority::new();
        let (certificate, key) = authority.certify("holdfast-pg-rw");
        let postgres = holdfast_testkit::private_postgres_with_tls(&certificate, &key).await;
        let (certificate, key) = authority.certify("holdfast-redis");
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).expect("the folder is ours");
            path.display().to_string()
        };
        let port = Port::early("Redis by TLS").expect("a free port");
        // Its own port goes on speaking in the clear: to the tests.
        let tls = format!(
            "tls-port {port}\ntls-cert-file {}\ntls-key-file {}\ntls-auth-clients no",
            file("redis.crt", &certificate),
            file("redis.key", &key),
        );
        let redis = holdfast_testkit::redis_with(&tls).await;
        let ca = authority.ca;
        Self { postgres: Some(postgres), redis: Some(redis), redis_tls_port: port, ca, redis_cluster: None }
    }
}

/// An authority that certifies hosts.
struct Authority {
    ca: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).expect("it may").pem();
        Self { ca, issuer: Issuer::new(params, key) }
    }

    /// A host's certificate with its key.
    fn certify(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        // Of the same name as its authority it would pass for self-signed.
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, host);
        (params.signed_by(&key, &self.issuer).expect("it may").pem(), key.serialize_pem())
    }
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
