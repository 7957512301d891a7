//! Between the wire and the catalog's own types. What comes in is checked here, all fields at once.

mod changes;
mod imports;
mod lists;

pub use changes::{archive_sku, delete_offers, restore_sku, update_location, update_sku, update_vendor};
pub use imports::{import_answer, import_spec};
pub use lists::{page_size, search, search_page_size, sku_filter};

use std::collections::BTreeMap;

use holdfast_api::catalog::v1 as wire;
use holdfast_kit::{Problem, Violations};
use prost::Message as _;
use prost_types::{Duration, Timestamp};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::fingerprint::etag;
use crate::model::{
    Attributes, ChannelCap, Location, NewLocation, NewSku, NewVendor, Offer, OfferContent, OfferKey, Policy,
    PolicyChange, Sku, SkuState, Vendor,
};
use crate::mutation::{Mutation, Outcome};
use crate::rules::{self, NANOS_PER_SECOND};
use crate::store::Found;

/// The most items in a batch.
pub const BATCH_MAX: usize = 1000;
/// A mutation and the key under which it happens once.
pub type Keyed = (Uuid, Mutation);

/// What CreateSku asks for.
///
/// # Errors
/// INVALID_FIELD.
pub fn create_sku(request: wire::CreateSkuRequest) -> Result<Keyed, Problem> {
    let mut violations = Violations::new();
    let wire::Sku { code, name, gtin, attributes, policy, .. } = required(&mut violations, "sku", request.sku);
    let attributes = Attributes::from_iter(attributes);
    let change = policy_change(policy.unwrap_or_default());
    let mut policy = Policy::default();
    change.apply(&mut policy);
    if violations.is_empty() {
        violations.check_sku("sku.code", &code);
        rules::check_name(&mut violations, "sku.name", &name);
        rules::check_gtin(&mut violations, "sku.gtin", &gtin);
        rules::check_attributes(&mut violations, "sku.attributes", &attributes);
        rules::check_policy_change(&mut violations, "sku.policy", &change);
        rules::check_policy(&mut violations, "sku.policy", &policy);
    }
    let sku = NewSku { code, name, gtin: non_empty(gtin), attributes, policy };
    keyed(violations, &request.request_id, Mutation::CreateSku(sku))
}

/// What CreateVendor asks for.
///
/// # Errors
/// INVALID_FIELD.
pub fn create_vendor(request: wire::CreateVendorRequest) -> Result<Keyed, Problem> {
    let mut violations = Violations::new();
    let wire::Vendor { code, name, .. } = required(&mut violations, "vendor", request.vendor);
    if violations.is_empty() {
        violations.check_code("vendor.code", &code);
        rules::check_name(&mut violations, "vendor.name", &name);
    }
    keyed(violations, &request.request_id, Mutation::CreateVendor(NewVendor { code, name }))
}

/// What CreateLocation asks for.
///
/// # Errors
/// INVALID_FIELD.
pub fn create_location(request: wire::CreateLocationRequest) -> Result<Keyed, Problem> {
    let mut violations = Violations::new();
    let wire::Location { code, name, vendor, .. } = required(&mut violations, "location", request.location);
    if violations.is_empty() {
        violations.check_code("location.code", &code);
        rules::check_name(&mut violations, "location.name", &name);
        check_optional_code(&mut violations, "location.vendor", &vendor);
    }
    let location = NewLocation { code, name, vendor: non_empty(vendor) };
    keyed(violations, &request.request_id, Mutation::CreateLocation(location))
}

/// What BatchCreateOffers asks for.
///
/// # Errors
/// INVALID_FIELD.
pub fn create_offers(request: wire::BatchCreateOffersRequest) -> Result<Keyed, Problem> {
    let mut violations = Violations::new();
    let asked = request.offers.len();
    let mut offers = BTreeMap::new();
    if check_batch(&mut violations, "offers", asked) {
        for (index, offer) in request.offers.into_iter().enumerate() {
            add_offer(&mut violations, index, offer, &mut offers);
        }
    }
    let offers = offers.into_iter().map(|(key, (_, content))| (key, content)).collect();
    keyed(violations, &request.request_id, Mutation::CreateOffers { offers, asked })
}

