//! The two sockets of a service, bound before anything else is started.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use tokio::net::TcpListener;

use crate::config::ServerConfig;

/// The sockets of a service.
#[derive(Debug)]
pub struct Listeners {
    /// gRPC.
    pub grpc: TcpListener,
    /// HTTP without TLS: `/livez`, `/readyz`, `/metrics`.
    pub admin: TcpListener,
}

/// A socket that cannot be had. Nothing was started.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (server.{key}): {source}{}", hint(.source, .key))]
pub struct BindError {
    /// The key of the address.
    pub key: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

fn hint(error: &io::Error, key: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            ". Another process has this port: end it (`ss -ltnp` names it), or set server.{key} to another port (0 takes a free one)"
        ),
        io::ErrorKind::PermissionDenied => {
            format!(". Ports below 1024 need privileges: set server.{key} to a higher one")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!(". This machine does not have that address: set server.{key} to one it has")
        }
        _ => String::new(),
    }
}

impl Listeners {
    /// Binds both sockets.
    ///
    /// # Errors
    /// When one cannot be bound; the message says what to do. The other is closed again.
    pub async fn bind(config: &ServerConfig) -> Result<Self, BindError> {
        Ok(Self {
            grpc: bind("grpc_listen", config.grpc_listen).await?,
            admin: bind("admin_listen", config.admin_listen).await?,
        })
    }

    /// Free ports of 127.0.0.1, for tests.
    ///
    /// # Errors
    /// When there is none.
    pub async fn local() -> Result<Self, BindError> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self { grpc: bind("grpc_listen", any).await?, admin: bind("admin_listen", any).await? })
    }

    /// Where gRPC is served.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn grpc_address(&self) -> io::Result<SocketAddr> {
        self.grpc.local_addr()
    }

    /// Where the admin port is.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Writes both addresses to a file as JSON, `{"service", "pid", "grpc", "admin"}`, so that whoever started the process learns its ports. The file
    /// is written beside and renamed: it is there whole, or not at all.
    ///
    /// # Errors
    /// When the addresses cannot be asked for or the file cannot be written.
    pub fn announce(&self, service: &str, file: &Path) -> io::Result<()> {
        let text = json!({
            "service": service,
            "pid": std::process::id(),
            "grpc": self.grpc_address()?.to_string(),
            "admin": self.admin_address()?.to_string(),
        });
        let mut beside = file.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        fs::write(&beside, format!("{text}\n"))?;
        fs::rename(&beside, file)
    }
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { key, address, source })
}
