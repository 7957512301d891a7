//! The shop's own numbers, between the wire and vendor-sync's own types.

use std::collections::{BTreeMap, HashSet};

use holdfast_api::error::v1::ErrorReason;
use holdfast_api::reservation::v1 as pb;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_kit::{Problem, Violations};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{moment, violation};
use crate::fingerprint::Fingerprint;
use crate::model::{HOUSE, HouseFile, RunOrigin, Upload};
use crate::store::{RequestKey, StoreError};

/// Counts in one request.
const COUNTS_MAX: usize = 1000;
/// Adjustments in one request.
const ADJUSTMENTS_MAX: usize = 100;
/// The most units that a count may say.
const UNITS_MAX: i64 = 1_000_000_000;
/// The most units that an adjustment may add or remove.
const DELTA_MAX: i64 = 1_000_000;
/// The columns of the file that typed counts become.
pub const TYPED_COLUMNS: [&str; 3] = ["sku", "quantity", "expected"];
/// How long ago somebody may have counted.
const AGO_MAX: Duration = Duration::days(7);

/// What SubmitCounts asks for.
#[derive(Debug, Clone)]
pub struct TypedCounts {
    /// The key that the caller made.
    pub request_id: Uuid,
    /// The counts, in the order of the request.
    pub counts: Vec<wire::HouseCount>,
    /// Where, who and why.
    pub file: HouseFile,
    /// When it was counted; none: now.
    pub as_of: Option<OffsetDateTime>,
}

/// What SubmitCounts asks for.
///
/// # Errors
/// INVALID_FIELD.
pub fn submit_counts(request: wire::SubmitCountsRequest) -> Result<TypedCounts, Problem> {
    let mut violations = Violations::new();
    let request_id = violations.check_uuid("request_id", &request.request_id);
    violations.check_code("location", &request.location);
    violations.check_text("actor", &request.actor, 1..=128);
    violations.check_text("note", &request.note, 0..=500);
    if !(1..=COUNTS_MAX).contains(&request.counts.len()) {
        violations.add("counts", format_args!("must have 1 to {COUNTS_MAX} entries"));
    }
    let mut seen = HashSet::new();
    for (index, count) in request.counts.iter().enumerate() {
        violations.check_sku(format_args!("counts[{index}].sku"), &count.sku);
        violations.check_range(format_args!("counts[{index}].quantity"), count.quantity, 0..=UNITS_MAX);
        check_expectation(&mut violations, index, count);
        if !seen.insert(count.sku.as_str()) {
            violations.add(format_args!("counts[{index}].sku"), "stands in the request before");
        }
    }
    let as_of = request.as_of_time.and_then(moment);
    if request.as_of_time.is_some() && as_of.is_none() {
        violations.add("as_of_time", "must be a time from 1970 on");
    }
    match request_id {
        Some(request_id) if violations.is_empty() => {
            let wire::SubmitCountsRequest { location, counts, actor, note, .. } = request;
            let file = HouseFile { location, typed_by: actor, note };
            Ok(TypedCounts { request_id, counts, file, as_of })
        }
        _ => Err(violations.into_problem()),
    }
}

/// Exactly one of what was seen on hand and the word that it does not matter: whoever counts says which.
fn check_expectation(violations: &mut Violations, index: usize, count: &wire::HouseCount) {
    let field = format!("counts[{index}].expected_quantity");
    match (count.expected_quantity, count.overwrite) {
        (Some(expected), false) => drop(violations.check_range(field, expected, 0..=UNITS_MAX)),
        (None, true) => {}
        (None, false) => violations.add(field, "is required: what was on hand before counting; or else overwrite"),
        (Some(_), true) => violations.add(field, "must not be set beside overwrite"),
    }
}

impl TypedCounts {
    /// The key under which they are taken once.
    #[must_use]
    pub fn key(&self) -> RequestKey {
        let HouseFile { location, typed_by, note } = &self.file;
        let parts = Fingerprint::new().part(location).part(typed_by).part(note);
        let parts = parts.part(self.as_of.map_or(0, OffsetDateTime::unix_timestamp_nanos).to_be_bytes());
        let parts = self.counts.iter().fold(parts, |parts, count| {
            let parts = parts.part(&count.sku).part(count.quantity.to_be_bytes());
            // Nothing is added for an overwriting count: that is what all were before there were expectations.
            count.expected_quantity.iter().fold(parts, |parts, expected| parts.part(expected.to_be_bytes()))
        });
        typed_key(self.request_id, "SubmitCounts", parts)
    }

