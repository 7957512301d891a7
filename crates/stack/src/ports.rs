//! Free ports for servers that cannot be handed a listening socket.

use std::hash::{BuildHasher as _, RandomState};
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

/// Where to look for a port that is told to others before its server listens: below the range from which systems give outgoing connections theirs, so that no
/// connection takes it meanwhile.
const EARLY: std::ops::Range<u16> = 20_000..32_000;

impl Port {
    /// Decides on a number before the server is there, so that others can be told it: services that call each other.
    ///
    /// # Errors
    ///
    /// [`StackError::PortInUse`] when a fixed port, or every port looked at, is taken.
    pub fn decide(self, what: &str) -> Result<Self> {
        match self {
            Self::Fixed(_) => self.pick(what),
            Self::Free => Self::early(what),
        }
        .map(Self::Fixed)
    }

    /// A free port for a server that others are told of before it listens. It is looked at once and let go: to look again would only meet somebody else who looks.
    ///
    /// # Errors
    ///
    /// [`StackError::PortInUse`] when every port looked at is taken.
    pub fn early(what: &str) -> Result<u16> {
        let seed = RandomState::new().hash_one(std::process::id());
        let first = u16::try_from(seed % u64::from(EARLY.end - EARLY.start)).unwrap_or(0);
        let count = EARLY.end - EARLY.start;
        let mut ports = (0..count).map(|step| EARLY.start + (first + step) % count);
        let port = ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
        port.ok_or_else(|| StackError::PortInUse { what: what.into(), port: EARLY.start })
    }

    /// The address for a gRPC client, if the number is known.
    pub fn url(self) -> Option<String> {
        match self {
            Self::Free => None,
            Self::Fixed(port) => Some(format!("http://{}:{port}", Ipv4Addr::LOCALHOST)),
        }
    }

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
