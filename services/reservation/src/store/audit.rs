//! What the auditor asks, and what it keeps.

use holdfast_stock::{ReservationId, Sku, UnixMicros};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use super::{Store, StoreError, rows};

pub(super) const SKUS: &str = include_str!("../../queries/audit_skus.sql");
pub(super) const NEXT_SKUS: &str = include_str!("../../queries/audit_next_skus.sql");
pub(super) const LATELY: &str = include_str!("../../queries/audit_lately.sql");
pub(super) const RESERVATIONS: &str = include_str!("../../queries/audit_reservations.sql");
pub(super) const RESERVATIONS_AGAIN: &str = include_str!("../../queries/audit_reservations_again.sql");
pub(super) const TURN: &str = include_str!("../../queries/audit_turn.sql");
pub(super) const ADVANCE: &str = include_str!("../../queries/audit_advance.sql");
pub(super) const COUNT_HOLDS: &str = include_str!("../../queries/count_holds.sql");
pub(super) const LIST: &str = include_str!("../../queries/list_discrepancies.sql");
pub(super) const GET: &str = include_str!("../../queries/get_discrepancies.sql");
pub(super) const OPEN: &str = include_str!("../../queries/open_discrepancies.sql");
pub(super) const NOTE: &str = include_str!("../../queries/note_discrepancies.sql");
pub(super) const RESOLVE: &str = include_str!("../../queries/resolve_discrepancies.sql");
pub(super) const FORGET: &str = include_str!("../../queries/forget_discrepancies.sql");

/// Something that is wrong, seen in one look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Finding {
    /// Which check it broke, as the column `discrepancy.kind` calls it.
    pub kind: String,
    /// The SKU; empty for a reservation without units.
    pub sku: String,
    /// The location; empty where it is about a SKU as a whole, or a reservation without units.
    pub location: String,
    /// The reservation; zeros where it is about a row.
    pub reservation_id: Uuid,
    /// What is wrong, in words and numbers.
    pub detail: String,
    /// When what it is about last changed, in microseconds; 0 if that is not known.
    pub changed_at: i64,
    /// Units that were oversold; 0 where it is about something else.
    pub units: i64,
}

impl Finding {
    /// What it is about: two looks that find the same kind of fault there confirm each other.
    #[must_use]
    pub fn key(&self) -> (&str, &str, &str, Uuid) {
        (&self.kind, &self.sku, &self.location, self.reservation_id)
    }
}

/// A finding that was confirmed and kept; instants in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the columns of the table discrepancy, each with its comment there")]
pub struct Discrepancy {
    pub id: Uuid,
    pub kind: String,
    pub sku: String,
    pub location: String,
    pub reservation_id: Uuid,
    pub detail: String,
    pub since: i64,
    pub found_at: i64,
    pub seen_at: i64,
    pub resolved_at: Option<i64>,
}

impl Discrepancy {
    /// What it is about, as [`Finding::key`].
    #[must_use]
    pub fn key(&self) -> (&str, &str, &str, Uuid) {
        (&self.kind, &self.sku, &self.location, self.reservation_id)
    }
}

/// Whose turn it is to audit, and how far the pass is.
#[derive(Debug, Clone, Deserialize)]
pub struct Turn {
    /// Whether it is this replica's.
    pub ours: bool,
    /// The last SKU that the pass under way has looked at.
    pub after_sku: String,
    /// When the last whole pass began, in microseconds.
    pub last_began_at: Option<i64>,
    /// When it ended.
    pub last_ended_at: Option<i64>,
    /// Postgres's clock.
    pub now: i64,
    /// Units that reservations took beyond what was available, of what is open.
    pub oversold: i64,
    /// Open discrepancies by kind.
    pub open: Vec<(String, i64)>,
}

#[derive(Deserialize)]
struct ReservationsRow {
    last: Option<Uuid>,
    count: usize,
    found: Vec<(Uuid, String, i64)>,
}

fn lost_units((id, detail, changed_at): (Uuid, String, i64)) -> Finding {
    let (sku, location) = (String::new(), String::new());
    Finding { kind: "RESERVATION".to_owned(), sku, location, reservation_id: id, detail, changed_at, units: 0 }
}

