//! Fetches a file over HTTP: bounded in size, in time and in redirects, from addresses of the public internet only unless the configuration says otherwise.
//!
//! A name is resolved here and the connection made to the very address that was checked, for every redirect anew: asked twice, a name may answer differently.

mod body;
mod tls;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use url::{Host, Url};

use super::address::is_public;
use super::content::Content;
use crate::config::PullConfig;
use crate::store::Validators;
use tls::Tls;

/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 4;
/// The most bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The longest ETag or Last-Modified that is remembered, in bytes.
const VALIDATOR_BYTES_MAX: usize = 1024;
/// The longest name of a file, in bytes.
const FILE_NAME_BYTES_MAX: usize = 255;

/// What fetches.
#[derive(Debug)]
pub(super) struct Puller {
    config: PullConfig,
    credentials: HashMap<String, SecretString>,
    bytes_max: u64,
    tls: Tls,
}

/// What to fetch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    /// From where.
    pub(super) url: &'a str,
    /// By which credential; empty: none.
    pub(super) credential: &'a str,
    /// What the server said of the file that was fetched last.
    pub(super) validators: &'a Validators,
}

/// A file that was fetched.
#[derive(Debug)]
pub(super) struct Pulled {
    /// Its bytes, decoded.
    pub(super) content: Content,
    /// What the address calls it; may be empty.
    pub(super) file_name: String,
    /// When it was made, as far as the server says: Last-Modified, else Date.
    pub(super) as_of: Option<OffsetDateTime>,
    /// By what the server recognises it.
    pub(super) validators: Validators,
}

/// Why nothing was fetched. The messages are for people, and say nothing of the URL beyond its host: the rest may be a secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum PullError {
    /// The address cannot be used.
    #[error("the address cannot be used: {0}")]
    Address(String),
    /// The credential is not configured any more.
    #[error("no credential {0:?} is configured")]
    Credential(String),
    /// No server was reached.
    #[error("{host} cannot be reached: {problem}")]
    Unreachable {
        /// Which.
        host: String,
        /// Why.
        problem: String,
    },
    /// The server did not give the file.
    #[error("{host} answered {status}")]
    Status {
        /// Which.
        host: String,
        /// What it said.
        status: StatusCode,
    },
    /// The server leads somewhere where it must not be followed.
    #[error("a redirect of {host} is not followed: {problem}")]
    Redirect {
        /// Which.
        host: String,
        /// Why.
        problem: String,
    },
    /// What it gave is not whole, or not what it said.
    #[error("the answer broke off or cannot be read: {0}")]
    Body(String),
    /// It is larger than files may be.
    #[error("the file has more than the {0} bytes that are taken")]
    TooLarge(u64),
    /// It took too long.
    #[error("{0}")]
    Timeout(String),
}

