//! How one gets in: TLS, users whose password changes, and a name that leads to another server than before.

use crate::log;
use crate::world::{MISSING, PATIENCE, World, answers, granted, is_granted, publish, reaches, take, world, world_with};
use holdfast_reservation::gate::{Gate, GateConfig, GateState, Taken};
use holdfast_stack::proxy::Proxy;
use holdfast_testkit::eventually;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use secrecy::SecretString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use tempfile::TempDir;

/// An authority, and a Redis that shows a certificate of its to whoever comes by TLS.
struct Secured {
    world: World,
    port: u16,
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

pub(crate) fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Whatever a certificate is for, it lasts.
pub(crate) fn certificate(of: &CertifiedIssuer<'static, KeyPair>, names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    // Of the same name as its authority it would pass for self-signed.
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "somebody");
    (params.signed_by(&key, of).unwrap().pem(), key.serialize_pem())
}

/// `clients`: whether clients must show a certificate, as Redis has it.
async fn secured(names: &[&str], clients: &str) -> Secured {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority();
    let (certificate, key) = certificate(&authority, names);
    let file = |name: &str, text: &str| write(&folder, name, text).display().to_string();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let extra = format!(
        "tls-port {port}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients {clients}",
        file("redis.pem", &certificate),
        file("redis.key", &key),
        file("ca.pem", &authority.pem()),
    );
    Secured { world: world_with(&extra).await, port, folder, authority }
}

pub(crate) fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

impl Secured {
    async fn gate(&self, host: &str, change: impl FnOnce(&mut GateConfig)) -> Gate {
        let url = SecretString::from(format!("rediss://limited:p4ss@{host}:{}", self.port));
        let ca_file = self.folder.path().join("ca.pem");
        self.world
            .gate_with(|config| {
                config.url = url;
                config.ca_file = ca_file;
                change(config);
            })
            .await
    }
}

#[tokio::test]
async fn a_redis_is_asked_by_tls_if_a_known_authority_vouches_for_its_name() {
    let secured = secured(&["localhost", "127.0.0.1"], "no").await;
    for host in ["localhost", "127.0.0.1"] {
        let gate = secured.gate(host, |_| {}).await;
        assert_eq!(gate.state(), GateState::Up);
        publish(&gate, "A", 1).await;
        let Taken::Granted(_) = take(&gate, 1, &[("A", 1)]).await else { panic!("by {host}") };
    }
}

#[tokio::test]
async fn a_redis_that_another_authority_vouches_for_is_not_trusted() {
    let secured = secured(&["localhost"], "no").await;
    let heard = log::listen();
    let other = write(&secured.folder, "other.pem", &authority().pem());
    let gate = secured.gate("localhost", |config| config.ca_file = other).await;
    assert_eq!(gate.state(), GateState::Down);
    assert!(heard.text().contains("invalid peer certificate"), "{}", heard.text());
    assert!(!heard.text().contains("gate.url begins"), "no guess is needed: {}", heard.text());
    // And neither is it by the authorities of the system.
    let gate = secured.gate("localhost", |config| config.ca_file = PathBuf::new()).await;
    assert_eq!(gate.state(), GateState::Down);
}

#[tokio::test]
async fn a_redis_of_another_name_is_not_trusted() {
    let secured = secured(&["redis.example"], "no").await;
    let heard = log::listen();
    let gate = secured.gate("localhost", |_| {}).await;
    assert_eq!(gate.state(), GateState::Down);
    assert!(heard.text().contains("not valid for name"), "{}", heard.text());
}

#[tokio::test]
async fn a_redis_that_asks_for_a_certificate_is_shown_one() {
    let secured = secured(&["localhost"], "yes").await;
    let without = secured.gate("localhost", |_| {}).await;
    assert_eq!(without.state(), GateState::Down);
    let (cert, key) = certificate(&secured.authority, &["reservation"]);
    let (cert, key) = (write(&secured.folder, "gate.pem", &cert), write(&secured.folder, "gate.key", &key));
    let gate = secured
        .gate("localhost", |config| {
            config.client_cert_file = cert;
            config.client_key_file = key;
        })
        .await;
    assert_eq!(gate.state(), GateState::Up);
    publish(&gate, "A", 1).await;
    assert!(granted(&gate, 1, &[("A", 1)]).await);
}

