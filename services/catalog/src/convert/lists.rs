//! What lists and searches ask for.

use holdfast_api::catalog::v1 as wire;
use holdfast_kit::{Problem, Violations, page};
use prost_types::Timestamp;
use time::OffsetDateTime;

use super::{check_optional_code, non_empty};
use crate::model::Attributes;
use crate::rules;
use crate::store::{SkuFilter, SkuSearch};

/// A page's items when the caller does not say.
const PAGE_SIZE_DEFAULT: i32 = 100;
/// The most items on a page.
const PAGE_SIZE_MAX: i32 = 1000;
/// The same of searches.
const SEARCH_PAGE_SIZE_DEFAULT: i32 = 20;
const SEARCH_PAGE_SIZE_MAX: i32 = 100;
/// The most attributes that a filter names.
const FILTER_ATTRIBUTES_MAX: usize = 10;

/// How many items a page of a list has, after what else a check of its fields finds.
///
/// # Errors
/// INVALID_FIELD.
pub fn page_size(requested: i32, check: impl FnOnce(&mut Violations)) -> Result<usize, Problem> {
    let mut violations = Violations::new();
    let size = page::page_size(requested, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, &mut violations);
    check(&mut violations);
    violations.into_result()?;
    Ok(items(size))
}

/// How many items a page of a search has.
pub fn search_page_size(violations: &mut Violations, requested: i32) -> usize {
    items(page::page_size(requested, SEARCH_PAGE_SIZE_DEFAULT, SEARCH_PAGE_SIZE_MAX, violations))
}

fn items(size: i64) -> usize {
    usize::try_from(size).expect("kit's page sizes lie between 1 and the maximum")
}

/// Which SKUs a list has.
pub fn sku_filter(violations: &mut Violations, code_prefix: String, filter: Option<wire::SkuFilter>) -> SkuFilter {
    violations.check_text("code_prefix", &code_prefix, 0..=128);
    let wire::SkuFilter { show, gtin, attributes, vendor, changed_since_time, with_policy } =
        filter.unwrap_or_default();
    let attributes = Attributes::from_iter(attributes);
    rules::check_gtin(violations, "filter.gtin", &gtin);
    if attributes.len() > FILTER_ATTRIBUTES_MAX {
        let text = format_args!("must have at most {FILTER_ATTRIBUTES_MAX} entries, has {}", attributes.len());
        violations.add("filter.attributes", text);
    } else {
        rules::check_attributes(violations, "filter.attributes", &attributes);
    }
    check_optional_code(violations, "filter.vendor", &vendor);
    let changed_since = changed_since_time.and_then(|time| {
        let instant = instant(time);
        if instant.is_none() {
            violations.add("filter.changed_since_time", "is no instant between the years 1 and 9999");
        }
        instant
    });
    SkuFilter {
        prefix: code_prefix,
        archived: archived(violations, "filter.show", show),
        gtin: non_empty(gtin),
        attributes,
        vendor: non_empty(vendor),
        changed_since,
        with_policy,
    }
}

/// What a search looks for. White space at the ends of the query does not matter.
pub fn search(violations: &mut Violations, query: &str, show: i32) -> SkuSearch {
    let query = query.trim();
    violations.check_text("query", query, 2..=200);
    SkuSearch { query: query.to_owned(), archived: archived(violations, "show", show) }
}

/// Only archived ones, only sold ones (false), or both.
fn archived(violations: &mut Violations, field: &str, show: i32) -> Option<bool> {
    match wire::SkuShow::try_from(show) {
        Ok(wire::SkuShow::Unspecified | wire::SkuShow::Active) => Some(false),
        Ok(wire::SkuShow::Archived) => Some(true),
        Ok(wire::SkuShow::All) => None,
        Err(_) => {
            violations.add(field, "must be SKU_SHOW_ACTIVE, SKU_SHOW_ARCHIVED or SKU_SHOW_ALL");
            None
        }
    }
}

fn instant(Timestamp { seconds, nanos }: Timestamp) -> Option<OffsetDateTime> {
    let nanos = u32::try_from(nanos).ok()?;
    let instant = OffsetDateTime::from_unix_timestamp(seconds).ok()?.replace_nanosecond(nanos).ok()?;
    // Postgres knows more years than the wire does, and the type here knows some that neither does.
    (1..=9999).contains(&instant.year()).then_some(instant)
}