/// Adds an offer to those of a batch, with its place in it.
fn add_offer(
    violations: &mut Violations,
    index: usize,
    offer: wire::Offer,
    offers: &mut BTreeMap<OfferKey, (usize, OfferContent)>,
) {
    let wire::Offer { vendor, vendor_sku, location, sku, pack_size, .. } = offer;
    let pack_size = if pack_size == 0 { 1 } else { pack_size };
    violations.check_code(format_args!("offers[{index}].vendor"), &vendor);
    check_vendor_sku(violations, format_args!("offers[{index}].vendor_sku"), &vendor_sku);
    violations.check_code(format_args!("offers[{index}].location"), &location);
    violations.check_sku(format_args!("offers[{index}].sku"), &sku);
    violations.check_range(format_args!("offers[{index}].pack_size"), pack_size, 1..=rules::PACK_SIZE_MAX);
    // A value out of range has been complained of, so what stands for it here is never stored.
    let content = OfferContent { sku, pack_size: i32::try_from(pack_size).unwrap_or(i32::MAX) };
    let key = OfferKey { vendor, location, vendor_sku };
    match offers.get(&key) {
        Some((first, other)) if *other != content => {
            let text = format_args!("has the vendor, location and vendor_sku of offers[{first}], but other content");
            violations.add(format_args!("offers[{index}]"), text);
        }
        Some(_) => {}
        None => {
            offers.insert(key, (index, content));
        }
    }
}

/// A code to look up: a SKU's.
///
/// # Errors
/// INVALID_FIELD.
pub fn sku_code(code: String) -> Result<String, Problem> {
    let mut violations = Violations::new();
    violations.check_sku("code", &code);
    violations.into_result().map(|()| code)
}

/// A code to look up: a vendor's or a location's.
///
/// # Errors
/// INVALID_FIELD.
pub fn code(code: String) -> Result<String, Problem> {
    let mut violations = Violations::new();
    violations.check_code("code", &code);
    violations.into_result().map(|()| code)
}

/// The codes that BatchGetSkus asks for, each once.
///
/// # Errors
/// INVALID_FIELD.
pub fn batch_get_skus(request: wire::BatchGetSkusRequest) -> Result<Vec<String>, Problem> {
    let mut violations = Violations::new();
    if check_batch(&mut violations, "codes", request.codes.len()) {
        for (index, code) in request.codes.iter().enumerate() {
            violations.check_sku(format_args!("codes[{index}]"), code);
        }
    }
    violations.into_result().map(|()| each_once(request.codes))
}

/// The vendor, the location and the vendor's codes, each once, that BatchGetOffers asks for.
///
/// # Errors
/// INVALID_FIELD.
pub fn batch_get_offers(request: wire::BatchGetOffersRequest) -> Result<(String, String, Vec<String>), Problem> {
    let mut violations = Violations::new();
    violations.check_code("vendor", &request.vendor);
    violations.check_code("location", &request.location);
    if check_batch(&mut violations, "vendor_skus", request.vendor_skus.len()) {
        for (index, vendor_sku) in request.vendor_skus.iter().enumerate() {
            check_vendor_sku(&mut violations, format_args!("vendor_skus[{index}]"), vendor_sku);
        }
    }
    violations.into_result()?;
    Ok((request.vendor, request.location, each_once(request.vendor_skus)))
}

/// A code that may be missing: a vendor's.
pub fn check_optional_code(violations: &mut Violations, field: &str, code: &str) {
    if !code.is_empty() {
        violations.check_code(field, code);
    }
}

/// A code that may be missing: a SKU's.
pub fn check_optional_sku(violations: &mut Violations, field: &str, code: &str) {
    if !code.is_empty() {
        violations.check_sku(field, code);
    }
}

/// Text, or none if it is empty.
#[must_use]
pub fn non_empty(text: String) -> Option<String> {
    if text.is_empty() { None } else { Some(text) }
}

fn keyed(mut violations: Violations, request_id: &str, mutation: Mutation) -> Result<Keyed, Problem> {
    let request_id = violations.check_uuid("request_id", request_id);
    match request_id {
        Some(request_id) if violations.is_empty() => Ok((request_id, mutation)),
        _ => Err(violations.into_problem()),
    }
}

fn required<T: Default>(violations: &mut Violations, field: &str, value: Option<T>) -> T {
    value.unwrap_or_else(|| {
        violations.add(field, "is required");
        T::default()
    })
}

fn check_batch(violations: &mut Violations, field: &str, count: usize) -> bool {
    let fits = (1..=BATCH_MAX).contains(&count);
    if !fits {
        violations.add(field, format_args!("must have 1 to {BATCH_MAX} entries, has {count}"));
    }
    fits
}

