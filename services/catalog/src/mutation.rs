//! What callers can ask to change besides imports.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::fingerprint::Fingerprint;
use crate::model::{Location, NewLocation, NewSku, NewVendor, OfferContent, OfferKey, Sku, Vendor};

/// By what a mutation is recognised when it is sent again.
#[derive(Debug, Clone)]
pub struct RequestKey {
    /// The key that the caller made.
    pub request_id: Uuid,
    /// The method's name.
    pub kind: &'static str,
    /// The fingerprint of what was asked for.
    pub payload_hash: [u8; 32],
}

/// A change.
#[derive(Debug, Clone)]
pub enum Mutation {
    /// Creates a SKU.
    CreateSku(NewSku),
    /// Creates a vendor.
    CreateVendor(NewVendor),
    /// Creates a location.
    CreateLocation(NewLocation),
    /// Creates offers, all or none.
    CreateOffers {
        /// The offers, each once.
        offers: BTreeMap<OfferKey, OfferContent>,
        /// How many were asked for, repetitions counted.
        asked: usize,
    },
}

/// What a change did.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// This SKU is new.
    Sku(Sku),
    /// This vendor is new.
    Vendor(Vendor),
    /// This location is new.
    Location(Location),
    /// Offers were created.
    Offers {
        /// How many are new.
        created: i64,
        /// How many were there with the same content, or were asked for twice.
        unchanged: i64,
    },
}

impl Mutation {
    /// The key by which this change happens once.
    #[must_use]
    pub fn key(&self, request_id: Uuid) -> RequestKey {
        RequestKey { request_id, kind: self.kind(), payload_hash: self.fingerprint() }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::CreateSku(_) => "CreateSku",
            Self::CreateVendor(_) => "CreateVendor",
            Self::CreateLocation(_) => "CreateLocation",
            Self::CreateOffers { .. } => "BatchCreateOffers",
        }
    }

    fn fingerprint(&self) -> [u8; 32] {
        let mut parts = Fingerprint::new();
        match self {
            Self::CreateSku(NewSku { code, name, gtin, attributes }) => {
                parts = parts.part(code).part(name).optional(gtin.as_ref());
                for (key, value) in attributes {
                    parts = parts.part(key).part(value);
                }
            }
            Self::CreateVendor(NewVendor { code, name }) => parts = parts.part(code).part(name),
            Self::CreateLocation(NewLocation { code, name, vendor }) => {
                parts = parts.part(code).part(name).optional(vendor.as_ref());
            }
            Self::CreateOffers { offers, asked } => {
                parts = parts.part(asked.to_be_bytes());
                for (OfferKey { vendor, location, vendor_sku }, OfferContent { sku, pack_size }) in offers {
                    parts = parts.part(vendor).part(location).part(vendor_sku).part(sku).part(pack_size.to_be_bytes());
                }
            }
        }
        parts.finish()
    }
}
