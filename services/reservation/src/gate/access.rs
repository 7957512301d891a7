//! Where Redis is and how one gets in: address, user, password, certificates.
//!
//! Files are read for every connection anew, so that a password or a certificate can change while the service runs. No error quotes a URL or a password.

use super::config::{GateConfig, Mode};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, TlsCertificates,
};
use secrecy::{ExposeSecret as _, SecretString};
use std::fmt;
use std::path::Path;
use std::sync::Once;

/// A node of a cluster, by what the cluster calls it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Node {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}:{}", self.host, self.port)
    }
}

/// Which Redis is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// The one that the configuration names.
    Configured,
    /// This node of the cluster.
    Node(Node),
}

impl fmt::Display for Target {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => to.write_str("as configured"),
            Self::Node(node) => node.fmt(to),
        }
    }
}

/// The addresses that a URL names, each as the library reads it; for a single Redis exactly one. Says what is wrong with it, to follow the key's name.
pub(super) fn addresses(url: &str, mode: Mode) -> Result<Vec<ConnectionInfo>, &'static str> {
    let not_one = "is not a Redis URL";
    if mode == Mode::Single && names_several(url) {
        return Err("names several nodes, which is for gate.mode = \"cluster\"");
    }
    let parts = match mode {
        Mode::Single => vec![url.to_owned()],
        Mode::Cluster => of_a_cluster(url).ok_or(not_one)?,
    };
    let infos: Result<Vec<_>, _> = parts.iter().map(|part| part.as_str().into_connection_info()).collect();
    let infos = infos.map_err(|_may_quote_the_password| not_one)?;
    let first = infos.first().ok_or(not_one)?;
    for info in &infos {
        if info.redis_settings().db() != 0 {
            return Err("names a database other than 0");
        }
        match info.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                return Err("asks for TLS without a look at certificates; name their authority in gate.ca_file");
            }
            ConnectionAddr::Unix(_) if mode == Mode::Cluster => {
                return Err("must name nodes of a cluster by host and port");
            }
            // What hosts of another kind may look like, connecting will tell.
            _ => {}
        }
        if is_tls(&infos) != matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Err("names nodes with TLS and nodes without");
        }
        let (one, other) = (first.redis_settings(), info.redis_settings());
        if (one.username(), one.password()) != (other.username(), other.password()) {
            return Err("names nodes with different users; one must do for all");
        }
    }
    Ok(infos)
}

fn names_several(url: &str) -> bool {
    let Some((_scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().is_some_and(|hosts| hosts.contains(','))
}

/// `redis://user:password@a:1,b:2` as a URL for each node: what only the first says holds for all.
fn of_a_cluster(url: &str) -> Option<Vec<String>> {
    let mut parts = url.split(',').map(str::trim);
    let first = parts.next()?;
    let (scheme, rest) = first.split_once("://")?;
    let credentials = rest.rsplit_once('@').map(|(credentials, _)| format!("{credentials}@")).unwrap_or_default();
    let mut urls = vec![first.to_owned()];
    for part in parts {
        if part.is_empty() {
            return None;
        }
        urls.push(if part.contains("://") { part.to_owned() } else { format!("{scheme}://{credentials}{part}") });
    }
    Some(urls)
}

/// Whether these addresses are reached by TLS.
pub(super) fn is_tls(addresses: &[ConnectionInfo]) -> bool {
    addresses.first().is_some_and(|info| matches!(info.addr(), ConnectionAddr::TcpTls { .. }))
}

/// Whether the URL brings a password.
pub(super) fn has_password(url: &str, mode: Mode) -> bool {
    let addresses = addresses(url, mode).unwrap_or_default();
    addresses.first().is_some_and(|info| info.redis_settings().password().is_some())
}

/// The nodes of a cluster that the configuration names.
///
/// # Errors
/// What is wrong with the URL, or with its file.
pub(super) fn seeds(config: &GateConfig) -> Result<Vec<Node>, String> {
    let infos = current_addresses(config)?;
    let node = |info: &ConnectionInfo| match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some(Node { host: host.clone(), port: *port })
        }
        _ => None,
    };
    Ok(infos.iter().filter_map(node).collect())
}

/// What connects to that Redis with what the files say now.
///
/// # Errors
/// What is wrong with the URL, or with a file.
pub(super) fn client(config: &GateConfig, target: &Target) -> Result<Client, String> {
    let infos = current_addresses(config)?;
    let uses_tls = is_tls(&infos);
    let info = infos.into_iter().next().ok_or("gate.url names no Redis")?;
    // RESP2, so that a URL cannot change the form of answers; no CLIENT SETINFO, which the Redis user may not do.
    let mut settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    if !config.user.is_empty() {
        settings = settings.set_username(&config.user);
    }
    let password = again(&config.password, &config.password_file, "gate.password_file")?;
    if !password.expose_secret().is_empty() {
        settings = settings.set_password(password.expose_secret());
    }
    let mut info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true)).set_redis_settings(settings);
    if let Target::Node(Node { host, port }) = target {
        let (host, port) = (host.clone(), *port);
        info = info.set_addr(match uses_tls {
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host, port),
        });
    }
    if !uses_tls {
        return Client::open(info).map_err(|error| error.to_string());
    }
    install_crypto();
    let client_tls = match (given(&config.client_cert_file), given(&config.client_key_file)) {
        (Some(cert), Some(key)) => Some(ClientTlsConfig {
            client_cert: bytes(cert, "gate.client_cert_file")?,
            client_key: bytes(key, "gate.client_key_file")?,
        }),
        _ => None,
    };
    let root_cert = given(&config.ca_file).map(|file| bytes(file, "gate.ca_file")).transpose()?;
    Client::build_with_tls(info, TlsCertificates { client_tls, root_cert }).map_err(|error| error.to_string())
}

fn current_addresses(config: &GateConfig) -> Result<Vec<ConnectionInfo>, String> {
    let url = again(&config.url, &config.url_file, "gate.url_file")?;
    addresses(url.expose_secret(), config.mode).map_err(|problem| format!("gate.url {problem}"))
}

/// The secret as its file has it now, without the line end that editors add; as it was given where there is no file.
fn again(secret: &SecretString, file: &Path, key: &str) -> Result<SecretString, String> {
    let Some(file) = given(file) else { return Ok(secret.clone()) };
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(key, file, &error))?;
    Ok(SecretString::from(text.trim_end_matches(['\r', '\n'])))
}

fn bytes(file: &Path, key: &str) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| unreadable(key, file, &error))
}

fn unreadable(key: &str, file: &Path, error: &std::io::Error) -> String {
    format!("{key}: cannot read {}: {error}", file.display())
}

fn given(path: &Path) -> Option<&Path> {
    (!path.as_os_str().is_empty()).then_some(path)
}

/// TLS computes with ring, once for the process; whoever was first has chosen it already.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _chosen_already = rustls::crypto::ring::default_provider().install_default();
    });
}
