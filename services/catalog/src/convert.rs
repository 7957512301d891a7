//! Between the wire and the catalog's own types. What comes in is checked here, all fields at once.

use std::collections::BTreeMap;

use holdfast_api::catalog::v1 as wire;
use holdfast_kit::{Problem, Violations, page};
use prost::Message as _;
use prost_types::Timestamp;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::fingerprint::Fingerprint;
use crate::import::{ErrorMode, ImportSpec, Report, RowProblem};
use crate::model::{Attributes, Location, NewLocation, NewSku, NewVendor, Offer, OfferContent, OfferKey, Sku, Vendor};
use crate::mutation::{Mutation, Outcome};
use crate::rules;

/// The most items in a batch.
pub const BATCH_MAX: usize = 1000;
/// A page's items when the caller does not say.
const PAGE_SIZE_DEFAULT: i32 = 100;
/// The most items on a page.
const PAGE_SIZE_MAX: i32 = 1000;

/// A mutation and the key under which it happens once.
pub type Keyed = (Uuid, Mutation);

/// What CreateSku asks for.
///
/// # Errors
/// INVALID_FIELD.
pub fn create_sku(request: wire::CreateSkuRequest) -> Result<Keyed, Problem> {
    let mut violations = Violations::new();
    let wire::Sku { code, name, gtin, attributes, .. } = required(&mut violations, "sku", request.sku);
    let attributes = Attributes::from_iter(attributes);
    if violations.is_empty() {
        violations.check_sku("sku.code", &code);
        rules::check_name(&mut violations, "sku.name", &name);
        rules::check_gtin(&mut violations, "sku.gtin", &gtin);
        rules::check_attributes(&mut violations, "sku.attributes", &attributes);
    }
    let sku = NewSku { code, name, gtin: non_empty(gtin), attributes };
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

/// How ImportSkus' first message says that the file is to be read.
///
/// # Errors
/// INVALID_FIELD.
pub fn import_spec(spec: wire::ImportSkusSpec) -> Result<ImportSpec, Problem> {
    let mut violations = Violations::new();
    let request_id = violations.check_uuid("spec.request_id", &spec.request_id);
    violations.check_text("spec.code_column", &spec.code_column, 1..=COLUMN_BYTES_MAX);
    violations.check_text("spec.name_column", &spec.name_column, 0..=COLUMN_BYTES_MAX);
    violations.check_text("spec.gtin_column", &spec.gtin_column, 0..=COLUMN_BYTES_MAX);
    check_attribute_columns(&mut violations, &spec.attribute_columns);
    let delimiter = delimiter(&mut violations, &spec.delimiter);
    let error_mode = match spec.error_mode() {
        wire::ImportErrorMode::AllOrNothing => Some(ErrorMode::AllOrNothing),
        wire::ImportErrorMode::SkipBadRows => Some(ErrorMode::SkipBadRows),
        wire::ImportErrorMode::Unspecified => {
            violations
                .add("spec.error_mode", "must be IMPORT_ERROR_MODE_ALL_OR_NOTHING or IMPORT_ERROR_MODE_SKIP_BAD_ROWS");
            None
        }
    };
    let size_bytes = match spec.size_bytes {
        0 => None,
        size => u64::try_from(size).ok(),
    };
    if spec.size_bytes < 0 {
        violations.add("spec.size_bytes", format_args!("must not be negative, is {}", spec.size_bytes));
    }
    match (request_id, delimiter, error_mode) {
        (Some(request_id), Some(delimiter), Some(error_mode)) if violations.is_empty() => Ok(ImportSpec {
            request_id,
            code_column: spec.code_column,
            name_column: non_empty(spec.name_column),
            gtin_column: non_empty(spec.gtin_column),
            attribute_columns: spec.attribute_columns,
            delimiter,
            error_mode,
            size_bytes,
        }),
        _ => Err(violations.into_problem()),
    }
}

/// The longest name of a column that a file is searched for, in bytes.
const COLUMN_BYTES_MAX: usize = 200;

fn check_attribute_columns(violations: &mut Violations, columns: &[String]) {
    const FIELD: &str = "spec.attribute_columns";
    if columns.len() > crate::model::ATTRIBUTES_MAX {
        violations.add(
            FIELD,
            format_args!("must have at most {} entries, has {}", crate::model::ATTRIBUTES_MAX, columns.len()),
        );
        return;
    }
    for (index, column) in columns.iter().enumerate() {
        let field = format!("{FIELD}[{index}]");
        violations.check_text(&field, column, 1..=rules::ATTRIBUTE_KEY_BYTES_MAX);
        if columns[..index].contains(column) {
            violations.add(field, "stands in the list before");
        }
    }
}

fn delimiter(violations: &mut Violations, text: &str) -> Option<u8> {
    match text.as_bytes() {
        [] => Some(b','),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n' | 0) && !byte.is_ascii_alphanumeric() => {
            Some(*byte)
        }
        _ => {
            violations.add(
                "spec.delimiter",
                "must be one ASCII character that is no letter, digit, quote or line end, or empty for a comma",
            );
            None
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

/// How many items a page of a list has, after what else a check of its fields finds.
///
/// # Errors
/// INVALID_FIELD.
pub fn page_size(requested: i32, check: impl FnOnce(&mut Violations)) -> Result<usize, Problem> {
    let mut violations = Violations::new();
    let size = page::page_size(requested, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, &mut violations);
    check(&mut violations);
    violations.into_result()?;
    Ok(usize::try_from(size).expect("kit's page sizes lie between 1 and the maximum"))
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
        Outcome::Sku(created) => wire::CreateSkuResponse { sku: Some(sku(created.clone())) }.encode_to_vec(),
        Outcome::Vendor(created) => {
            wire::CreateVendorResponse { vendor: Some(vendor(created.clone())) }.encode_to_vec()
        }
        Outcome::Location(created) => {
            wire::CreateLocationResponse { location: Some(location(created.clone())) }.encode_to_vec()
        }
        Outcome::Offers { created, unchanged } => {
            wire::BatchCreateOffersResponse { created: *created, unchanged: *unchanged }.encode_to_vec()
        }
    }
}

/// The answer to an import, as it is sent now and kept for replays.
#[must_use]
pub fn import_answer(report: &Report) -> Vec<u8> {
    let problem = |RowProblem { line, column, description }: &RowProblem| wire::RowProblem {
        line: *line,
        column: column.clone(),
        description: description.clone(),
    };
    wire::ImportSkusResponse {
        rows: report.rows,
        created: report.applied.created,
        updated: report.applied.updated,
        unchanged: report.applied.unchanged,
        failed: report.failed(),
        problems: report.problems.listed().map(problem).collect(),
        bad_rows: report.problems.bad_rows(),
    }
    .encode_to_vec()
}

/// A SKU for the wire.
#[must_use]
pub fn sku(sku: Sku) -> wire::Sku {
    let etag = etag(&sku);
    let Sku { content: NewSku { code, name, gtin, attributes }, version, create_time, update_time } = sku;
    wire::Sku {
        code,
        name,
        gtin: gtin.unwrap_or_default(),
        attributes: attributes.into_iter().collect(),
        create_time: Some(timestamp(create_time)),
        update_time: Some(timestamp(update_time)),
        etag,
        policy: None,
        archive_time: None,
        version,
    }
}

/// A vendor for the wire.
#[must_use]
pub fn vendor(vendor: Vendor) -> wire::Vendor {
    let Vendor { content: NewVendor { code, name }, create_time } = vendor;
    wire::Vendor { code, name, create_time: Some(timestamp(create_time)), etag: String::new() }
}

/// A location for the wire.
#[must_use]
pub fn location(location: Location) -> wire::Location {
    let Location { content: NewLocation { code, name, vendor }, create_time } = location;
    wire::Location {
        code,
        name,
        vendor: vendor.unwrap_or_default(),
        create_time: Some(timestamp(create_time)),
        etag: String::new(),
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

/// Changes with every change of the SKU. Of the version and the time, so that a database that was set back to a backup does not give out an etag twice.
fn etag(sku: &Sku) -> String {
    let changed = sku.update_time.unix_timestamp_nanos().to_be_bytes();
    let digest = Fingerprint::new().part(&sku.content.code).part(sku.version.to_be_bytes()).part(changed).finish();
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn timestamp(time: OffsetDateTime) -> Timestamp {
    let nanos = i32::try_from(time.nanosecond()).expect("a second has fewer nanoseconds than i32::MAX");
    Timestamp { seconds: time.unix_timestamp(), nanos }
}
