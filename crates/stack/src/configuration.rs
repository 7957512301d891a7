//! The services' configuration under `./dev`: what differs from their defaults.
//!
//! Callers without a token may do everything, because only this machine can reach the services; the services themselves
//! call each other with tokens, as they do anywhere else.

use std::fmt::Write as _;

use crate::services::Service;

/// What the configuration of a service is made of.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Its database, as the running role.
    pub postgres_url: String,
    /// Its database, as the role that migrates.
    pub migrate_url: String,
    /// Redis as the gate's user; only reservation has it.
    pub gate_url: String,
    /// gRPC of reservation, for its callers.
    pub reservation_url: String,
    /// gRPC of catalog, for its callers.
    pub catalog_url: String,
    /// gRPC of vendor-sync, for its callers.
    pub vendor_sync_url: String,
    /// The folder below which vendor-sync takes files that are dropped.
    pub drop_root: String,
    /// The token that this service shows to others.
    pub own_token: String,
    /// The other services' names, which are their roles too, and the tokens that they show.
    pub callers: Vec<(String, String)>,
}

const ALL_ROLES: &str =
    r#"["checkout", "merchandiser", "operator", "vendor-sync", "catalog", "reservation", "monitor"]"#;

/// The configuration file of `service`.
pub fn configuration(service: Service, inputs: &Inputs) -> String {
    let Inputs { postgres_url, migrate_url, gate_url, reservation_url, catalog_url, own_token, callers, .. } = inputs;
    let Inputs { vendor_sync_url, drop_root, .. } = inputs;
    let mut text = format!(
        "# Written by ./dev at each start: changes made here do not last.\n\n\
         [postgres]\nurl = {postgres_url:?}\nmigrate_url = {migrate_url:?}\n\n\
         [telemetry]\nlog_format = \"text\"\n\n\
         [callers]\nunauthenticated_roles = {ALL_ROLES}\n"
    );
    for (name, token) in callers {
        let _infallible = write!(text, "\n[[callers.list]]\nname = {name:?}\nroles = [{name:?}]\ntoken = {token:?}\n");
    }
    let own = match service {
        Service::Catalog => format!(
            "\n[reservation]\nendpoint = {reservation_url:?}\ntoken = {own_token:?}\n\n\
             [vendor_sync]\nendpoint = {vendor_sync_url:?}\ntoken = {own_token:?}\n"
        ),
        Service::Reservation => format!("\n[gate]\nurl = {gate_url:?}\n"),
        Service::VendorSync => format!(
            "\n[reservation]\nendpoint = {reservation_url:?}\ntoken = {own_token:?}\n\n\
             [catalog]\nendpoint = {catalog_url:?}\ntoken = {own_token:?}\n\n\
             [drop]\nroot = {drop_root:?}\n\n\
             [pull]\nallow_private_addresses = true\n"
        ),
    };
    text + &own
}
