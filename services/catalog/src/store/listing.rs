//! What reads the catalog: by code, many at once, and page by page.

use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use time::OffsetDateTime;
use tokio_stream::{Stream, StreamExt as _};

use super::{Store, StoreError};
use crate::model::{
    Attributes, Location, NewLocation, NewSku, NewVendor, Offer, OfferContent, OfferKey, Policy, Sku, Vendor,
};

/// A page: its items, and whether there are more behind them.
#[derive(Debug, Clone)]
pub struct Listed<T> {
    /// The items.
    pub items: Vec<T>,
    /// Whether another page follows.
    pub more: bool,
}

/// Which offers a list has.
#[derive(Debug, Clone, Default)]
pub struct OfferFilter {
    /// Only this vendor's.
    pub vendor: Option<String>,
    /// Only of this SKU.
    pub sku: Option<String>,
}

/// Which SKUs a list has: those to which everything applies that is set.
#[derive(Debug, Clone, Default)]
pub struct SkuFilter {
    /// Their codes begin with this.
    pub prefix: String,
    /// Only archived ones, or only sold ones.
    pub archived: Option<bool>,
    /// Only the one with this GTIN.
    pub gtin: Option<String>,
    /// Only those with these attributes.
    pub attributes: Attributes,
    /// Only those that this vendor offers.
    pub vendor: Option<String>,
    /// Only those that changed then or later.
    pub changed_since: Option<OffsetDateTime>,
    /// Only those with a policy.
    pub with_policy: bool,
}

/// The last offer of a page.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct OfferCursor(pub String, pub String, pub String);

impl From<&OfferKey> for OfferCursor {
    fn from(key: &OfferKey) -> Self {
        Self(key.vendor.clone(), key.location.clone(), key.vendor_sku.clone())
    }
}

impl Store {
    /// SKUs by their codes, each given once, in that order; those that do not exist are left out.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] when they have more than `bytes_max` bytes together, [`StoreError::Postgres`].
    pub async fn skus(&self, codes: &[String], bytes_max: usize) -> Result<Vec<Sku>, StoreError> {
        let rows =
            sqlx::query_as::<_, SkuRow>(include_str!("../../queries/sku_batch_get.sql")).bind(codes).fetch(&self.pool);
        let listed = gather(rows, codes.len(), bytes_max).await?;
        if listed.more { Err(StoreError::TooLarge { bytes_max }) } else { Ok(listed.items) }
    }

    /// The SKUs after a code that a filter lets through: at most `rows`, and at most `bytes_max` bytes, but one SKU at least.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn list_skus(
        &self,
        after: &str,
        filter: &SkuFilter,
        rows: usize,
        bytes_max: usize,
    ) -> Result<Listed<Sku>, StoreError> {
        let SkuFilter { prefix, archived, gtin, attributes, vendor, changed_since, with_policy } = filter;
        let listed = sqlx::query_as::<_, SkuRow>(include_str!("../../queries/sku_list.sql"))
            // Planned for these very filters: a plan for all of them could use no index but the one of the codes.
            .persistent(false)
            .bind(after)
            .bind(prefix)
            .bind(end_of_prefix(prefix))
            .bind(archived)
            .bind(gtin)
            .bind((!attributes.is_empty()).then_some(Json(attributes)))
            .bind(vendor)
            .bind(changed_since)
            .bind(with_policy)
            .bind(limit(rows))
            .fetch(&self.pool);
        gather(listed, rows, bytes_max).await
    }

    /// A vendor by its code.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn vendor(&self, code: &str) -> Result<Option<Vendor>, StoreError> {
        let found = sqlx::query_as::<_, VendorRow>(include_str!("../../queries/vendor_get.sql"));
        Ok(found.bind(code).fetch_optional(&self.pool).await?.map(Into::into))
    }

    /// The vendors after a code.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn list_vendors(&self, after: &str, rows: usize) -> Result<Listed<Vendor>, StoreError> {
        let listed = sqlx::query_as::<_, VendorRow>(include_str!("../../queries/vendor_list.sql"));
        gather(listed.bind(after).bind(limit(rows)).fetch(&self.pool), rows, usize::MAX).await
    }

    /// A location by its code.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn location(&self, code: &str) -> Result<Option<Location>, StoreError> {
        let found = sqlx::query_as::<_, LocationRow>(include_str!("../../queries/location_get.sql"));
        Ok(found.bind(code).fetch_optional(&self.pool).await?.map(Into::into))
    }

    /// The locations after a code.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn list_locations(&self, after: &str, rows: usize) -> Result<Listed<Location>, StoreError> {
        let listed = sqlx::query_as::<_, LocationRow>(include_str!("../../queries/location_list.sql"));
        gather(listed.bind(after).bind(limit(rows)).fetch(&self.pool), rows, usize::MAX).await
    }

    /// A vendor's offers at a location by the vendor's codes, each given once, in that order; those that do not exist are left out.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn offers(&self, vendor: &str, location: &str, vendor_skus: &[String]) -> Result<Vec<Offer>, StoreError> {
        let found = sqlx::query_as::<_, OfferRow>(include_str!("../../queries/offer_batch_get.sql"))
            .bind(vendor)
            .bind(location)
            .bind(vendor_skus)
            .fetch_all(&self.pool)
            .await?;
        Ok(found.into_iter().map(Into::into).collect())
    }

    /// The offers after a cursor that a filter lets through.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn list_offers(
        &self,
        after: &OfferCursor,
        filter: &OfferFilter,
        rows: usize,
    ) -> Result<Listed<Offer>, StoreError> {
        let OfferCursor(vendor, location, vendor_sku) = after;
        let listed = match filter {
            OfferFilter { sku: Some(sku), vendor: only } => {
                let query = sqlx::query_as::<_, OfferRow>(include_str!("../../queries/offer_list_by_sku.sql"));
                query.bind(sku).bind(vendor).bind(location).bind(vendor_sku).bind(only)
            }
            OfferFilter { sku: None, vendor: Some(only) } => {
                let query = sqlx::query_as::<_, OfferRow>(include_str!("../../queries/offer_list_by_vendor.sql"));
                query.bind(only).bind(location).bind(vendor_sku)
            }
            OfferFilter { sku: None, vendor: None } => {
                let query = sqlx::query_as::<_, OfferRow>(include_str!("../../queries/offer_list.sql"));
                query.bind(vendor).bind(location).bind(vendor_sku)
            }
        };
        gather(listed.bind(limit(rows)).fetch(&self.pool), rows, usize::MAX).await
    }
}

