//! What changes the catalog besides imports, each in one transaction with the memory of its answer.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use sqlx::types::Json;

use super::listing::{LocationRow, OfferRow, SkuRow, VendorRow};
use super::{Reference, Store, StoreError, requests};
use crate::model::{NewLocation, NewSku, NewVendor, OfferContent, OfferKey};
use crate::mutation::{Mutation, Outcome, RequestKey};

/// How many unknown references or differing offers an error names.
const NAMED_MAX: i64 = 20;

impl Store {
    /// Makes a change once for its key and answers what `encode` makes of the outcome; a replay gets the same bytes.
    ///
    /// Run it in a task of its own: a transaction must not be dropped in the middle because a caller went away.
    ///
    /// # Errors
    /// All variants of [`StoreError`] but those of imports and of sizes. Nothing was changed, except that after [`StoreError::Postgres`] it is unknown.
    pub async fn mutate(
        &self,
        key: &RequestKey,
        mutation: &Mutation,
        encode: fn(&Outcome) -> Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
        if let Some(answered) = self.answered(key.request_id).await? {
            return answered.to(key);
        }
        let mut transaction = self.pool.begin().await?;
        let refusal = match change(&mut transaction, mutation).await {
            Ok(outcome) => {
                let answer = encode(&outcome);
                if requests::keep(&mut transaction, key, &answer).await? {
                    transaction.commit().await?;
                    return Ok(answer);
                }
                StoreError::KeyReused
            }
            Err(refusal) => refusal,
        };
        transaction.rollback().await?;
        // Who took the key or the code while this attempt waited may have been this very request, sent twice.
        match self.answered(key.request_id).await? {
            Some(answered) => answered.to(key),
            None => Err(refusal),
        }
    }
}

async fn change(connection: &mut PgConnection, mutation: &Mutation) -> Result<Outcome, StoreError> {
    match mutation {
        Mutation::CreateSku(sku) => create_sku(connection, sku).await,
        Mutation::CreateVendor(vendor) => create_vendor(connection, vendor).await,
        Mutation::CreateLocation(location) => create_location(connection, location).await,
        Mutation::CreateOffers { offers, asked } => create_offers(connection, offers, *asked).await,
    }
}

async fn create_sku(connection: &mut PgConnection, sku: &NewSku) -> Result<Outcome, StoreError> {
    let created: Option<SkuRow> = sqlx::query_as(include_str!("../../queries/sku_insert.sql"))
        .bind(&sku.code)
        .bind(&sku.name)
        .bind(&sku.gtin)
        .bind(Json(&sku.attributes))
        .fetch_optional(connection)
        .await?;
    let created = created.ok_or_else(|| StoreError::Exists { kind: "sku", code: sku.code.clone() })?;
    Ok(Outcome::Sku(created.into()))
}

async fn create_vendor(connection: &mut PgConnection, vendor: &NewVendor) -> Result<Outcome, StoreError> {
    let created = sqlx::query_as::<_, VendorRow>(include_str!("../../queries/vendor_insert.sql"))
        .bind(&vendor.code)
        .bind(&vendor.name)
        .fetch_optional(connection)
        .await?;
    let created = created.ok_or_else(|| StoreError::Exists { kind: "vendor", code: vendor.code.clone() })?;
    Ok(Outcome::Vendor(created.into()))
}

async fn create_location(connection: &mut PgConnection, location: &NewLocation) -> Result<Outcome, StoreError> {
    let created = sqlx::query_as::<_, LocationRow>(include_str!("../../queries/location_insert.sql"))
        .bind(&location.code)
        .bind(&location.name)
        .bind(&location.vendor)
        .fetch_optional(connection)
        .await;
    let created = created.map_err(|error| match (violated(&error), &location.vendor) {
        (Some("location_vendor_fkey"), Some(vendor)) => {
            StoreError::UnknownReferences(vec![Reference { kind: String::from("vendor"), code: vendor.clone() }])
        }
        _ => error.into(),
    })?;
    let created = created.ok_or_else(|| StoreError::Exists { kind: "location", code: location.code.clone() })?;
    Ok(Outcome::Location(created.into()))
}

async fn create_offers(
    connection: &mut PgConnection,
    offers: &BTreeMap<OfferKey, OfferContent>,
    asked: usize,
) -> Result<Outcome, StoreError> {
    let columns = OfferColumns::new(offers);
    let unknown = columns.unknown_references(connection).await?;
    if !unknown.is_empty() {
        return Err(StoreError::UnknownReferences(unknown));
    }
    let created = columns
        .bind(sqlx::query(include_str!("../../queries/offer_insert.sql")))
        .execute(&mut *connection)
        .await?
        .rows_affected();
    if created < offers.len() as u64 {
        let conflicts =
            columns.bind_as(sqlx::query_as::<_, OfferRow>(include_str!("../../queries/offer_conflicts.sql")));
        let differing = conflicts.bind(NAMED_MAX).fetch_all(connection).await?;
        if !differing.is_empty() {
            return Err(StoreError::OffersDiffer(differing.into_iter().map(Into::into).collect()));
        }
    }
    let (created, asked) = (i64::try_from(created).unwrap_or(i64::MAX), i64::try_from(asked).unwrap_or(i64::MAX));
    Ok(Outcome::Offers { created, unchanged: asked - created })
}

/// Offers by column, as arrays travel.
struct OfferColumns<'a> {
    vendors: Vec<&'a str>,
    locations: Vec<&'a str>,
    vendor_skus: Vec<&'a str>,
    skus: Vec<&'a str>,
    pack_sizes: Vec<i32>,
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;
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

    fn bind<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        query.bind(&self.vendors).bind(&self.locations).bind(&self.vendor_skus).bind(&self.skus).bind(&self.pack_sizes)
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

fn distinct<'a>(codes: &[&'a str]) -> Vec<&'a str> {
    let mut codes = codes.to_vec();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// The name of the constraint that a statement violated.
fn violated(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error().and_then(|error| error.constraint())
}
