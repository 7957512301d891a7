//! Offers between the wire and vendor-sync's own types.

use std::collections::HashSet;

use holdfast_api::vendorsync::v1 as wire;
use holdfast_feeds::VENDOR_SKU_BYTES_MAX;
use holdfast_kit::{Problem, Violations};

use crate::model::{SkuOffer, SkuOffers};

/// The most SKUs in a request.
const SKUS_MAX: usize = 1000;
/// The most offers of a SKU.
const OFFERS_MAX: usize = 1000;
/// How many units may be in one of a vendor's units.
const PACK_SIZE: std::ops::RangeInclusive<i64> = 1..=100_000;

/// What ApplyOffers tells.
///
/// # Errors
/// INVALID_FIELD.
pub fn told_offers(request: wire::ApplyOffersRequest) -> Result<Vec<SkuOffers>, Problem> {
    let mut violations = Violations::new();
    if !(1..=SKUS_MAX).contains(&request.skus.len()) {
        violations.add("skus", format_args!("must have 1 to {SKUS_MAX} SKUs, has {}", request.skus.len()));
        return Err(violations.into_problem());
    }
    let mut seen = HashSet::new();
    for (index, told) in request.skus.iter().enumerate() {
        let field = format!("skus[{index}]");
        violations.check_sku(format_args!("{field}.sku"), &told.sku);
        violations.check_range(format_args!("{field}.version"), told.version, 1..=i64::MAX);
        if !seen.insert(&told.sku) {
            violations.add(format_args!("{field}.sku"), "stands in the request more than once");
        }
        check_offers(&mut violations, &field, &told.offers);
    }
    violations.into_result()?;
    let offer = |wire::SkuOffer { vendor, location, vendor_sku, pack_size }| SkuOffer {
        vendor,
        location,
        vendor_sku,
        pack_size,
    };
    let told = |wire::SkuOffers { sku, version, offers, archived }| SkuOffers {
        sku,
        version,
        offers: offers.into_iter().map(offer).collect(),
        archived,
    };
    Ok(request.skus.into_iter().map(told).collect())
}

fn check_offers(violations: &mut Violations, field: &str, offers: &[wire::SkuOffer]) {
    if offers.len() > OFFERS_MAX {
        let description = format!("must have at most {OFFERS_MAX} offers, has {}", offers.len());
        violations.add(format_args!("{field}.offers"), description);
        return;
    }
    let mut seen = HashSet::new();
    for (index, offer) in offers.iter().enumerate() {
        let field = format!("{field}.offers[{index}]");
        violations.check_code(format_args!("{field}.vendor"), &offer.vendor);
        violations.check_code(format_args!("{field}.location"), &offer.location);
        violations.check_text(format_args!("{field}.vendor_sku"), &offer.vendor_sku, 1..=VENDOR_SKU_BYTES_MAX);
        violations.check_range(format_args!("{field}.pack_size"), offer.pack_size, PACK_SIZE);
        if !seen.insert((&offer.vendor, &offer.location, &offer.vendor_sku)) {
            violations.add(format_args!("{field}.vendor_sku"), "stands among the SKU's offers more than once");
        }
    }
}