/// A row beyond the page tells whether another page follows.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX - 1) + 1
}

/// Takes rows until the page is full or its bytes are; holds no more than that.
pub(super) async fn gather<R, T>(
    mut rows: impl Stream<Item = Result<R, sqlx::Error>> + Unpin,
    rows_max: usize,
    bytes_max: usize,
) -> Result<Listed<T>, StoreError>
where
    R: Into<T>,
    T: Weight,
{
    let (mut items, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        let item: T = row.into();
        bytes += item.bytes();
        if items.len() == rows_max || (bytes > bytes_max && !items.is_empty()) {
            return Ok(Listed { items, more: true });
        }
        items.push(item);
    }
    Ok(Listed { items, more: false })
}

/// About how many bytes an item has in an answer, never less.
pub(super) trait Weight {
    fn bytes(&self) -> usize;
}

/// Tags, lengths, times and the etag.
const SKU_OVERHEAD_BYTES: usize = 176;
/// Tags and lengths of a map's entry.
const ENTRY_OVERHEAD_BYTES: usize = 10;

impl Weight for Sku {
    fn bytes(&self) -> usize {
        let NewSku { code, name, gtin, attributes, policy } = &self.content;
        let entries =
            attributes.iter().map(|(key, value)| key.len() + value.len() + ENTRY_OVERHEAD_BYTES).sum::<usize>();
        let locations = policy.locations.iter().map(|code| code.len() + ENTRY_OVERHEAD_BYTES).sum::<usize>();
        SKU_OVERHEAD_BYTES + code.len() + name.len() + gtin.as_ref().map_or(0, String::len) + entries + locations
    }
}

/// Vendors, locations and offers are bounded by their fields: a thousand of them fit any limit, so they are not weighed.
macro_rules! weightless {
    ($($item:ty),+) => {
        $(impl Weight for $item {
            fn bytes(&self) -> usize {
                0
            }
        })+
    };
}
weightless!(Vendor, Location, Offer);

/// The least text past all that begin with a prefix, in the order of bytes; `None` when there is none.
fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        // UTF-8 sorts as its code points do, so the next code point makes the next text.
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct SkuRow {
    code: String,
    name: String,
    gtin: Option<String>,
    attributes: Json<Attributes>,
    policy: Json<Policy>,
    archive_time: Option<OffsetDateTime>,
    version: i64,
    create_time: OffsetDateTime,
    update_time: OffsetDateTime,
}

impl From<SkuRow> for Sku {
    fn from(row: SkuRow) -> Self {
        let SkuRow { code, name, gtin, attributes, policy, archive_time, version, create_time, update_time } = row;
        let content = NewSku { code, name, gtin, attributes: attributes.0, policy: policy.0 };
        Self { content, archive_time, version, create_time, update_time }
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct VendorRow {
    code: String,
    name: String,
    version: i64,
    create_time: OffsetDateTime,
    update_time: OffsetDateTime,
}

impl From<VendorRow> for Vendor {
    fn from(VendorRow { code, name, version, create_time, update_time }: VendorRow) -> Self {
        Self { content: NewVendor { code, name }, version, create_time, update_time }
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct LocationRow {
    code: String,
    name: String,
    vendor: Option<String>,
    version: i64,
    create_time: OffsetDateTime,
    update_time: OffsetDateTime,
}

impl From<LocationRow> for Location {
    fn from(row: LocationRow) -> Self {
        let LocationRow { code, name, vendor, version, create_time, update_time } = row;
        Self { content: NewLocation { code, name, vendor }, version, create_time, update_time }
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct OfferRow {
    vendor: String,
    location: String,
    vendor_sku: String,
    sku: String,
    pack_size: i32,
    create_time: OffsetDateTime,
}

impl From<OfferRow> for Offer {
    fn from(row: OfferRow) -> Self {
        let OfferRow { vendor, location, vendor_sku, sku, pack_size, create_time } = row;
        Self { key: OfferKey { vendor, location, vendor_sku }, content: OfferContent { sku, pack_size }, create_time }
    }
}

#[cfg(test)]
mod tests {
    use super::end_of_prefix;

    #[test]
    fn a_prefix_ends_where_no_text_begins_with_it_any_more() {
        assert_eq!(end_of_prefix("AB").as_deref(), Some("AC"));
        assert_eq!(end_of_prefix("A\u{d7ff}").as_deref(), Some("A\u{e000}"), "there are no surrogates");
        assert_eq!(end_of_prefix("A\u{10ffff}").as_deref(), Some("B"));
        assert_eq!(end_of_prefix("\u{10ffff}"), None);
        assert_eq!(end_of_prefix(""), None);
    }
}
