//! What changes the catalog besides imports, each in one transaction with the memory of its answer.

use holdfast_kit::Violations;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::listing::{LocationRow, SkuRow, VendorRow};
use super::{Reference, Store, StoreError, offers, requests};
use crate::fingerprint::etag;
use crate::model::{ATTRIBUTES_MAX, Location, NewLocation, NewSku, NewVendor, Policy, Sku, SkuChange, Vendor};
use crate::mutation::{Mutation, Outcome, Renaming, RequestKey};
use crate::rules;

/// How many unknown references, differing offers or overfull SKUs an error names.
pub(super) const NAMED_MAX: i64 = 20;

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

    /// Makes a change and takes it back: what it would have done.
    ///
    /// # Errors
    /// As [`Store::mutate`], but nothing is kept under a key and nothing was changed.
    pub async fn rehearse(&self, mutation: &Mutation) -> Result<Outcome, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let outcome = change(&mut transaction, mutation).await;
        transaction.rollback().await?;
        outcome
    }
}

async fn change(connection: &mut PgConnection, mutation: &Mutation) -> Result<Outcome, StoreError> {
    match mutation {
        Mutation::CreateSku(sku) => create_sku(connection, sku).await,
        Mutation::UpdateSku(change) => update_sku(connection, change).await,
        Mutation::SetArchived { code, etag, archived } => {
            set_archived(connection, code, etag.as_deref(), *archived).await
        }
        Mutation::CreateVendor(vendor) => create_vendor(connection, vendor).await,
        Mutation::UpdateVendor(renaming) => rename_vendor(connection, renaming).await,
        Mutation::CreateLocation(location) => create_location(connection, location).await,
        Mutation::UpdateLocation(renaming) => rename_location(connection, renaming).await,
        Mutation::CreateOffers { offers, asked } => offers::create(connection, offers, *asked).await,
        Mutation::DeleteOffers { keys, asked } => offers::delete(connection, keys, *asked).await,
    }
}

async fn create_sku(connection: &mut PgConnection, sku: &NewSku) -> Result<Outcome, StoreError> {
    check_locations(connection, &sku.policy).await?;
    let created: Option<SkuRow> = sqlx::query_as(include_str!("../../queries/sku_insert.sql"))
        .bind(&sku.code)
        .bind(&sku.name)
        .bind(&sku.gtin)
        .bind(Json(&sku.attributes))
        .bind(Json(&sku.policy))
        .fetch_optional(connection)
        .await?;
    let created = created.ok_or_else(|| StoreError::Exists { kind: "sku", code: sku.code.clone() })?;
    Ok(Outcome::Sku(created.into()))
}

async fn update_sku(connection: &mut PgConnection, change: &SkuChange) -> Result<Outcome, StoreError> {
    let before = lock_sku(connection, &change.code, change.etag.as_deref()).await?;
    let mut content = before.content.clone();
    change.apply(&mut content);
    if content == before.content {
        return Ok(Outcome::Sku(before));
    }
    check_whole(&content)?;
    if content.policy.locations != before.content.policy.locations {
        check_locations(connection, &content.policy).await?;
    }
    write_sku(connection, &content, before.archive_time.is_some()).await
}

async fn set_archived(
    connection: &mut PgConnection,
    code: &str,
    etag: Option<&str>,
    archived: bool,
) -> Result<Outcome, StoreError> {
    let before = lock_sku(connection, code, etag).await?;
    if before.archive_time.is_some() == archived {
        return Ok(Outcome::Sku(before));
    }
    write_sku(connection, &before.content, archived).await
}

/// What only the whole SKU shows: a change may fit by itself and not with what is there.
fn check_whole(content: &NewSku) -> Result<(), StoreError> {
    let mut violations = Violations::new();
    let count = content.attributes.len();
    if count > ATTRIBUTES_MAX {
        violations
            .add("sku.attributes", format_args!("would have {count} entries, at most {ATTRIBUTES_MAX} are possible"));
    }
    rules::check_policy(&mut violations, "sku.policy", &content.policy);
    if violations.is_empty() { Ok(()) } else { Err(StoreError::Unfit(violations)) }
}

