//! Changes of offers. Each counts as a change of its SKU, whose row is locked before the offer's, in the order in which imports lock.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_kit::Violations;
use sqlx::PgConnection;

use super::listing::OfferRow;
use super::mutations::NAMED_MAX;
use super::{Reference, StoreError};
use crate::model::{OFFERS_PER_SKU_MAX, OfferContent, OfferKey};
use crate::mutation::Outcome;

/// Creates offers, all or none.
pub(super) async fn create(
    connection: &mut PgConnection,
    offers: &BTreeMap<OfferKey, OfferContent>,
    asked: usize,
) -> Result<Outcome, StoreError> {
    let columns = OfferColumns::new(offers);
    let unknown = columns.unknown_references(connection).await?;
    if !unknown.is_empty() {
        return Err(StoreError::UnknownReferences(unknown));
    }
    lock(connection, &distinct(&columns.vendors), &distinct(&columns.skus)).await?;
    let query = sqlx::query_scalar(include_str!("../../queries/offer_insert.sql"));
    let created: Vec<String> = query
        .bind(&columns.vendors)
        .bind(&columns.locations)
        .bind(&columns.vendor_skus)
        .bind(&columns.skus)
        .bind(&columns.pack_sizes)
        .fetch_all(&mut *connection)
        .await?;
    if created.len() < offers.len() {
        let conflicts =
            columns.bind_as(sqlx::query_as::<_, OfferRow>(include_str!("../../queries/offer_conflicts.sql")));
        let differing = conflicts.bind(NAMED_MAX).fetch_all(&mut *connection).await?;
        if !differing.is_empty() {
            return Err(StoreError::OffersDiffer(differing.into_iter().map(Into::into).collect()));
        }
    }
    let changed = distinct(&created);
    check_counts(connection, &changed).await?;
    bump(connection, &changed, false).await?;
    let (created, asked) = (count(created.len()), count(asked));
    Ok(Outcome::OffersCreated { created, unchanged: asked - created })
}

/// Removes offers, all or none.
pub(super) async fn delete(
    connection: &mut PgConnection,
    keys: &BTreeSet<OfferKey>,
    asked: usize,
) -> Result<Outcome, StoreError> {
    let vendors: Vec<&str> = keys.iter().map(|key| key.vendor.as_str()).collect();
    let locations: Vec<&str> = keys.iter().map(|key| key.location.as_str()).collect();
    let vendor_skus: Vec<&str> = keys.iter().map(|key| key.vendor_sku.as_str()).collect();
    lock(connection, &distinct(&vendors), &[]).await?;
    let skus: Vec<String> = sqlx::query_scalar(include_str!("../../queries/offer_skus.sql"))
        .bind(&vendors)
        .bind(&locations)
        .bind(&vendor_skus)
        .fetch_all(&mut *connection)
        .await?;
    lock(connection, &[], &distinct(&skus)).await?;
    let deleted: Vec<String> = sqlx::query_scalar(include_str!("../../queries/offer_delete.sql"))
        .bind(&vendors)
        .bind(&locations)
        .bind(&vendor_skus)
        .fetch_all(&mut *connection)
        .await?;
    bump(connection, &distinct(&deleted), true).await?;
    let (deleted, asked) = (count(deleted.len()), count(asked));
    Ok(Outcome::OffersDeleted { deleted, missing: asked - deleted })
}

/// Locks vendors, so that the offers of each stand still, and then SKUs: in this order everywhere, each kind in the order of its codes.
async fn lock(connection: &mut PgConnection, vendors: &[&str], skus: &[&str]) -> Result<(), sqlx::Error> {
    for (codes, query) in [
        (vendors, include_str!("../../queries/vendor_lock_many.sql")),
        (skus, include_str!("../../queries/sku_lock_many.sql")),
    ] {
        if !codes.is_empty() {
            sqlx::query(query).bind(codes).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

/// A new version for each SKU, which a trigger logs.
async fn bump(connection: &mut PgConnection, skus: &[&str], lost_offers: bool) -> Result<(), sqlx::Error> {
    if skus.is_empty() {
        return Ok(());
    }
    let bumped = sqlx::query(include_str!("../../queries/sku_bump.sql"));
    bumped.bind(skus).bind(lost_offers).execute(connection).await.map(drop)
}

async fn check_counts(connection: &mut PgConnection, skus: &[&str]) -> Result<(), StoreError> {
    let overfull: Vec<(String, i64)> = sqlx::query_as(include_str!("../../queries/offer_counts.sql"))
        .bind(skus)
        .bind(OFFERS_PER_SKU_MAX)
        .bind(NAMED_MAX)
        .fetch_all(connection)
        .await?;
    let mut violations = Violations::new();
    for (sku, offers) in &overfull {
        let text = format_args!("SKU {sku:?} would have {offers} offers, at most {OFFERS_PER_SKU_MAX} are possible");
        violations.add("offers", text);
    }
    if violations.is_empty() { Ok(()) } else { Err(StoreError::Unfit(violations)) }
}

/// Offers by column, as arrays travel.
struct OfferColumns<'a> {
    vendors: Vec<&'a str>,
    locations: Vec<&'a str>,
    vendor_skus: Vec<&'a str>,
    skus: Vec<&'a str>,
    pack_sizes: Vec<i32>,
}

type QueryAs<'q, O> = sqlx::query::QueryAs<'q, sqlx::Postgres, O, sqlx::postgres::PgArguments>;

impl<'a> OfferColumns<'a> {
    fn new(offers: &'a BTreeMap<OfferKey, OfferContent>) -> Self {
        Self {
            vendors: offers.keys().map(|key| key.vendor.as_str()).collect(),
            locations: offers.keys().map(|key| key.location.as_str()).collect(),
            vendor_skus: offers.keys().map(|key| key.vendor_sku.as_str()).collect(),
            skus: offers.values().map(|content| content.sku.as_str()).collect(),
            pack_sizes: offers.values().map(|content| content.pack_size).collect(),
        }
    }

    fn bind_as<'q, O>(&'q self, query: QueryAs<'q, O>) -> QueryAs<'q, O> {
        query.bind(&self.vendors).bind(&self.locations).bind(&self.vendor_skus).bind(&self.skus).bind(&self.pack_sizes)
    }

    async fn unknown_references(&self, connection: &mut PgConnection) -> Result<Vec<Reference>, sqlx::Error> {
        let unknown: Vec<(String, String)> = sqlx::query_as(include_str!("../../queries/offer_unknown_references.sql"))
            .bind(distinct(&self.vendors))
            .bind(distinct(&self.locations))
            .bind(distinct(&self.skus))
            .bind(NAMED_MAX)
            .fetch_all(connection)
            .await?;
        Ok(unknown.into_iter().map(|(kind, code)| Reference { kind, code }).collect())
    }
}

fn distinct<T: AsRef<str>>(codes: &[T]) -> Vec<&str> {
    let mut codes: Vec<&str> = codes.iter().map(AsRef::as_ref).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
