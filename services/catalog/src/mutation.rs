//! What callers can ask to change besides imports.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::fingerprint::Fingerprint;
use crate::model::{Location, NewLocation, NewSku, NewVendor, OfferContent, OfferKey, Policy, Sku, SkuChange, Vendor};

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
    /// Changes a SKU.
    UpdateSku(SkuChange),
    /// Ends the selling of a SKU, or takes it up again.
    SetArchived {
        /// Which SKU.
        code: String,
        /// Only if it still has this etag.
        etag: Option<String>,
        /// True: it is sold no more.
        archived: bool,
    },
    /// Creates a vendor.
    CreateVendor(NewVendor),
    /// Changes a vendor's name.
    UpdateVendor(Renaming),
    /// Creates a location.
    CreateLocation(NewLocation),
    /// Changes a location's name.
    UpdateLocation(Renaming),
    /// Creates offers, all or none.
    CreateOffers {
        /// The offers, each once.
        offers: BTreeMap<OfferKey, OfferContent>,
        /// How many were asked for, repetitions counted.
        asked: usize,
    },
    /// Removes offers, all or none.
    DeleteOffers {
        /// Which, each once.
        keys: BTreeSet<OfferKey>,
        /// How many were asked for, repetitions counted.
        asked: usize,
    },
}

/// A vendor's or a location's new name.
#[derive(Debug, Clone)]
pub struct Renaming {
    /// Whose.
    pub code: String,
    /// Only if it still has this etag.
    pub etag: Option<String>,
    /// The name.
    pub name: String,
}

/// What a change did.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The SKU after the change.
    Sku(Sku),
    /// The vendor after the change.
    Vendor(Vendor),
    /// The location after the change.
    Location(Location),
    /// Offers were created.
    OffersCreated {
        /// How many are new.
        created: i64,
        /// How many were there with the same content, or were asked for twice.
        unchanged: i64,
    },
    /// Offers were removed.
    OffersDeleted {
        /// How many there were.
        deleted: i64,
        /// How many were not there, or were asked for twice.
        missing: i64,
    },
}

impl Mutation {
    /// The key by which this change happens once.
    #[must_use]
    pub fn key(&self, request_id: Uuid) -> RequestKey {
        RequestKey { request_id, kind: self.kind(), payload_hash: self.fingerprint() }
    }

    /// The method that asks for it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CreateSku(_) => "CreateSku",
            Self::UpdateSku(_) => "UpdateSku",
            Self::SetArchived { archived: true, .. } => "ArchiveSku",
            Self::SetArchived { archived: false, .. } => "RestoreSku",
            Self::CreateVendor(_) => "CreateVendor",
            Self::UpdateVendor(_) => "UpdateVendor",
            Self::CreateLocation(_) => "CreateLocation",
            Self::UpdateLocation(_) => "UpdateLocation",
            Self::CreateOffers { .. } => "BatchCreateOffers",
            Self::DeleteOffers { .. } => "BatchDeleteOffers",
        }
    }

    fn fingerprint(&self) -> [u8; 32] {
        let parts = Fingerprint::new();
        let parts = match self {
            Self::CreateSku(sku) => new_sku(parts, sku),
            Self::UpdateSku(change) => sku_change(parts, change),
            Self::SetArchived { code, etag, archived: _ } => parts.part(code).optional(etag.as_ref()),
            Self::CreateVendor(NewVendor { code, name }) => parts.part(code).part(name),
            Self::UpdateVendor(Renaming { code, etag, name }) | Self::UpdateLocation(Renaming { code, etag, name }) => {
                parts.part(code).optional(etag.as_ref()).part(name)
            }
            Self::CreateLocation(NewLocation { code, name, vendor }) => {
                parts.part(code).part(name).optional(vendor.as_ref())
            }
            Self::CreateOffers { offers, asked } => {
                let parts = parts.part(asked.to_be_bytes());
                offers.iter().fold(parts, |parts, (key, OfferContent { sku, pack_size })| {
                    offer_key(parts, key).part(sku).part(pack_size.to_be_bytes())
                })
            }
            Self::DeleteOffers { keys, asked } => keys.iter().fold(parts.part(asked.to_be_bytes()), offer_key),
        };
        parts.finish()
    }
}

fn new_sku(parts: Fingerprint, sku: &NewSku) -> Fingerprint {
    let NewSku { code, name, gtin, attributes, policy } = sku;
    let parts = parts.part(code).part(name).optional(gtin.as_ref());
    let parts = attributes.iter().fold(parts, |parts, (key, value)| parts.part(key).part(value));
    if *policy == Policy::default() {
        return parts;
    }
    // No attribute's key has a control character, so this cannot be taken for one.
    parts.part([0]).part(json(policy))
}

fn sku_change(parts: Fingerprint, change: &SkuChange) -> Fingerprint {
    let SkuChange { code, etag, name, gtin, attributes, attribute_changes, policy } = change;
    parts
        .part(code)
        .optional(etag.as_ref())
        .optional(name.as_ref())
        .part(json(gtin))
        .part(json(attributes))
        .part(json(attribute_changes))
        .part(json(policy))
        .optional(gtin.as_ref().map(|_given| [1]))
}

fn offer_key(parts: Fingerprint, OfferKey { vendor, location, vendor_sku }: &OfferKey) -> Fingerprint {
    parts.part(vendor).part(location).part(vendor_sku)
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("numbers, texts and maps of texts can be written as JSON")
}