async fn check_locations(connection: &mut PgConnection, policy: &Policy) -> Result<(), StoreError> {
    if policy.locations.is_empty() {
        return Ok(());
    }
    let unknown = unknown_locations(connection, &policy.locations).await?;
    if unknown.is_empty() {
        return Ok(());
    }
    let reference = |code| Reference { kind: String::from("location"), code };
    Err(StoreError::UnknownReferences(unknown.into_iter().map(reference).collect()))
}

/// Which of these codes are no location's, the first of them.
pub(super) async fn unknown_locations(
    connection: &mut PgConnection,
    codes: &[String],
) -> Result<Vec<String>, sqlx::Error> {
    let unknown = sqlx::query_scalar(include_str!("../../queries/location_unknown.sql"));
    unknown.bind(codes).bind(i64::try_from(codes.len()).unwrap_or(i64::MAX)).fetch_all(connection).await
}

async fn lock_sku(connection: &mut PgConnection, code: &str, expected: Option<&str>) -> Result<Sku, StoreError> {
    let found = sqlx::query_as::<_, SkuRow>(include_str!("../../queries/sku_lock.sql")).bind(code);
    let found: Option<Sku> = found.fetch_optional(connection).await?.map(Into::into);
    let sku = found.ok_or_else(|| StoreError::NotFound { kind: "sku", code: code.to_owned() })?;
    check_etag("sku", code, expected, sku.version, sku.update_time)?;
    Ok(sku)
}

async fn write_sku(connection: &mut PgConnection, content: &NewSku, archived: bool) -> Result<Outcome, StoreError> {
    let NewSku { code, name, gtin, attributes, policy } = content;
    let written: SkuRow = sqlx::query_as(include_str!("../../queries/sku_update.sql"))
        .bind(code)
        .bind(name)
        .bind(gtin)
        .bind(Json(attributes))
        .bind(Json(policy))
        .bind(archived)
        .fetch_one(connection)
        .await?;
    Ok(Outcome::Sku(written.into()))
}

fn check_etag(
    kind: &'static str,
    code: &str,
    expected: Option<&str>,
    version: i64,
    update_time: time::OffsetDateTime,
) -> Result<(), StoreError> {
    match expected {
        Some(expected) if expected != etag(code, version, update_time) => {
            Err(StoreError::EtagMismatch { kind, code: code.to_owned() })
        }
        Some(_) | None => Ok(()),
    }
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

async fn rename_vendor(connection: &mut PgConnection, renaming: &Renaming) -> Result<Outcome, StoreError> {
    let Renaming { code, etag, name } = renaming;
    let found = sqlx::query_as::<_, VendorRow>(include_str!("../../queries/vendor_lock.sql")).bind(code);
    let found: Option<Vendor> = found.fetch_optional(&mut *connection).await?.map(Into::into);
    let before = found.ok_or_else(|| StoreError::NotFound { kind: "vendor", code: code.clone() })?;
    check_etag("vendor", code, etag.as_deref(), before.version, before.update_time)?;
    if before.content.name == *name {
        return Ok(Outcome::Vendor(before));
    }
    let renamed = sqlx::query_as::<_, VendorRow>(include_str!("../../queries/vendor_rename.sql"));
    Ok(Outcome::Vendor(renamed.bind(code).bind(name).fetch_one(connection).await?.into()))
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

async fn rename_location(connection: &mut PgConnection, renaming: &Renaming) -> Result<Outcome, StoreError> {
    let Renaming { code, etag, name } = renaming;
    let found = sqlx::query_as::<_, LocationRow>(include_str!("../../queries/location_lock.sql")).bind(code);
    let found: Option<Location> = found.fetch_optional(&mut *connection).await?.map(Into::into);
    let before = found.ok_or_else(|| StoreError::NotFound { kind: "location", code: code.clone() })?;
    check_etag("location", code, etag.as_deref(), before.version, before.update_time)?;
    if before.content.name == *name {
        return Ok(Outcome::Location(before));
    }
    let renamed = sqlx::query_as::<_, LocationRow>(include_str!("../../queries/location_rename.sql"));
    Ok(Outcome::Location(renamed.bind(code).bind(name).fetch_one(connection).await?.into()))
}

/// The name of the constraint that a statement violated.
fn violated(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error().and_then(|error| error.constraint())
}