    /// The file that says the same, counted at a moment that was given, or at the present.
    ///
    /// # Errors
    /// INVALID_FIELD when the moment lies too far back or ahead.
    pub fn file(&self, present_time: OffsetDateTime) -> Result<Upload, Problem> {
        let as_of = self.as_of.unwrap_or(present_time);
        if as_of > present_time || present_time - as_of > AGO_MAX {
            return Err(violation("as_of_time", "must be at most 7 days ago by the server's clock, and not ahead"));
        }
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let row = |count: &wire::HouseCount| {
            let expected = count.expected_quantity.map(|expected| expected.to_string()).unwrap_or_default();
            format!("{},{},{expected}\n", quoted(&count.sku), count.quantity)
        };
        let header = TYPED_COLUMNS.join(",");
        let content = format!("{header}\n{}", self.counts.iter().map(row).collect::<String>()).into_bytes();
        Ok(Upload {
            connection: HOUSE.to_owned(),
            as_of,
            file_name: String::new(),
            sha256: Sha256::digest(&content).into(),
            content: vec![content],
            origin: RunOrigin::Typed,
            house: Some(self.file.clone()),
        })
    }
}

/// What is said of the location and the sender of an uploaded file: required of the shop's own, not allowed of vendors'.
pub(super) fn of_spec(violations: &mut Violations, spec: &wire::UploadFeedSpec) -> Option<HouseFile> {
    if spec.connection != HOUSE {
        for (field, text) in [("spec.location", &spec.location), ("spec.actor", &spec.actor)] {
            if !text.is_empty() {
                violations.add(field, "is for files of the connection house only");
            }
        }
        return None;
    }
    violations.check_code("spec.location", &spec.location);
    violations.check_text("spec.actor", &spec.actor, 1..=128);
    Some(HouseFile { location: spec.location.clone(), typed_by: spec.actor.clone(), note: String::new() })
}

/// What SubmitAdjustments asks for.
#[derive(Debug, Clone)]
pub struct Adjust {
    /// The key that the caller made.
    pub request_id: Uuid,
    /// The request, without its key.
    pub request: wire::SubmitAdjustmentsRequest,
}

/// What SubmitAdjustments asks for.
///
/// # Errors
/// INVALID_FIELD.
pub fn submit_adjustments(mut request: wire::SubmitAdjustmentsRequest) -> Result<Adjust, Problem> {
    let mut violations = Violations::new();
    let request_id = violations.check_uuid("request_id", &request.request_id);
    violations.check_text("actor", &request.actor, 1..=128);
    violations.check_text("note", &request.note, 0..=500);
    if !(1..=ADJUSTMENTS_MAX).contains(&request.adjustments.len()) {
        violations.add("adjustments", format_args!("must have 1 to {ADJUSTMENTS_MAX} entries"));
    }
    for (index, adjustment) in request.adjustments.iter().enumerate() {
        let field = |name: &str| format!("adjustments[{index}].{name}");
        violations.check_sku(field("sku"), &adjustment.sku);
        violations.check_code(field("location"), &adjustment.location);
        if violations.check_range(field("delta"), adjustment.delta, -DELTA_MAX..=DELTA_MAX) && adjustment.delta == 0 {
            violations.add(field("delta"), "must not be 0");
        }
        if wire::HouseCondition::try_from(adjustment.condition).unwrap_or_default() == wire::HouseCondition::Unspecified
        {
            violations.add(field("condition"), "must be one of the conditions");
        }
        if wire::HouseReason::try_from(adjustment.reason).unwrap_or_default() == wire::HouseReason::Unspecified {
            violations.add(field("reason"), "must be one of the reasons");
        }
    }
    match request_id {
        Some(request_id) if violations.is_empty() => {
            request.request_id = String::new();
            Ok(Adjust { request_id, request })
        }
        _ => Err(violations.into_problem()),
    }
}

/// The key under which adjustments are made once.
#[must_use]
pub fn adjust_key(adjust: &Adjust) -> RequestKey {
    let wire::SubmitAdjustmentsRequest { adjustments, actor, note, .. } = &adjust.request;
    let parts = Fingerprint::new().part(actor).part(note);
    let parts = adjustments.iter().fold(parts, |parts, adjustment| {
        parts
            .part(&adjustment.sku)
            .part(&adjustment.location)
            .part(adjustment.condition.to_be_bytes())
            .part(adjustment.delta.to_be_bytes())
            .part(adjustment.reason.to_be_bytes())
    });
    typed_key(adjust.request_id, "SubmitAdjustments", parts)
}

