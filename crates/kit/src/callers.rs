//! Who calls: callers known by a token, and the roles that they have.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// What a caller may be. The method tables say which methods each role may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A shop's checkout: reserves, confirms, releases, reads availability.
    Checkout,
    /// A person who looks after SKUs, vendors and feeds.
    Merchandiser,
    /// A person who runs Holdfast: adjusts, audits, repairs.
    Operator,
    /// The service vendor-sync.
    VendorSync,
    /// The service catalog.
    Catalog,
    /// The service reservation.
    Reservation,
    /// Whatever only looks.
    Monitor,
}

impl Role {
    /// All roles.
    pub const ALL: &[Self] = &[
        Self::Checkout,
        Self::Merchandiser,
        Self::Operator,
        Self::VendorSync,
        Self::Catalog,
        Self::Reservation,
        Self::Monitor,
    ];

    /// The name in configurations: `vendor-sync`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Checkout => "checkout",
            Self::Merchandiser => "merchandiser",
            Self::Operator => "operator",
            Self::VendorSync => "vendor-sync",
            Self::Catalog => "catalog",
            Self::Reservation => "reservation",
            Self::Monitor => "monitor",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who calls, as the server stack found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The name that the configuration gives the token; `anonymous` without one.
    pub name: Arc<str>,
    /// What the caller may be.
    pub roles: Arc<[Role]>,
}

impl Caller {
    /// A caller without name and roles.
    #[must_use]
    pub fn nobody() -> Self {
        Self::anonymous(&[])
    }

    /// Whether the caller has one of these roles.
    #[must_use]
    pub fn has_any(&self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.roles.contains(role))
    }

    fn anonymous(roles: &[Role]) -> Self {
        Self { name: Arc::from("anonymous"), roles: Arc::from(roles) }
    }
}

/// The section `[callers]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallersConfig {
    /// What a caller without a token may be.
    #[serde(default)]
    pub unauthenticated_roles: Vec<Role>,
    /// Callers with a token.
    #[serde(default)]
    pub list: Vec<CallerConfig>,
}

/// One caller: `[[callers.list]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallerConfig {
    /// The name in logs, metrics and audit rows.
    pub name: String,
    /// What it may be.
    pub roles: Vec<Role>,
    /// Its token; in files also `token_file`.
    pub token: SecretString,
}

/// A list of callers that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CallersError {
    /// Two callers could not be told apart.
    #[error("callers {0:?} and {1:?} have the same token: give each its own")]
    SameToken(String, String),
    /// Two callers have the same name.
    #[error("two callers are called {0:?}: names stand in logs and audits, give each its own")]
    SameName(String),
    /// A token that could be guessed.
    #[error("the token of caller {0:?} has fewer than {TOKEN_BYTES_MIN} bytes: make one with `openssl rand -hex 32`")]
    ShortToken(String),
}

/// The shortest token that is taken.
const TOKEN_BYTES_MIN: usize = 16;

/// Finds a caller by his token.
///
/// Only SHA-256 digests of the tokens are kept and looked up: how long a look-up takes depends on the digest of what was presented, which says nothing
/// about the tokens, so no comparison can be timed.
#[derive(Debug, Clone)]
pub struct Callers {
    by_digest: HashMap<[u8; 32], Caller>,
    anonymous: Caller,
}

impl Callers {
    /// Callers from the configuration.
    ///
    /// # Errors
    /// When two callers share a name or a token, or a token is too short.
    pub fn new(config: &CallersConfig) -> Result<Self, CallersError> {
        let mut by_digest: HashMap<[u8; 32], Caller> = HashMap::new();
        for CallerConfig { name, roles, token } in &config.list {
            if token.expose_secret().len() < TOKEN_BYTES_MIN {
                return Err(CallersError::ShortToken(name.clone()));
            }
            if by_digest.values().any(|other| *other.name == **name) {
                return Err(CallersError::SameName(name.clone()));
            }
            let caller = Caller { name: Arc::from(name.as_str()), roles: Arc::from(roles.as_slice()) };
            if let Some(other) = by_digest.insert(digest(token.expose_secret()), caller) {
                return Err(CallersError::SameToken(other.name.to_string(), name.clone()));
            }
        }
        Ok(Self { by_digest, anonymous: Caller::anonymous(&config.unauthenticated_roles) })
    }

    /// Who presents this `authorization` header. No header: the anonymous caller. A header that is not a known `Bearer` token: `None`, also where
    /// anonymous callers may do much, because somebody who presents a wrong token should hear of it.
    #[must_use]
    pub fn identify(&self, authorization: Option<&[u8]>) -> Option<Caller> {
        let Some(value) = authorization else { return Some(self.anonymous.clone()) };
        let (scheme, token) = value.split_at_checked(7)?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return None;
        }
        self.by_digest.get(&digest(std::str::from_utf8(token).ok()?.trim())).cloned()
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
