//! TLS to a real Postgres: who is believed, and who is not.

use holdfast_kit::pg::{ConnectError, connect};
use holdfast_kit::{Common, PostgresConfig};
use holdfast_testkit::PrivatePostgres;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::pg::PROGRAM;

/// A certificate authority.
struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate for a host, and its key.
    fn certify(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

struct World {
    postgres: PrivatePostgres,
    folder: TempDir,
}

impl World {
    /// The right CA's file, and another's.
    async fn start() -> Self {
        let (right, other) = (Authority::new("right"), Authority::new("other"));
        let (certificate, key) = right.certify("localhost");
        let postgres = holdfast_testkit::private_postgres_with_tls(&certificate, &key).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("right.crt"), right.certificate).unwrap();
        std::fs::write(folder.path().join("other.crt"), other.certificate).unwrap();
        Self { postgres, folder }
    }

    fn config(&self, host: &str, parameters: &str) -> PostgresConfig {
        let folder = self.folder.path().display().to_string();
        let mut config = Common::default().postgres;
        let parameters = parameters.replace("FOLDER", &folder);
        config.url = format!("postgres://{host}:{}/postgres?{parameters}", self.postgres.port()).into();
        (config.user, config.password) = ("postgres".into(), self.postgres.info().password.clone().into());
        config.connect_seconds_max = 0;
        config
    }

    /// Whether the connection is encrypted.
    async fn encrypted(&self, host: &str, parameters: &str) -> Result<bool, ConnectError> {
        let pool = connect(&self.config(host, parameters), PROGRAM).await?;
        let query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        Ok(sqlx::query_scalar(query).fetch_one(&pool).await.unwrap())
    }
}

#[tokio::test]
async fn verify_full_believes_the_right_authority_for_the_right_host_only() {
    let world = World::start().await;
    let by = |authority: &str| format!("sslmode=verify-full&sslrootcert=FOLDER/{authority}.crt");
    assert!(world.encrypted("localhost", &by("right")).await.unwrap());
    for (host, authority, expected) in [
        ("localhost", "other", "UnknownIssuer"),
        ("127.0.0.1", "right", "not valid for name"),
        ("localhost", "missing", "No such file"),
    ] {
        let refused = world.encrypted(host, &by(authority)).await.unwrap_err();
        assert!(refused.to_string().contains(expected), "{host} by {authority}: {refused}");
    }
    // Without a file the system's authorities are asked, who do not know it.
    let refused = world.encrypted("localhost", "sslmode=verify-full").await.unwrap_err();
    assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");
    // verify-ca looks at the authority, not at the name.
    assert!(world.encrypted("127.0.0.1", "sslmode=verify-ca&sslrootcert=FOLDER/right.crt").await.unwrap());
    world.encrypted("127.0.0.1", "sslmode=verify-ca&sslrootcert=FOLDER/other.crt").await.unwrap_err();
}

#[tokio::test]
async fn require_encrypts_to_whomever_and_disable_does_not() {
    let world = World::start().await;
    assert!(world.encrypted("127.0.0.1", "sslmode=require").await.unwrap());
    assert!(world.encrypted("127.0.0.1", "").await.unwrap(), "it is preferred");
    assert!(!world.encrypted("127.0.0.1", "sslmode=disable").await.unwrap());
}

#[tokio::test]
async fn require_does_not_fall_back_to_a_server_without_tls() {
    let postgres = holdfast_testkit::private_postgres(false).await;
    let mut config = Common::default().postgres;
    config.url = format!("postgres://127.0.0.1:{}/postgres?sslmode=require", postgres.port()).into();
    (config.user, config.password) = ("postgres".into(), postgres.info().password.clone().into());
    config.connect_seconds_max = 0;
    let refused = connect(&config, PROGRAM).await.unwrap_err();
    assert!(refused.to_string().contains("does not support TLS"), "{refused}");
}