/// A connection's driver, ended with the request.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Puller {
    /// As configured, for files of at most so many bytes.
    ///
    /// # Errors
    /// When the configured certificates cannot be used.
    pub(super) fn new(config: &PullConfig, bytes_max: u64) -> anyhow::Result<Self> {
        let credentials = config.credentials.iter();
        Ok(Self {
            config: config.clone(),
            credentials: credentials.map(|credential| (credential.name.clone(), credential.token.clone())).collect(),
            bytes_max,
            tls: Tls::new(&config.certificates)?,
        })
    }

    /// Fetches a file; none if it is the one that was fetched last.
    ///
    /// # Errors
    /// [`PullError`].
    pub(super) async fn pull(&self, request: Request<'_>) -> Result<Option<Pulled>, PullError> {
        let total = Duration::from_millis(self.config.total_timeout_ms);
        match tokio::time::timeout(total, self.follow(request)).await {
            Ok(pulled) => pulled,
            Err(_) => Err(PullError::Timeout(format!("the fetch took longer than {} s in all", seconds(total)))),
        }
    }

    /// Asks, and asks where the answer leads to.
    async fn follow(&self, request: Request<'_>) -> Result<Option<Pulled>, PullError> {
        let first = Url::parse(request.url).map_err(|error| PullError::Address(error.to_string()))?;
        let authorization = self.authorization(request.credential)?;
        let mut url = first.clone();
        for _ in 0..=self.config.redirects_max {
            // A credential is for the host that the connection names and for nobody that it leads to.
            let authorization = authorization.clone().filter(|_| url.origin() == first.origin());
            let (_driver, response) = self.ask(&url, authorization, request.validators).await?;
            let host = host_of(&url);
            match response.status() {
                StatusCode::OK => return self.take(&first, response).await.map(Some),
                StatusCode::NOT_MODIFIED if *request.validators != Validators::default() => return Ok(None),
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    url = next(&url, response.headers())
                        .map_err(|problem| PullError::Redirect { host, problem: problem.to_owned() })?;
                }
                status => return Err(PullError::Status { host, status }),
            }
        }
        let problem = format!("there are more than {}", self.config.redirects_max);
        Err(PullError::Redirect { host: host_of(&first), problem })
    }

    fn authorization(&self, credential: &str) -> Result<Option<HeaderValue>, PullError> {
        if credential.is_empty() {
            return Ok(None);
        }
        let unknown = || PullError::Credential(credential.to_owned());
        let token = self.credentials.get(credential).ok_or_else(unknown)?;
        let mut value = HeaderValue::try_from(token.expose_secret()).map_err(|_| unknown())?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Asks one server and waits for the head of its answer.
    async fn ask(
        &self,
        url: &Url,
        authorization: Option<HeaderValue>,
        validators: &Validators,
    ) -> Result<(Driver, http::Response<Incoming>), PullError> {
        let host = host_of(url);
        let unreachable = |problem: String| PullError::Unreachable { host: host.clone(), problem };
        let patience = Duration::from_millis(self.config.connect_timeout_ms);
        let stream = tokio::time::timeout(patience, self.connect(url)).await;
        let stream = stream.map_err(|_| unreachable(format!("no connection within {} s", seconds(patience))))??;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX);
        let (mut sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(error.to_string()))?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection that fetched a file ended with an error");
            }
        });
        let driver = Driver(driver.abort_handle());
        let request = head(url, authorization, validators).map_err(|error| PullError::Address(error.to_string()))?;
        let patience = Duration::from_millis(self.config.idle_timeout_ms);
        match tokio::time::timeout(patience, sender.send_request(request)).await {
            Ok(Ok(response)) => Ok((driver, response)),
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(PullError::Timeout(format!("{host} was silent for {} s", seconds(patience)))),
        }
    }

    /// Connects to an address that was checked, over TLS if the URL says so.
    async fn connect(&self, url: &Url) -> Result<Box<dyn Stream>, PullError> {
        let host = host_of(url);
        let unreachable = |problem: String| PullError::Unreachable { host: host.clone(), problem };
        let mut problem = "its name has no address".to_owned();
        for address in self.addresses(url).await.map_err(unreachable)?.into_iter().take(ADDRESSES_MAX) {
            match TcpStream::connect(address).await {
                Ok(stream) if url.scheme() == "https" => {
                    let stream = self.tls.connect(&host, stream).await.map_err(unreachable)?;
                    return Ok(Box::new(stream));
                }
                Ok(stream) => return Ok(Box::new(stream)),
                Err(error) => problem = error.to_string(),
            }
        }
        Err(unreachable(problem))
    }

    /// The addresses of a URL's host that may be fetched from.
    async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, String> {
        let port = url.port_or_known_default().ok_or("it has no port")?;
        let all: Vec<SocketAddr> = match url.host() {
            Some(Host::Ipv4(address)) => vec![(address, port).into()],
            Some(Host::Ipv6(address)) => vec![(address, port).into()],
            Some(Host::Domain(name)) => {
                let found = tokio::net::lookup_host((name, port)).await;
                found.map_err(|error| format!("its name is not resolved: {error}"))?.collect()
            }
            None => Vec::new(),
        };
        if self.config.allow_private_addresses || all.is_empty() {
            return Ok(all);
        }
        let public: Vec<SocketAddr> = all.into_iter().filter(|address| is_public(address.ip())).collect();
        if public.is_empty() {
            return Err("its address is not one of the public internet (pull.allow_private_addresses)".to_owned());
        }
        Ok(public)
    }

    /// Takes the file that an answer has.
    async fn take(&self, first: &Url, response: http::Response<Incoming>) -> Result<Pulled, PullError> {
        let (head, body) = response.into_parts();
        let validator = |name| {
            let text = head.headers.get(name)?.to_str().ok()?;
            (text.len() <= VALIDATOR_BYTES_MAX).then(|| text.to_owned())
        };
        let validators = Validators { etag: validator(header::ETAG), last_modified: validator(header::LAST_MODIFIED) };
        let time = |name| httpdate::parse_http_date(head.headers.get(name)?.to_str().ok()?).ok();
        let as_of = time(header::LAST_MODIFIED).or_else(|| time(header::DATE)).map(moment);
        let patience = Duration::from_millis(self.config.idle_timeout_ms);
        let content = body::read(body, &head.headers, self.bytes_max, patience).await?;
        Ok(Pulled { content, file_name: file_name(first), as_of, validators })
    }
}

