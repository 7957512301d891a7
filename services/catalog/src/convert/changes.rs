//! Changes of what is there: masks, etags, archiving, removing.

use std::collections::BTreeSet;

use holdfast_api::catalog::v1 as wire;
use holdfast_kit::{Problem, Violations};
use prost_types::FieldMask;

use super::{Keyed, check_batch, check_vendor_sku, keyed, non_empty, policy_change, required};
use crate::model::{Attributes, OfferKey, PolicyChange, SkuChange};
use crate::mutation::{Mutation, Renaming};
use crate::rules;

/// The most paths of a mask: every field, and as many attributes as a SKU may lose and get.
const PATHS_MAX: usize = 120;
/// The longest etag, in bytes: longer than any that was given out.
const ETAG_BYTES_MAX: usize = 64;

/// What UpdateSku asks for.
///
/// # Errors
/// INVALID_FIELD.
pub fn update_sku(request: wire::UpdateSkuRequest) -> Result<Keyed, Problem> {
    let mut violations = Violations::new();
    let wire::Sku { code, name, gtin, attributes, policy, etag, .. } = required(&mut violations, "sku", request.sku);
    let mut change = SkuChange {
        code,
        etag: non_empty(etag),
        name: None,
        gtin: None,
        attributes: None,
        attribute_changes: Default::default(),
        policy: PolicyChange::default(),
    };
    if violations.is_empty() {
        violations.check_sku("sku.code", &change.code);
        check_etag(&mut violations, "sku.etag", change.etag.as_deref());
        let attributes = Attributes::from_iter(attributes);
        let policy = policy_change(policy.unwrap_or_default());
        for (index, path) in paths(&mut violations, request.update_mask).into_iter().enumerate() {
            match path.as_str() {
                "name" => change.name = Some(name.clone()),
                "gtin" => change.gtin = Some(non_empty(gtin.clone())),
                "attributes" => change.attributes = Some(attributes.clone()),
                "policy" => change.policy = policy.clone(),
                path => match path.split_once('.') {
                    Some(("attributes", key)) if !key.is_empty() => {
                        change.attribute_changes.insert(key.to_owned(), attributes.get(key).cloned());
                    }
                    Some(("policy", field)) if set_policy_field(&mut change.policy, field, &policy) => {}
                    _ => violations.add(format_args!("update_mask.paths[{index}]"), UNKNOWN_PATH),
                },
            }
        }
        check_change(&mut violations, &change);
    }
    keyed(violations, &request.request_id, Mutation::UpdateSku(change))
}

const UNKNOWN_PATH: &str = "must be name, gtin, attributes, attributes.KEY, policy or policy.FIELD";

/// The fields that a mask names.
fn paths(violations: &mut Violations, mask: Option<FieldMask>) -> Vec<String> {
    let paths = mask.unwrap_or_default().paths;
    if paths.is_empty() {
        violations.add("update_mask", "must name what changes");
    } else if paths.len() > PATHS_MAX {
        violations.add("update_mask", format_args!("must have at most {PATHS_MAX} paths, has {}", paths.len()));
        return Vec::new();
    }
    paths
}

fn set_policy_field(change: &mut PolicyChange, field: &str, new: &PolicyChange) -> bool {
    match field {
        "safety_stock" => change.safety_stock = new.safety_stock,
        "backorder_limit" => change.backorder_limit = new.backorder_limit,
        "max_per_reservation" => change.max_per_reservation = new.max_per_reservation,
        "max_per_owner" => change.max_per_owner = new.max_per_owner,
        "default_hold_duration" => change.default_hold_ns = new.default_hold_ns,
        "locations" => change.locations.clone_from(&new.locations),
        "max_per_minute" => change.max_per_minute = new.max_per_minute,
        "channel_caps" => change.channel_caps.clone_from(&new.channel_caps),
        "promise_time" => change.promise_time_ns = new.promise_time_ns,
        "promise_lead_duration" => change.promise_lead_seconds = new.promise_lead_seconds,
        _ => return false,
    }
    true
}