/// A vendor's own code follows the rule of SKUs: 1 to 128 bytes, no control characters, no white space at its ends.
fn check_vendor_sku(violations: &mut Violations, field: std::fmt::Arguments<'_>, value: &str) {
    violations.check_sku(field, value);
}

fn each_once(codes: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::with_capacity(codes.len());
    codes.into_iter().filter(|code| seen.insert(code.clone())).collect()
}

/// The answer to a mutation, as it is sent now and kept for replays.
#[must_use]
pub fn answer(outcome: &Outcome) -> Vec<u8> {
    match outcome {
        // All answers about one SKU, one vendor or one location have it as their field 1, so they are written alike.
        Outcome::Sku(changed) => wire::CreateSkuResponse { sku: Some(sku(changed.clone())) }.encode_to_vec(),
        Outcome::Vendor(changed) => {
            wire::CreateVendorResponse { vendor: Some(vendor(changed.clone())) }.encode_to_vec()
        }
        Outcome::Location(changed) => {
            wire::CreateLocationResponse { location: Some(location(changed.clone())) }.encode_to_vec()
        }
        Outcome::OffersCreated { created, unchanged } => {
            wire::BatchCreateOffersResponse { created: *created, unchanged: *unchanged }.encode_to_vec()
        }
        Outcome::OffersDeleted { deleted, missing } => {
            wire::BatchDeleteOffersResponse { deleted: *deleted, missing: *missing }.encode_to_vec()
        }
    }
}

/// A SKU for the wire.
#[must_use]
pub fn sku(sku: Sku) -> wire::Sku {
    let Sku { content, archive_time, version, create_time, update_time } = sku;
    let NewSku { code, name, gtin, attributes, policy } = content;
    wire::Sku {
        etag: etag(&code, version, update_time),
        code,
        name,
        gtin: gtin.unwrap_or_default(),
        attributes: attributes.into_iter().collect(),
        create_time: Some(timestamp(create_time)),
        update_time: Some(timestamp(update_time)),
        policy: (policy != Policy::default()).then(|| wire_policy(policy)),
        archive_time: archive_time.map(timestamp),
        version,
    }
}

/// A SKU that was found, for the wire.
#[must_use]
pub fn sku_match(found: Found) -> wire::SkuMatch {
    // Millionths are few enough for a double to hold each of them.
    let millionths = i32::try_from(found.score).unwrap_or(i32::MAX);
    wire::SkuMatch { sku: Some(sku(found.sku)), score: f64::from(millionths) / 1_000_000.0 }
}

/// A SKU with its offers for the wire.
#[must_use]
pub fn sku_state(state: SkuState) -> wire::SkuState {
    wire::SkuState { sku: Some(sku(state.sku)), offers: state.offers.into_iter().map(offer).collect() }
}

fn wire_policy(policy: Policy) -> wire::SellingPolicy {
    let default_hold_duration = hold_duration(&policy);
    let (promise_time, promise_lead_duration) = (promise_time(&policy), promise_lead(&policy));
    let Policy {
        safety_stock,
        backorder_limit,
        max_per_reservation,
        max_per_owner,
        default_hold_ns: _,
        locations,
        max_per_minute,
        channel_caps,
        promise_time_ns: _,
        promise_lead_seconds: _,
    } = policy;
    let cap = |ChannelCap { channel, quantity }| wire::ChannelCap { channel, quantity };
    wire::SellingPolicy {
        safety_stock,
        backorder_limit,
        max_per_reservation,
        max_per_owner,
        default_hold_duration,
        locations,
        max_per_minute,
        channel_caps: channel_caps.into_iter().map(cap).collect(),
        promise_time,
        promise_lead_duration,
    }
}

/// A policy's promised date for the wire; unset if it has none.
#[must_use]
pub fn promise_time(policy: &Policy) -> Option<Timestamp> {
    let nanos = policy.promise_time_ns.rem_euclid(NANOS_PER_SECOND);
    let nanos = i32::try_from(nanos).expect("a second's nanoseconds fit");
    let seconds = policy.promise_time_ns.div_euclid(NANOS_PER_SECOND);
    (policy.promise_time_ns != 0).then_some(Timestamp { seconds, nanos })
}

/// A policy's time from order to promised date for the wire; unset if it has none.
#[must_use]
pub fn promise_lead(policy: &Policy) -> Option<Duration> {
    let seconds = policy.promise_lead_seconds;
    (seconds != 0).then_some(Duration { seconds, nanos: 0 })
}