fn head(
    url: &Url,
    authorization: Option<HeaderValue>,
    validators: &Validators,
) -> Result<http::Request<Empty<Bytes>>, http::Error> {
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let mut request = http::Request::builder()
        .method(Method::GET)
        .uri(target)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("holdfast-vendor-sync/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        .header(header::ACCEPT_ENCODING, "gzip")
        .header(header::CONNECTION, "close");
    if let Some(etag) = &validators.etag {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    if let Some(last_modified) = &validators.last_modified {
        request = request.header(header::IF_MODIFIED_SINCE, last_modified);
    }
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    request.body(Empty::new())
}

/// Where a redirect leads.
fn next(from: &Url, headers: &HeaderMap) -> Result<Url, &'static str> {
    let location = headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
    let url = from.join(location.ok_or("it does not say where to")?).map_err(|_| "it leads to no URL")?;
    match (from.scheme(), url.scheme()) {
        ("http", "http" | "https") | ("https", "https") => {}
        ("https", "http") => return Err("it leads from https to http"),
        _ => return Err("it leads to neither http nor https"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it has a user or a password");
    }
    Ok(url)
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

/// The last part of a URL's path, as people call the file.
fn file_name(url: &Url) -> String {
    let name = url.path().rsplit('/').next().unwrap_or_default();
    name.get(..name.len().min(FILE_NAME_BYTES_MAX)).unwrap_or_default().to_owned()
}

fn moment(time: SystemTime) -> OffsetDateTime {
    OffsetDateTime::from(time).max(OffsetDateTime::UNIX_EPOCH)
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(from: &str, to: &str) -> Result<String, &'static str> {
        let headers = HeaderMap::from_iter([(header::LOCATION, HeaderValue::try_from(to).unwrap())]);
        next(&Url::parse(from).unwrap(), &headers).map(String::from)
    }

    #[test]
    fn redirects_never_lead_down_from_https() {
        assert_eq!(leads("http://a/x/y", "../z?q=1").as_deref(), Ok("http://a/z?q=1"));
        assert_eq!(leads("http://a/x", "https://b/").as_deref(), Ok("https://b/"));
        assert_eq!(leads("https://a/x", "//b/c").as_deref(), Ok("https://b/c"));
        for (from, to) in [
            ("https://a/", "http://a/"),
            ("http://a/", "file:///etc/passwd"),
            ("http://a/", "ftp://b/"),
            ("http://a/", "http://u:p@b/"),
            ("http://a/", "http://"),
        ] {
            assert!(leads(from, to).is_err(), "{from} {to}");
        }
        assert!(next(&Url::parse("http://a/").unwrap(), &HeaderMap::new()).is_err());
    }

    #[test]
    fn a_request_names_its_host_and_keeps_the_fragment_to_itself() {
        let url = Url::parse("http://example.com:8080/a%20b/c?d=e#f").unwrap();
        let validators = Validators { etag: Some("\"x\"".to_owned()), last_modified: None };
        let request = head(&url, Some(HeaderValue::from_static("Bearer s")), &validators).unwrap();
        assert_eq!(request.uri(), "/a%20b/c?d=e");
        assert_eq!(request.headers()[header::HOST], "example.com:8080");
        assert_eq!(request.headers()[header::IF_NONE_MATCH], "\"x\"");
        assert!(!request.headers().contains_key(header::IF_MODIFIED_SINCE));
        assert_eq!(file_name(&url), "c");
        assert_eq!(file_name(&Url::parse("http://example.com").unwrap()), "");
    }
}
