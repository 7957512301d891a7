//! Catalog's offers, as it told them.

use super::{Store, StoreError};
use crate::model::{KnownOffer, NewConnection, SkuOffers};

/// Codes that one statement looks for.
const CODES_PER_STATEMENT: usize = 10_000;

impl Store {
    /// Takes what is told of SKUs' offers, where its version is higher than the one that is known; answers how many SKUs that were. Each SKU at most once.
    ///
    /// Run it in a task of its own: a transaction must not be dropped in the middle because a caller went away.
    ///
    /// # Errors
    /// [`StoreError::Postgres`]: all of it was taken or nothing; told again, it does no harm.
    pub async fn apply_offers(&self, told: &[SkuOffers]) -> Result<u64, StoreError> {
        let mut in_order: Vec<&SkuOffers> = told.iter().collect();
        in_order.sort_by(|one, other| one.sku.cmp(&other.sku));
        let mut transaction = self.pool.begin().await?;
        let taken: Vec<String> = sqlx::query_scalar(include_str!("../../queries/sku_offers_upsert.sql"))
            .bind(in_order.iter().map(|told| told.sku.as_str()).collect::<Vec<_>>())
            .bind(in_order.iter().map(|told| told.version).collect::<Vec<_>>())
            .bind(in_order.iter().map(|told| told.archived).collect::<Vec<_>>())
            .fetch_all(&mut *transaction)
            .await?;
        if taken.is_empty() {
            transaction.rollback().await?;
            return Ok(0);
        }
        sqlx::query(include_str!("../../queries/offer_delete.sql")).bind(&taken).execute(&mut *transaction).await?;
        let is_taken: std::collections::HashSet<&str> = taken.iter().map(String::as_str).collect();
        let offers: Vec<_> = in_order
            .iter()
            .filter(|told| is_taken.contains(told.sku.as_str()))
            .flat_map(|told| told.offers.iter().map(|offer| (told.sku.as_str(), offer)))
            .collect();
        sqlx::query(include_str!("../../queries/offer_insert.sql"))
            .bind(offers.iter().map(|(sku, _)| *sku).collect::<Vec<_>>())
            .bind(offers.iter().map(|(_, offer)| offer.vendor.as_str()).collect::<Vec<_>>())
            .bind(offers.iter().map(|(_, offer)| offer.location.as_str()).collect::<Vec<_>>())
            .bind(offers.iter().map(|(_, offer)| offer.vendor_sku.as_str()).collect::<Vec<_>>())
            .bind(offers.iter().map(|(_, offer)| offer.pack_size).collect::<Vec<_>>())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(taken.len() as u64)
    }

    /// What is known of a connection's codes; one that moves from a SKU to another may be known of both.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn known_offers(&self, of: &NewConnection, codes: &[&str]) -> Result<Vec<KnownOffer>, StoreError> {
        let mut known = Vec::with_capacity(codes.len());
        for codes in codes.chunks(CODES_PER_STATEMENT) {
            let rows: Vec<(String, String, i64, bool)> = sqlx::query_as(include_str!("../../queries/offer_find.sql"))
                .bind(&of.vendor)
                .bind(&of.location)
                .bind(codes)
                .fetch_all(&self.pool)
                .await?;
            known.extend(rows.into_iter().map(|(vendor_sku, sku, pack_size, is_archived)| KnownOffer {
                vendor_sku,
                sku,
                pack_size: u64::try_from(pack_size).unwrap_or(0).max(1),
                is_archived,
            }));
        }
        Ok(known)
    }
}