/// A policy's default hold for the wire; unset if it has none.
#[must_use]
pub fn hold_duration(policy: &Policy) -> Option<Duration> {
    let nanos = i32::try_from(policy.default_hold_ns % NANOS_PER_SECOND).expect("a second's nanoseconds fit");
    (policy.default_hold_ns != 0).then_some(Duration { seconds: policy.default_hold_ns / NANOS_PER_SECOND, nanos })
}

/// A policy of the wire as new values of all its fields. A duration or an instant that is none, or too long for its type, becomes one that the rules refuse.
pub(crate) fn policy_change(policy: wire::SellingPolicy) -> PolicyChange {
    let wire::SellingPolicy {
        safety_stock,
        backorder_limit,
        max_per_reservation,
        max_per_owner,
        default_hold_duration,
        locations,
        max_per_minute,
        channel_caps,
        promise_time,
        promise_lead_duration,
    } = policy;
    let nanos = |Duration { seconds, nanos }: Duration| {
        let total = seconds.checked_mul(NANOS_PER_SECOND).and_then(|whole| whole.checked_add(nanos.into()));
        // 0 would mean that there is none; whoever says a duration of 0 is told that it is too short.
        total.filter(|total| *total != 0).unwrap_or(i64::MIN)
    };
    PolicyChange {
        safety_stock: Some(safety_stock),
        backorder_limit: Some(backorder_limit),
        max_per_reservation: Some(max_per_reservation),
        max_per_owner: Some(max_per_owner),
        default_hold_ns: Some(default_hold_duration.map_or(0, nanos)),
        locations: Some(locations),
        max_per_minute: Some(max_per_minute),
        channel_caps: Some(sorted(channel_caps)),
        promise_time_ns: Some(promise_time.map_or(0, unix_nanos)),
        promise_lead_seconds: Some(promise_lead_duration.map_or(0, whole_seconds)),
    }
}

/// Caps in the order of their channels, so that equal ones look equal.
fn sorted(caps: Vec<wire::ChannelCap>) -> Vec<ChannelCap> {
    let cap = |wire::ChannelCap { channel, quantity }| ChannelCap { channel, quantity };
    let mut caps: Vec<ChannelCap> = caps.into_iter().map(cap).collect();
    caps.sort();
    caps
}

/// An instant in nanoseconds since 1970. 0 stands for none, so that instant itself is refused like all that are no promise.
fn unix_nanos(Timestamp { seconds, nanos }: Timestamp) -> i64 {
    let total = seconds.checked_mul(NANOS_PER_SECOND).and_then(|whole| whole.checked_add(nanos.into()));
    let proper = (0..NANOS_PER_SECOND).contains(&i64::from(nanos));
    total.filter(|total| proper && *total != 0).unwrap_or(i64::MIN)
}

/// A duration in whole seconds; what is none is refused.
fn whole_seconds(Duration { seconds, nanos }: Duration) -> i64 {
    if nanos == 0 && seconds != 0 { seconds } else { i64::MIN }
}

/// A vendor for the wire.
#[must_use]
pub fn vendor(vendor: Vendor) -> wire::Vendor {
    let Vendor { content: NewVendor { code, name }, version, create_time, update_time } = vendor;
    wire::Vendor { etag: etag(&code, version, update_time), code, name, create_time: Some(timestamp(create_time)) }
}

/// A location for the wire.
#[must_use]
pub fn location(location: Location) -> wire::Location {
    let Location { content: NewLocation { code, name, vendor }, version, create_time, update_time } = location;
    wire::Location {
        etag: etag(&code, version, update_time),
        code,
        name,
        vendor: vendor.unwrap_or_default(),
        create_time: Some(timestamp(create_time)),
    }
}

/// An offer for the wire.
#[must_use]
pub fn offer(offer: Offer) -> wire::Offer {
    let Offer { key: OfferKey { vendor, location, vendor_sku }, content: OfferContent { sku, pack_size }, create_time } =
        offer;
    let pack_size = i64::from(pack_size);
    wire::Offer { vendor, vendor_sku, location, sku, pack_size, create_time: Some(timestamp(create_time)) }
}

fn timestamp(time: OffsetDateTime) -> Timestamp {
    let nanos = i32::try_from(time.nanosecond()).expect("a second has fewer nanoseconds than i32::MAX");
    Timestamp { seconds: time.unix_timestamp(), nanos }
}
