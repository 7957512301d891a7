//! A connection to one service: its endpoints, who we are, how long we wait, how often we try.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::channel::Change;
use tonic::transport::{Channel, Endpoint};

use crate::retry::{Budget, RetryPolicy};

/// The largest answer that is read, in bytes: a page of 500 reservations of 100 lines each fits.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A way to one service, shared by all its handles: channels, credentials, deadline, retries and their budget.
///
/// Cheap to clone. Connects when first used, and again by itself after a failure.
#[derive(Clone)]
pub struct Connection {
    pub(crate) channel: Channel,
    pub(crate) token: Option<MetadataValue<Ascii>>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) budget: Arc<Budget>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Connection {
    /// Starts a connection to the service at `endpoint`, for example `http://127.0.0.1:7002`.
    pub fn builder(endpoint: impl Into<String>) -> Builder {
        Builder { endpoints: vec![endpoint.into()], token: None, settings: Settings::default() }
    }

    /// Starts a connection to the service at these endpoints, with these settings.
    pub fn builder_with(endpoints: impl IntoIterator<Item = String>, settings: Settings) -> Builder {
        Builder { endpoints: endpoints.into_iter().collect(), token: None, settings }
    }

    /// The same connection, with calls that may take `deadline` in all. Channels and retry budget are shared.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        self.with_settings(|settings| settings.deadline = deadline)
    }

    /// The same connection, with another retry policy. Channels and retry budget are shared.
    #[must_use]
    pub fn with_retry(&self, retry: RetryPolicy) -> Self {
        self.with_settings(|settings| settings.retry = retry)
    }

    /// What this connection was built with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// For uploads: an attempt may take all of the deadline, for what it takes depends on the file.
    pub(crate) fn in_one_attempt(&self) -> Self {
        self.with_settings(|settings| settings.attempt_timeout = settings.deadline)
    }

    fn with_settings(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::clone(&self.settings);
        change(&mut settings);
        Self { settings: Arc::new(settings), ..self.clone() }
    }
}

/// How a connection behaves. The defaults suit a checkout.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How long a call may take in all, its retries and their pauses included. Sent to the server as `grpc-timeout`. Default 5 s.
    pub deadline: Duration,
    /// How long one attempt may take before the next; never longer than what is left of the deadline. Too short and a slow moment of the server's
    /// doubles its load; too long and a dead replica eats the deadline. Default 2 s.
    pub attempt_timeout: Duration,
    /// How long a TCP connection may take to open. Default 1 s.
    pub connect_timeout: Duration,
    /// How often an HTTP/2 ping asks whether the other side is still there, also while idle. Default 10 s.
    pub keepalive_interval: Duration,
    /// How long a ping may stay unanswered before the connection counts as dead. Default 5 s.
    pub keepalive_timeout: Duration,
    /// HTTP/2 connections to each endpoint, 1 to 64. One carries the server's limit of concurrent streams (100 to 256), which is enough for most
    /// callers; more is for load. Default 1.
    pub connections_per_endpoint: usize,
    /// When a call is sent again.
    pub retry: RetryPolicy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(1),
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
            connections_per_endpoint: 1,
            retry: RetryPolicy::default(),
        }
    }
}

/// Builds a [`Connection`].
#[derive(Clone)]
pub struct Builder {
    endpoints: Vec<String>,
    token: Option<String>,
    settings: Settings,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "(hidden)");
        f.debug_struct("Builder")
            .field("endpoints", &self.endpoints)
            .field("token", &token)
            .field("settings", &self.settings)
            .finish()
    }
}

impl Builder {
    /// Adds an endpoint; calls are spread over all of them.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoints.push(endpoint.into());
        self
    }

    /// Says who we are: sent as `authorization: Bearer …`.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// How long a call may take in all; see [`Settings::deadline`].
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline;
        self
    }

    /// When a call is sent again; see [`RetryPolicy`].
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.settings.retry = retry;
        self
    }

    /// HTTP/2 connections to each endpoint; see [`Settings::connections_per_endpoint`].
    #[must_use]
    pub fn connections_per_endpoint(mut self, connections: usize) -> Self {
        self.settings.connections_per_endpoint = connections;
        self
    }

    /// Builds the connection, without connecting yet. Call it within a Tokio runtime, which then drives the channels.
    ///
    /// # Errors
    /// [`BuildError`] if an endpoint, the token or a setting cannot be used. Nothing was sent.
    pub fn build(self) -> Result<Connection, BuildError> {
        check(&self.settings)?;
        if self.endpoints.is_empty() {
            return Err(BuildError::NoEndpoint);
        }
        let token = self.token.map(|token| bearer(&token)).transpose()?;
        let endpoints =
            self.endpoints.iter().map(|text| endpoint(text, &self.settings)).collect::<Result<Vec<_>, _>>()?;
        let budget = Arc::new(Budget::new(self.settings.retry.budget));
        let channel = channel(endpoints, self.settings.connections_per_endpoint);
        Ok(Connection { channel, token, settings: Arc::new(self.settings), budget })
    }
}

