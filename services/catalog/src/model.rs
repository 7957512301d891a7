//! What the catalog knows, in its own types: wire and tables are converted to and from these.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// What else the shop keeps about a SKU, in one order so that equal content looks equal.
pub type Attributes = BTreeMap<String, String>;

/// The most attributes that a SKU has.
pub const ATTRIBUTES_MAX: usize = 50;

/// The most offers that a SKU has: vendor-sync takes no more of one.
pub const OFFERS_PER_SKU_MAX: i64 = 1000;

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
    /// How it may be sold.
    pub policy: Policy,
}

/// How a SKU may be sold. 0 and empty mean that nothing is kept back, limited or preferred; as JSON, only what is set is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Units not offered at each location.
    #[serde(skip_serializing_if = "is_zero")]
    pub safety_stock: i64,
    /// Units that may be promised beyond what is there, at the first of `locations`.
    #[serde(skip_serializing_if = "is_zero")]
    pub backorder_limit: i64,
    /// Most units in one reservation.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_per_reservation: i64,
    /// Most units that one owner may have.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_per_owner: i64,
    /// How long a hold lasts whose request does not say, in nanoseconds, so that it reads back as it was written.
    #[serde(skip_serializing_if = "is_zero")]
    pub default_hold_ns: i64,
    /// Codes of locations, the preferred first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locations: Vec<String>,
    /// Most units that are reserved within any 60 seconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_per_minute: i64,
    /// What channels may have, in the order of their names, each once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channel_caps: Vec<ChannelCap>,
    /// When what is promised beyond what is there will be there, in nanoseconds since 1970. Not together with `promise_lead_seconds`.
    #[serde(skip_serializing_if = "is_zero")]
    pub promise_time_ns: i64,
    /// How long after it is reserved it will be there, in seconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub promise_lead_seconds: i64,
}

/// What of a SKU a channel may have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChannelCap {
    /// The channel, as callers of Reserve name it.
    pub channel: String,
    /// Most units that it holds and has confirmed together; 0: none.
    pub quantity: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// New values for some fields of a policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PolicyChange {
    /// See [`Policy::safety_stock`].
    pub safety_stock: Option<i64>,
    /// See [`Policy::backorder_limit`].
    pub backorder_limit: Option<i64>,
    /// See [`Policy::max_per_reservation`].
    pub max_per_reservation: Option<i64>,
    /// See [`Policy::max_per_owner`].
    pub max_per_owner: Option<i64>,
    /// See [`Policy::default_hold_ns`].
    pub default_hold_ns: Option<i64>,
    /// See [`Policy::locations`].
    pub locations: Option<Vec<String>>,
    /// See [`Policy::max_per_minute`]. What came later is not written where it is not named, so that a request's fingerprint stays what it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per_minute: Option<i64>,
    /// See [`Policy::channel_caps`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_caps: Option<Vec<ChannelCap>>,
    /// See [`Policy::promise_time_ns`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promise_time_ns: Option<i64>,
    /// See [`Policy::promise_lead_seconds`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promise_lead_seconds: Option<i64>,
}

impl PolicyChange {
    /// Makes the change.
    pub fn apply(&self, policy: &mut Policy) {
        let Self {
            safety_stock,
            backorder_limit,
            max_per_reservation,
            max_per_owner,
            default_hold_ns,
            locations,
            max_per_minute,
            channel_caps,
            promise_time_ns,
            promise_lead_seconds,
        } = self;
        for (new, field) in [
            (safety_stock, &mut policy.safety_stock),
            (backorder_limit, &mut policy.backorder_limit),
            (max_per_reservation, &mut policy.max_per_reservation),
            (max_per_owner, &mut policy.max_per_owner),
            (default_hold_ns, &mut policy.default_hold_ns),
            (max_per_minute, &mut policy.max_per_minute),
            (promise_time_ns, &mut policy.promise_time_ns),
            (promise_lead_seconds, &mut policy.promise_lead_seconds),
        ] {
            *field = new.unwrap_or(*field);
        }
        if let Some(locations) = locations {
            policy.locations.clone_from(locations);
        }
        if let Some(channel_caps) = channel_caps {
            policy.channel_caps.clone_from(channel_caps);
        }
    }
}

/// A SKU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sku {
    /// What it says.
    pub content: NewSku,
    /// When it was archived; none while it is sold.
    pub archive_time: Option<OffsetDateTime>,
    /// Counts its changes and those of its offers, from 1.
    pub version: i64,
    /// When it was created.
    pub create_time: OffsetDateTime,
    /// When it last changed.
    pub update_time: OffsetDateTime,
}

/// A SKU with its offers, as one look saw them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkuState {
    /// The SKU.
    pub sku: Sku,
    /// Its offers, in the order of their keys.
    pub offers: Vec<Offer>,
}

/// What of a SKU is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkuChange {
    /// Which SKU.
    pub code: String,
    /// Only if it still has this etag.
    pub etag: Option<String>,
    /// Its new name.
    pub name: Option<String>,
    /// Its new GTIN, or none any more.
    pub gtin: Option<Option<String>>,
    /// All its new attributes.
    pub attributes: Option<Attributes>,
    /// Attributes one by one, after `attributes`: a new value, or none any more.
    pub attribute_changes: BTreeMap<String, Option<String>>,
    /// New values of its policy.
    pub policy: PolicyChange,
}

impl SkuChange {
    /// Makes the change.
    pub fn apply(&self, content: &mut NewSku) {
        if let Some(name) = &self.name {
            content.name.clone_from(name);
        }
        if let Some(gtin) = &self.gtin {
            content.gtin.clone_from(gtin);
        }
        if let Some(attributes) = &self.attributes {
            content.attributes.clone_from(attributes);
        }
        for (key, value) in &self.attribute_changes {
            match value {
                Some(value) => content.attributes.insert(key.clone(), value.clone()),
                None => content.attributes.remove(key),
            };
        }
        self.policy.apply(&mut content.policy);
    }
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
    /// Counts its changes, from 1.
    pub version: i64,
    /// When it was created.
    pub create_time: OffsetDateTime,
    /// When it last changed.
    pub update_time: OffsetDateTime,
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
    /// Counts its changes, from 1.
    pub version: i64,
    /// When it was created.
    pub create_time: OffsetDateTime,
    /// When it last changed.
    pub update_time: OffsetDateTime,
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
