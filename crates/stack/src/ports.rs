//! Free ports for servers that cannot be handed a listening socket.

use std::net::{Ipv4Addr, TcpListener};

use crate::error::{Result, StackError};

/// A port to listen on: by number, or any that is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Port {
    /// Whatever is free now. Somebody may take it before the server does: start again with another one then.
    #[default]
    Free,
    /// This one and no other.
    Fixed(u16),
}

impl From<Option<u16>> for Port {
    fn from(port: Option<u16>) -> Self {
        port.filter(|port| *port != 0).map_or(Self::Free, Self::Fixed)
    }
}

impl Port {
    /// Picks the number for `what`.
    ///
    /// # Errors
    ///
    /// [`StackError::PortInUse`] when a fixed port is taken, [`StackError::Io`] when the system has no free port.
    pub fn pick(self, what: &str) -> Result<u16> {
        match self {
            Self::Free => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
                let port = listener.and_then(|listener| listener.local_addr()).map(|address| address.port());
                port.map_err(|error| StackError::io("looking for a free port", error))
            }
            Self::Fixed(port) => match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                Ok(_listener) => Ok(port),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    Err(StackError::PortInUse { what: what.into(), port })
                }
                Err(error) => Err(StackError::io(format!("listening on port {port} for {what}"), error)),
            },
        }
    }
}
