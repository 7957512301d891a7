//! Where the services are: flags and environment first, then what a running `./dev` wrote down.

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_client::{
    AuditClient, CatalogClient, Connection, HouseClient, QuarantineClient, ReservationClient, RetryPolicy, Settings,
    StockClient, VendorSyncClient,
};
use serde::Deserialize;

use crate::cli::Global;
use crate::failure::Failure;

/// How long a call may take by default, its retries included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a call that carries a file may take by default.
const FILE_TIMEOUT: Duration = Duration::from_secs(600);

/// Makes the clients that a command needs, when it needs them.
pub(crate) struct Services<'a> {
    global: &'a Global,
}

impl<'a> Services<'a> {
    pub(crate) fn new(global: &'a Global) -> Self {
        Self { global }
    }

    pub(crate) fn catalog(&self) -> Result<CatalogClient, Failure> {
        Ok(CatalogClient::new(&self.connect(Service::Catalog)?))
    }

    pub(crate) fn reservations(&self) -> Result<ReservationClient, Failure> {
        Ok(ReservationClient::new(&self.connect(Service::Reservation)?))
    }

    pub(crate) fn stock(&self) -> Result<StockClient, Failure> {
        Ok(StockClient::new(&self.connect(Service::Reservation)?))
    }

    pub(crate) fn audit(&self) -> Result<AuditClient, Failure> {
        Ok(AuditClient::new(&self.connect(Service::Reservation)?))
    }

    pub(crate) fn vendor_sync(&self) -> Result<VendorSyncClient, Failure> {
        Ok(VendorSyncClient::new(&self.connect(Service::VendorSync)?))
    }

    pub(crate) fn quarantine(&self) -> Result<QuarantineClient, Failure> {
        Ok(QuarantineClient::new(&self.connect(Service::VendorSync)?))
    }

    pub(crate) fn house(&self) -> Result<HouseClient, Failure> {
        Ok(HouseClient::new(&self.connect(Service::VendorSync)?))
    }

    /// How long a call may take, its retries included.
    pub(crate) fn timeout(&self) -> Duration {
        self.global.timeout.unwrap_or(TIMEOUT)
    }

    /// How long a call that carries a file may take.
    pub(crate) fn file_timeout(&self) -> Duration {
        self.global.timeout.unwrap_or(FILE_TIMEOUT)
    }

    fn connect(&self, service: Service) -> Result<Connection, Failure> {
        let endpoint = self.endpoint(service)?;
        let deadline = self.timeout();
        // A person waits: fewer, longer attempts than a checkout makes.
        let settings = Settings {
            deadline,
            attempt_timeout: deadline.div_f64(2.0),
            retry: RetryPolicy { attempts_max: 4, ..RetryPolicy::default() },
            ..Settings::default()
        };
        let mut builder = Connection::builder_with([endpoint], settings);
        if let Some(token) = self.token()? {
            builder = builder.token(token);
        }
        builder.build().map_err(|error| Failure::Usage(error.to_string()))
    }

    fn endpoint(&self, service: Service) -> Result<String, Failure> {
        let (given, flag, key) = match service {
            Service::Catalog => (&self.global.catalog_endpoint, "--catalog-endpoint", "catalog"),
            Service::Reservation => (&self.global.reservation_endpoint, "--reservation-endpoint", "reservation"),
            Service::VendorSync => (&self.global.vendor_sync_endpoint, "--vendor-sync-endpoint", "vendor_sync"),
        };
        if let Some(endpoint) = given {
            return Ok(endpoint.clone());
        }
        let here = std::env::current_dir().unwrap_or_default();
        let nowhere = || {
            Failure::Usage(format!(
                "nothing says where the {key} service is.\nStart everything with ./dev up, or give {flag} URL."
            ))
        };
        let path = find_file(&here).ok_or_else(nowhere)?;
        let file = read_file(&path)?;
        let written = match service {
            Service::Catalog => file.catalog,
            Service::Reservation => file.reservation,
            Service::VendorSync => file.vendor_sync,
        };
        written.ok_or_else(nowhere)
    }

    fn token(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.global.token_file else {
            return Ok(std::env::var("HOLDFAST_TOKEN").ok().filter(|token| !token.is_empty()));
        };
        let token = std::fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
        Ok(Some(token.trim().to_owned()))
    }
}

#[derive(Debug, Clone, Copy)]
enum Service {
    Catalog,
    Reservation,
    VendorSync,
}

/// What `./dev up` writes. It may say more than is read here.
#[derive(Debug, Deserialize)]
struct EndpointsFile {
    catalog: Option<String>,
    reservation: Option<String>,
    vendor_sync: Option<String>,
}

/// `.holdfast/endpoints.json` in `from` or the nearest folder above that has one.
fn find_file(from: &Path) -> Option<PathBuf> {
    from.ancestors().map(|dir| dir.join(".holdfast/endpoints.json")).find(|path| path.is_file())
}

fn read_file(path: &Path) -> Result<EndpointsFile, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::Usage(format!("cannot read {}: {error}. Run ./dev up again, or give the endpoints.", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
    serde_json::from_str(&text).map_err(|error| unreadable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_above_is_found() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b/c");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::create_dir_all(root.path().join("a/.holdfast")).unwrap();
        let path = root.path().join("a/.holdfast/endpoints.json");
        std::fs::write(&path, r#"{"catalog": "http://127.0.0.1:1", "reservation": "http://127.0.0.1:2", "more": 3}"#)
            .unwrap();
        assert_eq!(find_file(&deep).as_deref(), Some(path.as_path()));
        let file = read_file(&path).unwrap();
        assert_eq!(file.reservation.as_deref(), Some("http://127.0.0.1:2"));
        assert_eq!(file.vendor_sync, None);
    }

    #[test]
    fn a_broken_file_is_named_with_a_next_step() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("endpoints.json");
        std::fs::write(&path, "{").unwrap();
        let failure = read_file(&path).unwrap_err().to_string();
        assert!(failure.contains("endpoints.json") && failure.contains("./dev up"), "{failure}");
    }
}