#[tokio::test]
async fn the_log_tells_who_speaks_tls_and_who_does_not() {
    let secured = secured(&["localhost"], "no").await;
    let heard = log::listen();
    let url = SecretString::from(format!("redis://limited:p4ss@localhost:{}", secured.port));
    let gate = secured.world.gate_with(|config| config.url = url).await;
    assert_eq!(gate.state(), GateState::Down);
    assert!(heard.text().contains("gate.url begins with rediss://"), "{}", heard.text());

    let url = SecretString::from(format!("rediss://limited:p4ss@localhost:{}", secured.world.redis.port()));
    let gate = secured
        .gate("localhost", |config| {
            config.url = url;
            config.connect_timeout_ms = 500;
        })
        .await;
    assert_eq!(gate.state(), GateState::Down);
    assert!(heard.text().contains("gate.url begins with redis://"), "{}", heard.text());
    assert!(!heard.text().contains("p4ss"), "{}", heard.text());
}

#[tokio::test]
async fn a_user_and_password_beside_the_url_are_used_instead_of_its_own() {
    let world = world().await;
    let url = format!("redis://nobody:wrong@127.0.0.1:{}", world.redis.port());
    let gate = world
        .gate_with(|config| {
            config.url = SecretString::from(url);
            config.user = "limited".to_owned();
            config.password = SecretString::from("p4ss");
        })
        .await;
    assert_eq!(gate.state(), GateState::Up);
}

#[tokio::test]
async fn a_password_that_changes_is_read_again_for_the_next_connection() {
    let world = world().await;
    let folder = tempfile::tempdir().unwrap();
    let file = write(&folder, "password", "p4ss\n");
    let gate = world
        .gate_with(|config| {
            config.url = SecretString::from(format!("redis://127.0.0.1:{}", world.redis.port()));
            config.user = "limited".to_owned();
            config.password = SecretString::from("as it was when the process started");
            config.password_file = file;
            config.heartbeat_interval_ms = 20;
        })
        .await;
    publish(&gate, "A", 9).await;
    world.ask::<()>("ACL SETUSER limited resetpass >n3w").await;
    assert!(granted(&gate, 1, &[("A", 1)]).await, "who is in stays in");
    world.ask::<i64>("CLIENT KILL USER limited").await;
    eventually("the old password is refused", PATIENCE, || async {
        (gate.state() == GateState::Down && world.count("probe", "failed") > 2).then_some(())
    })
    .await;
    write(&folder, "password", "n3w\n");
    reaches(&gate, GateState::Up).await;
    assert!(granted(&gate, 2, &[("A", 1)]).await);
}

#[tokio::test]
async fn a_url_that_changes_in_its_file_is_read_again() {
    let (first, second) = (world().await, world().await);
    let folder = tempfile::tempdir().unwrap();
    let file = write(&folder, "url", &first.url());
    let gate = first.gate_with(|config| config.url_file = file).await;
    publish(&gate, "A", 9).await;
    write(&folder, "url", &second.url());
    first.ask::<i64>("CLIENT KILL USER limited").await;
    answers(&gate, &[("A", 1)], |taken| *taken == MISSING).await;
    assert_eq!(gate.state(), GateState::Up);
}

#[tokio::test]
async fn a_demoted_master_is_left_for_whoever_has_its_name_now() {
    let (old, new) = (world().await, world().await);
    let at = |world: &World| SocketAddr::from((Ipv4Addr::LOCALHOST, world.redis.port()));
    let name = Proxy::start(at(&old)).await.unwrap();
    let url = SecretString::from(format!("redis://limited:p4ss@{}", name.address()));
    let gate = old
        .gate_with(|config| {
            config.url = url;
            config.heartbeat_interval_ms = 60_000;
        })
        .await;
    publish(&gate, "A", 9).await;
    // The name moves first, and the connection stays: only what the old master says can tell.
    name.lead_to(at(&new));
    assert!(granted(&gate, 1, &[("A", 1)]).await);
    old.ask::<()>("REPLICAOF 127.0.0.1 1").await;
    // Demoted under our feet, or in the middle of a script: unknown, and never a no.
    assert!(!matches!(take(&gate, 2, &[("A", 1)]).await, Taken::Granted(_) | Taken::Refused));
    answers(&gate, &[("A", 1)], |taken| *taken == MISSING).await;
    publish(&gate, "A", 1).await;
    answers(&gate, &[("A", 1)], is_granted).await;
    assert_eq!(old.count("take", "read_only"), 1, "one such answer is enough");
}
