//! What the catalog knows, in its own types: wire and tables are converted to and from these.

use std::collections::BTreeMap;

use time::OffsetDateTime;

/// What else the shop keeps about a SKU, in one order so that equal content looks equal.
pub type Attributes = BTreeMap<String, String>;

/// The most attributes that a SKU has.
pub const ATTRIBUTES_MAX: usize = 50;

/// A SKU to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSku {
    /// The shop's own code.
    pub code: String,
    /// For people; may be empty.
    pub name: String,
    /// The GTIN, its check digit correct.
    pub gtin: Option<String>,
    /// What else the shop keeps.
    pub attributes: Attributes,
}

/// A SKU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sku {
    /// What it says.
    pub content: NewSku,
    /// Counts its changes, from 1.
    pub version: i64,
    /// When it was created.
    pub create_time: OffsetDateTime,
    /// When it last changed.
    pub update_time: OffsetDateTime,
}

/// A vendor to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVendor {
    /// The vendor's code.
    pub code: String,
    /// For people; may be empty.
    pub name: String,
}

/// A vendor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vendor {
    /// What it says.
    pub content: NewVendor,
    /// When it was created.
    pub create_time: OffsetDateTime,
}

/// A location to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLocation {
    /// The location's code.
    pub code: String,
    /// For people; may be empty.
    pub name: String,
    /// Whose it is; none for the shop's own warehouses.
    pub vendor: Option<String>,
}

/// A location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// What it says.
    pub content: NewLocation,
    /// When it was created.
    pub create_time: OffsetDateTime,
}

/// By what an offer is found, in the order in which offers are listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferKey {
    /// The vendor's code.
    pub vendor: String,
    /// The location's code.
    pub location: String,
    /// The code by which the vendor calls it.
    pub vendor_sku: String,
}

/// What an offer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferContent {
    /// The SKU that it is.
    pub sku: String,
    /// Units of the SKU in one of the vendor's units, 1 to 100,000.
    pub pack_size: i32,
}

/// An offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// By what it is found.
    pub key: OfferKey,
    /// What it says.
    pub content: OfferContent,
    /// When it was created.
    pub create_time: OffsetDateTime,
}
