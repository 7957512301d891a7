//! Catalog's messages.

use holdfast_client::api::catalog::v1::{
    ImportSkusResponse, Location, Offer, SellingPolicy, Sku, SkuMatch, SkuState, Vendor,
};
use serde_json::{Map, Value, json};

use super::{duration, instant};

pub(crate) fn sku(sku: &Sku) -> Value {
    json!({
        "code": sku.code,
        "name": sku.name,
        "gtin": sku.gtin,
        "attributes": sku.attributes,
        "create_time": instant(sku.create_time.as_ref()),
        "update_time": instant(sku.update_time.as_ref()),
        "etag": sku.etag,
        "version": sku.version,
        "archive_time": instant(sku.archive_time.as_ref()),
        "policy": sku.policy.as_ref().map(policy),
    })
}

pub(crate) fn import(response: &ImportSkusResponse) -> Value {
    let problems: Vec<_> = response
        .problems
        .iter()
        .map(|problem| json!({"line": problem.line, "column": problem.column, "description": problem.description}))
        .collect();
    json!({
        "rows": response.rows,
        "created": response.created,
        "updated": response.updated,
        "unchanged": response.unchanged,
        "failed": response.failed,
        "bad_rows": response.bad_rows,
        "problems": problems,
    })
}

pub(crate) fn vendor(vendor: &Vendor) -> Value {
    json!({"code": vendor.code, "name": vendor.name, "etag": vendor.etag, "create_time": instant(vendor.create_time.as_ref())})
}

pub(crate) fn location(location: &Location) -> Value {
    json!({
        "code": location.code,
        "name": location.name,
        "vendor": location.vendor,
        "etag": location.etag,
        "create_time": instant(location.create_time.as_ref()),
    })
}

pub(crate) fn offer(offer: &Offer) -> Value {
    json!({
        "vendor": offer.vendor,
        "location": offer.location,
        "vendor_sku": offer.vendor_sku,
        "sku": offer.sku,
        "pack_size": offer.pack_size,
        "create_time": instant(offer.create_time.as_ref()),
    })
}

fn policy(policy: &SellingPolicy) -> Value {
    let caps: Map<String, Value> =
        policy.channel_caps.iter().map(|cap| (cap.channel.clone(), cap.quantity.into())).collect();
    json!({
        "safety_stock": policy.safety_stock,
        "backorder_limit": policy.backorder_limit,
        "max_per_reservation": policy.max_per_reservation,
        "max_per_owner": policy.max_per_owner,
        "default_hold_duration": duration(policy.default_hold_duration.as_ref()),
        "locations": policy.locations,
        "max_per_minute": policy.max_per_minute,
        "channel_caps": caps,
        "promise_time": instant(policy.promise_time.as_ref()),
        "promise_lead_duration": duration(policy.promise_lead_duration.as_ref()),
    })
}

/// A SKU that was found, with how well it fits.
pub(crate) fn sku_match(found: &SkuMatch) -> Value {
    let mut value = found.sku.as_ref().map_or_else(|| json!({}), sku);
    // Two digits say enough: the score is comparable within one answer only.
    value["score"] = json!((found.score * 100.0).round() / 100.0);
    value
}

/// A SKU as a watch tells it, with its offers.
pub(crate) fn sku_state(state: &SkuState) -> Value {
    let mut value = state.sku.as_ref().map_or_else(|| json!({}), sku);
    value["offers"] = state.offers.iter().map(offer).collect();
    value
}
