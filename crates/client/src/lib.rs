//! The Rust client of Holdfast: keys that make every retry safe, deadlines on every call, and errors that say what to do next.
//!
//! One [`Connection`] reaches one service, over one endpoint or several. From it come the handles: [`ReservationClient`], [`StockClient`] and [`AuditClient`] for
//! reservation, [`CatalogClient`] for catalog, [`VendorSyncClient`], [`QuarantineClient`] and [`HouseClient`] for vendor-sync. A handle is cheap to clone and
//! is meant to be shared. [`SkuWatch`], [`AvailabilityWatch`] and [`ReservationWatch`] follow what changes and resume by themselves.
//!
//! What happens when a call fails is in the type: [`Error::outcome`] says whether the effect may have happened. [`Outcome::Certain`]: it did not.
//! [`Outcome::Unknown`]: it may have; call again with the **same key**, or release.
//!
//! ```no_run
//! use holdfast_client::{Connection, Error, Line, RequestKey, Reserve, ReservationClient, ReservationKey};
//!
//! # async fn buy() -> Result<(), Box<dyn std::error::Error>> {
//! let connection = Connection::builder("http://127.0.0.1:7002").build()?;
//! let reservations = ReservationClient::new(&connection);
//!
//! let key = ReservationKey::new(); // once per cart; keep it until the outcome is known
//! match reservations.reserve(&Reserve::new(key, "cart-17", [Line::anywhere("CHAIR-ERGO-BLK", 2)])).await {
//!     Ok(_held) => { reservations.confirm(RequestKey::new(), key).await?; }
//!     Err(Error::Insufficient { lines, .. }) => println!("sold out: {lines:?}"),
//!     Err(other) => return Err(other.into()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Architecture invariant: a call is sent again only where that cannot have a second effect, and never twice at the same time (no hedging).

mod audit;
mod catalog;
mod connection;
mod error;
mod house;
mod keys;
mod quarantine;
mod reservation;
mod retry;
mod stock;
mod trace;
mod upload;
mod vendor_sync;
mod watch;

pub use audit::{AuditClient, AuditRun};
pub use catalog::CatalogClient;
pub use connection::{BuildError, Builder, Connection, Settings};
pub use error::{Error, Outcome, ShortLine, Violation};
pub use house::HouseClient;
pub use keys::{KeyError, RequestKey, ReservationKey};
pub use quarantine::QuarantineClient;
pub use reservation::{Line, ReservationClient, Reserve};
pub use retry::RetryPolicy;
pub use stock::StockClient;
pub use upload::Progress;
pub use vendor_sync::{Decision, VendorSyncClient};
pub use watch::{AvailabilityEvent, AvailabilityWatch, ReservationEvent, ReservationWatch, SkuEvent, SkuWatch};

/// The messages themselves, as generated from the protos.
pub use holdfast_api as api;