/// Each new value by itself; how they fit what is there, the record says.
fn check_change(violations: &mut Violations, change: &SkuChange) {
    let SkuChange { code: _, etag: _, name, gtin, attributes, attribute_changes, policy } = change;
    if let Some(name) = name {
        rules::check_name(violations, "sku.name", name);
    }
    if let Some(Some(gtin)) = gtin {
        rules::check_gtin(violations, "sku.gtin", gtin);
    }
    if let Some(attributes) = attributes {
        rules::check_attributes(violations, "sku.attributes", attributes);
    }
    for (key, value) in attribute_changes {
        let echo: String = key.chars().take(40).collect();
        rules::check_attribute(
            violations,
            &format!("sku.attributes[{echo:?}]"),
            key,
            value.as_deref().unwrap_or_default(),
        );
    }
    rules::check_policy_change(violations, "sku.policy", policy);
}

fn check_etag(violations: &mut Violations, field: &str, etag: Option<&str>) {
    violations.check_text(field, etag.unwrap_or_default(), 0..=ETAG_BYTES_MAX);
}

/// What ArchiveSku asks for.
///
/// # Errors
/// INVALID_FIELD.
pub fn archive_sku(request: wire::ArchiveSkuRequest) -> Result<Keyed, Problem> {
    set_archived(&request.request_id, request.code, request.etag, true)
}

/// What RestoreSku asks for.
///
/// # Errors
/// INVALID_FIELD.
pub fn restore_sku(request: wire::RestoreSkuRequest) -> Result<Keyed, Problem> {
    set_archived(&request.request_id, request.code, request.etag, false)
}

fn set_archived(request_id: &str, code: String, etag: String, archived: bool) -> Result<Keyed, Problem> {
    let mut violations = Violations::new();
    violations.check_sku("code", &code);
    let etag = non_empty(etag);
    check_etag(&mut violations, "etag", etag.as_deref());
    keyed(violations, request_id, Mutation::SetArchived { code, etag, archived })
}

/// What UpdateVendor asks for.
///
/// # Errors
/// INVALID_FIELD.
pub fn update_vendor(request: wire::UpdateVendorRequest) -> Result<Keyed, Problem> {
    let mut violations = Violations::new();
    let wire::Vendor { code, name, etag, .. } = required(&mut violations, "vendor", request.vendor);
    let renaming = renaming(&mut violations, "vendor", (code, name, etag), request.update_mask);
    keyed(violations, &request.request_id, Mutation::UpdateVendor(renaming))
}

/// What UpdateLocation asks for.
///
/// # Errors
/// INVALID_FIELD.
pub fn update_location(request: wire::UpdateLocationRequest) -> Result<Keyed, Problem> {
    let mut violations = Violations::new();
    let wire::Location { code, name, etag, .. } = required(&mut violations, "location", request.location);
    let renaming = renaming(&mut violations, "location", (code, name, etag), request.update_mask);
    keyed(violations, &request.request_id, Mutation::UpdateLocation(renaming))
}

fn renaming(
    violations: &mut Violations,
    what: &str,
    (code, name, etag): (String, String, String),
    mask: Option<FieldMask>,
) -> Renaming {
    let etag = non_empty(etag);
    if violations.is_empty() {
        violations.check_code(format_args!("{what}.code"), &code);
        rules::check_name(violations, &format!("{what}.name"), &name);
        check_etag(violations, &format!("{what}.etag"), etag.as_deref());
        for (index, path) in paths(violations, mask).iter().enumerate() {
            if path != "name" {
                violations.add(format_args!("update_mask.paths[{index}]"), "must be name");
            }
        }
    }
    Renaming { code, etag, name }
}

/// What BatchDeleteOffers asks for.
///
/// # Errors
/// INVALID_FIELD.
pub fn delete_offers(request: wire::BatchDeleteOffersRequest) -> Result<Keyed, Problem> {
    let mut violations = Violations::new();
    let asked = request.offers.len();
    let mut keys = BTreeSet::new();
    if check_batch(&mut violations, "offers", asked) {
        for (index, wire::Offer { vendor, vendor_sku, location, .. }) in request.offers.into_iter().enumerate() {
            violations.check_code(format_args!("offers[{index}].vendor"), &vendor);
            check_vendor_sku(&mut violations, format_args!("offers[{index}].vendor_sku"), &vendor_sku);
            violations.check_code(format_args!("offers[{index}].location"), &location);
            keys.insert(OfferKey { vendor, location, vendor_sku });
        }
    }
    keyed(violations, &request.request_id, Mutation::DeleteOffers { keys, asked })
}