/// The key of something typed.
#[must_use]
pub fn typed_key(request_id: Uuid, kind: &'static str, parts: Fingerprint) -> RequestKey {
    RequestKey { request_id, kind, payload_hash: parts.finish() }
}

/// Adjustments as they were stored.
///
/// # Errors
/// [`StoreError::Unreadable`].
pub fn kept_adjustments(request: &[u8]) -> Result<wire::SubmitAdjustmentsRequest, StoreError> {
    let request = wire::SubmitAdjustmentsRequest::decode(request);
    request.map_err(|error| StoreError::Unreadable(format!("adjustments: {error}")))
}

/// What each SKU at each location gains or loses of what can be sold, by the first reason that is given for it.
#[must_use]
pub fn guard_view(adjustments: &[wire::HouseAdjustment]) -> BTreeMap<(String, String), Typed> {
    let mut view = BTreeMap::new();
    let sellable = adjustments.iter().filter(|of| of.condition() == wire::HouseCondition::Sellable);
    for adjustment in sellable {
        let key = (adjustment.sku.clone(), adjustment.location.clone());
        let typed = view.entry(key).or_insert(Typed { sum: 0, added: Vec::new(), comes_in: true });
        typed.sum += adjustment.delta;
        if let Some(added) = u64::try_from(adjustment.delta).ok().filter(|added| *added > 0) {
            typed.added.push(added);
            typed.comes_in &= matches!(adjustment.reason(), wire::HouseReason::Received | wire::HouseReason::Moved);
        }
    }
    view
}

/// What a request does to the units for sale of a SKU at a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// What it comes to.
    pub sum: i64,
    /// Every addition as it was typed: a slip is in one of them, whatever is taken off beside it.
    pub added: Vec<u64>,
    /// Whether all that is added comes in.
    pub comes_in: bool,
}

/// An adjustment as reservation takes it.
#[must_use]
pub fn adjustment(adjustment: &wire::HouseAdjustment) -> pb::Adjustment {
    let condition = match adjustment.condition() {
        wire::HouseCondition::Unspecified => pb::Condition::Unspecified,
        wire::HouseCondition::Sellable => pb::Condition::Sellable,
        wire::HouseCondition::Damaged => pb::Condition::Damaged,
        wire::HouseCondition::QualityHold => pb::Condition::QualityHold,
        wire::HouseCondition::Refurbished => pb::Condition::Refurbished,
    };
    let reason = match adjustment.reason() {
        wire::HouseReason::Unspecified => pb::AdjustmentReason::Unspecified,
        wire::HouseReason::Received => pb::AdjustmentReason::Received,
        wire::HouseReason::Found => pb::AdjustmentReason::Found,
        wire::HouseReason::Lost => pb::AdjustmentReason::Lost,
        wire::HouseReason::Damaged => pb::AdjustmentReason::Damaged,
        wire::HouseReason::Returned => pb::AdjustmentReason::Returned,
        wire::HouseReason::Moved => pb::AdjustmentReason::Moved,
        wire::HouseReason::Correction => pb::AdjustmentReason::Correction,
    };
    pb::Adjustment {
        sku: adjustment.sku.clone(),
        location: adjustment.location.clone(),
        condition: condition.into(),
        delta: adjustment.delta,
        reason: reason.into(),
    }
}

/// Stock after an adjustment, for the wire.
#[must_use]
pub fn house_level(level: pb::StockLevel) -> wire::HouseLevel {
    wire::HouseLevel {
        unsellable: level.unsellable.iter().map(|of| of.quantity).sum(),
        sku: level.sku,
        location: level.location,
        on_hand: level.on_hand,
        available: level.available,
        shortfall: level.shortfall,
    }
}

/// Catalog does not know some SKUs of a list: names their fields.
#[must_use]
pub fn unknown_sku_fields<'a>(
    list: &str,
    skus: impl Iterator<Item = &'a str>,
    unknown: &HashSet<String>,
) -> Option<Problem> {
    let mut violations = Violations::new();
    for (index, sku) in skus.enumerate().filter(|(_, sku)| unknown.contains(*sku)) {
        violations.add(format_args!("{list}[{index}].sku"), format_args!("no SKU has the code {sku:?}"));
    }
    (!violations.is_empty()).then(|| violations.into_problem_as(ErrorReason::UnknownSku))
}
