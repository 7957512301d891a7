//! TLS to servers of vendors: rustls with ring, and the certificates that this machine believes.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What makes TLS connections.
#[derive(Debug)]
pub(super) struct Tls {
    own: Vec<CertificateDer<'static>>,
    /// Made when it is needed first: a service that fetches nothing reads no certificates.
    config: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Tls {
    /// Believing the system's certificates, and those of a file, if it names one.
    ///
    /// # Errors
    /// When the file cannot be read or has no certificates.
    pub(super) fn new(certificates: &Path) -> anyhow::Result<Self> {
        let mut own = Vec::new();
        if !certificates.as_os_str().is_empty() {
            let unusable = || format!("pull.certificates: {} cannot be used", certificates.display());
            for certificate in CertificateDer::pem_file_iter(certificates).with_context(unusable)? {
                own.push(certificate.with_context(unusable)?);
            }
            anyhow::ensure!(!own.is_empty(), "pull.certificates: {} has no certificate", certificates.display());
        }
        Ok(Self { own, config: OnceLock::new() })
    }

    /// Begins TLS with a host.
    ///
    /// # Errors
    /// Why the host is not believed, for people.
    pub(super) async fn connect(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let config = self.config.get_or_init(|| self.configure()).clone()?;
        // A URL has IPv6 addresses in brackets, a certificate does not.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|error| format!("TLS: {error}"))
    }

    fn configure(&self) -> Result<Arc<ClientConfig>, String> {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::warn!(%error, "some of the system's certificates cannot be read");
        }
        roots.add_parsable_certificates(system.certs);
        roots.add_parsable_certificates(self.own.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}