/// None of these changes stock; they fail with [`StoreError`]. Reading and noting may be done again.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Store {
    /// What is wrong with these SKUs, in one snapshot; at most so many findings.
    pub async fn audit_skus(&self, skus: &[Sku], max: i64) -> Result<Vec<Finding>, StoreError> {
        let skus: Vec<&str> = skus.iter().map(Sku::as_str).collect();
        Ok(sqlx::query_as(SKUS).bind(skus).bind(max).fetch_all(&self.pool).await?)
    }

    /// The next SKUs after one, wherever they stand.
    pub async fn skus_after(&self, sku: &str, max: i32) -> Result<Vec<Sku>, StoreError> {
        let found: Vec<(String,)> = sqlx::query_as(NEXT_SKUS).bind(sku).bind(max).fetch_all(&self.pool).await?;
        found.iter().map(|(code,)| rows::sku(code)).collect()
    }

    /// SKUs whose ledger has grown since an instant, from so many entries at most.
    pub async fn touched_since(&self, since: UnixMicros, entries_max: i64) -> Result<Vec<Sku>, StoreError> {
        let found: Vec<(String,)> =
            sqlx::query_as(LATELY).bind(since.0).bind(entries_max).fetch_all(&self.pool).await?;
        found.iter().map(|(code,)| rows::sku(code)).collect()
    }

    /// Of the next reservations after a key those that lost their units; the last key, unless these were all.
    pub async fn audit_reservations(
        &self,
        after: ReservationId,
        max: i64,
    ) -> Result<(Option<ReservationId>, usize, Vec<Finding>), StoreError> {
        let query = sqlx::query_as(RESERVATIONS).bind(rows::uuid_of(after)).bind(max);
        let (Json(row),): (Json<ReservationsRow>,) = query.fetch_one(&self.pool).await?;
        let is_full = row.count as u64 >= max.unsigned_abs();
        let last = row.last.filter(|_| is_full).map(rows::id_of);
        Ok((last, row.count, row.found.into_iter().map(lost_units).collect()))
    }

    /// Those of these reservations that lost their units.
    pub async fn audit_reservations_again(&self, ids: &[Uuid]) -> Result<Vec<Finding>, StoreError> {
        let found: Vec<(Json<(Uuid, String, i64)>,)> =
            sqlx::query_as(RESERVATIONS_AGAIN).bind(ids).fetch_all(&self.pool).await?;
        Ok(found.into_iter().map(|(Json(row),)| lost_units(row)).collect())
    }

    /// Takes the turn to audit, or prolongs it, unless it is another replica's.
    pub async fn audit_turn(&self, holder: Uuid, micros: i64) -> Result<Turn, StoreError> {
        let query = sqlx::query_as(TURN).bind(holder).bind(micros);
        let (Json(turn),): (Json<Turn>,) = query.fetch_one(&self.pool).await?;
        Ok(turn)
    }

    /// Holds in time, and holds past their time that were not swept, each counted to 100,000.
    pub async fn count_holds(&self) -> Result<(i64, i64), StoreError> {
        Ok(sqlx::query_as(COUNT_HOLDS).fetch_one(&self.pool).await?)
    }

    /// Notes how far the holder's pass has come; an empty SKU: it has ended, and the next begins.
    pub async fn audit_advance(&self, holder: Uuid, after_sku: &str) -> Result<(), StoreError> {
        sqlx::query(ADVANCE).bind(holder).bind(after_sku).execute(&self.pool).await?;
        Ok(())
    }

    /// A page of discrepancies before an id, newest first; resolved ones too if wanted.
    pub async fn list_discrepancies(
        &self,
        before: Uuid,
        max: i64,
        resolved: bool,
    ) -> Result<Vec<Discrepancy>, StoreError> {
        let query = sqlx::query_as(LIST).bind(before).bind(max).bind(resolved);
        let found: Vec<(Json<Discrepancy>,)> = query.fetch_all(&self.pool).await?;
        Ok(found.into_iter().map(|(Json(row),)| row).collect())
    }

    /// These discrepancies, as far as there are any.
    pub async fn get_discrepancies(&self, ids: &[Uuid]) -> Result<Vec<Discrepancy>, StoreError> {
        let found: Vec<(Json<Discrepancy>,)> = sqlx::query_as(GET).bind(ids).fetch_all(&self.pool).await?;
        Ok(found.into_iter().map(|(Json(row),)| row).collect())
    }

    /// Keeps confirmed findings while there is room; gives those that were new, each with how long it could have been seen before, in microseconds.
    pub async fn note_discrepancies(
        &self,
        findings: &[Finding],
        open_max: i64,
    ) -> Result<Vec<(Finding, i64)>, StoreError> {
        #[derive(Serialize)]
        struct Given<'a> {
            id: Uuid,
            #[serde(flatten)]
            finding: &'a Finding,
        }
        let given: Vec<_> = findings.iter().map(|finding| Given { id: Uuid::now_v7(), finding }).collect();
        let noted: Vec<(Uuid, i64)> =
            sqlx::query_as(NOTE).bind(Json(&given)).bind(open_max).fetch_all(&self.pool).await?;
        let of = |id| given.iter().find(|one| one.id == id).map(|one| one.finding.clone());
        Ok(noted.into_iter().filter_map(|(id, unseen_micros)| Some((of(id)?, unseen_micros))).collect())
    }

    /// The open discrepancies about what these findings are about.
    pub async fn open_discrepancies(&self, findings: &[Finding]) -> Result<Vec<Discrepancy>, StoreError> {
        let found: Vec<(Json<Discrepancy>,)> = sqlx::query_as(OPEN)
            .bind(findings.iter().map(|finding| finding.kind.as_str()).collect::<Vec<_>>())
            .bind(findings.iter().map(|finding| finding.sku.as_str()).collect::<Vec<_>>())
            .bind(findings.iter().map(|finding| finding.location.as_str()).collect::<Vec<_>>())
            .bind(findings.iter().map(|finding| finding.reservation_id).collect::<Vec<_>>())
            .fetch_all(&self.pool)
            .await?;
        Ok(found.into_iter().map(|(Json(row),)| row).collect())
    }

    /// Notes that these are gone.
    pub async fn resolve_discrepancies(&self, ids: &[Uuid]) -> Result<(), StoreError> {
        sqlx::query(RESOLVE).bind(ids).execute(&self.pool).await?;
        Ok(())
    }

    /// Forgets some that were resolved so many microseconds ago; says how many.
    pub async fn forget_discrepancies(&self, age_micros: i64, max: i64) -> Result<u64, StoreError> {
        Ok(sqlx::query(FORGET).bind(age_micros).bind(max).execute(&self.pool).await?.rows_affected())
    }
}