/// Why a connection cannot be built. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// No endpoint was given.
    #[error("no endpoint was given")]
    NoEndpoint,
    /// An endpoint is not a URL that can be used.
    #[error("{endpoint:?} is not an endpoint: {problem} (it looks like http://127.0.0.1:7002)")]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The token has characters that no header can carry.
    #[error("the token has characters that a header cannot carry")]
    Token,
    /// A setting is out of its range.
    #[error("{0}")]
    Setting(&'static str),
}

fn check(settings: &Settings) -> Result<(), BuildError> {
    if settings.deadline.is_zero() || settings.attempt_timeout.is_zero() {
        return Err(BuildError::Setting("deadline and attempt_timeout must be above zero"));
    }
    if !(1..=64).contains(&settings.connections_per_endpoint) {
        return Err(BuildError::Setting("connections_per_endpoint must be 1 to 64"));
    }
    if settings.retry.attempts_max == 0 {
        return Err(BuildError::Setting("retry.attempts_max must be at least 1"));
    }
    Ok(())
}

fn bearer(token: &str) -> Result<MetadataValue<Ascii>, BuildError> {
    let mut value = MetadataValue::try_from(format!("Bearer {token}")).map_err(|_| BuildError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn endpoint(text: &str, settings: &Settings) -> Result<Endpoint, BuildError> {
    let fail = |problem: String| BuildError::Endpoint { endpoint: text.to_owned(), problem };
    let endpoint = Endpoint::from_shared(text.to_owned()).map_err(|error| fail(error.to_string()))?;
    match endpoint.uri().scheme_str() {
        Some("http") => {}
        Some("https") => return Err(fail("TLS is not supported yet".to_owned())),
        Some(_) | None => return Err(fail("it does not begin with http://".to_owned())),
    }
    Ok(endpoint
        .user_agent(concat!("holdfast-client/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| fail(error.to_string()))?
        .connect_timeout(settings.connect_timeout)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(Duration::from_secs(30)))
        .http2_keep_alive_interval(settings.keepalive_interval)
        .keep_alive_timeout(settings.keepalive_timeout)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(16 * 1024))
}

/// One channel over all endpoints, each with its connections. Connections are made when needed and anew after a failure.
fn channel(mut endpoints: Vec<Endpoint>, connections_per_endpoint: usize) -> Channel {
    if endpoints.len() == 1 && connections_per_endpoint == 1 {
        return endpoints.remove(0).connect_lazy();
    }
    let (channel, changes) = Channel::balance_channel(endpoints.len() * connections_per_endpoint);
    for (number, endpoint) in endpoints.into_iter().enumerate() {
        for connection in 0..connections_per_endpoint {
            changes
                .try_send(Change::Insert((number, connection), endpoint.clone()))
                .expect("the queue has room for every connection");
        }
    }
    channel
}

/// Makes a unary call: `unary!(self, confirm, message)`, where `message` is made anew for each attempt.
macro_rules! unary {
    ($self:ident, $method:ident, $message:expr) => {{
        let send = |request| {
            let mut grpc = $self.grpc.clone();
            async move { grpc.$method(request).await }
        };
        $self.connection.call(|_open| $message, send).await
    }};
}
pub(crate) use unary;

/// The fields that a change is about.
#[expect(clippy::unnecessary_wraps, reason = "it is a message's field, and those are optional")]
pub(crate) fn mask(fields: &[&str]) -> Option<prost_types::FieldMask> {
    Some(prost_types::FieldMask { paths: fields.iter().map(|field| (*field).to_owned()).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_an_endpoint_is_refused_before_anything_is_sent() {
        for bad in ["", "127.0.0.1:7002", "ftp://x", "https://x:1", "http://[", "not a url"] {
            let built = Connection::builder(bad).build();
            assert!(matches!(built, Err(BuildError::Endpoint { .. })), "{bad:?}: {built:?}");
        }
    }

    #[tokio::test]
    async fn settings_out_of_range_are_refused() {
        let zero = Connection::builder("http://127.0.0.1:1").deadline(Duration::ZERO).build();
        assert!(matches!(zero, Err(BuildError::Setting(_))));
        let many = Connection::builder("http://127.0.0.1:1").connections_per_endpoint(65).build();
        assert!(matches!(many, Err(BuildError::Setting(_))));
        let token = Connection::builder("http://127.0.0.1:1").token("line\nbreak").build();
        assert!(matches!(token, Err(BuildError::Token)));
    }

    #[test]
    fn a_token_is_not_printed() {
        let builder = Connection::builder("http://127.0.0.1:1").token("s3cret");
        assert!(!format!("{builder:?}").contains("s3cret"));
    }
}
