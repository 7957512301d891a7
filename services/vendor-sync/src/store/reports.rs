//! Reports: a run's rows and what became of them.

use uuid::Uuid;

use super::{Listed, Store, StoreError, limit};
use crate::model::{RowOutcome, RunRow};

impl Store {
    /// The rows of a run's report after a place in it (before the first: -1), of one outcome or of all.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn list_rows(
        &self,
        run_id: Uuid,
        after: i64,
        outcome: Option<RowOutcome>,
        size: usize,
    ) -> Result<Listed<RunRow>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(include_str!("../../queries/run_row_list.sql"))
            .bind(run_id)
            .bind(after)
            .bind(outcome.map(RowOutcome::name))
            .bind(limit(size))
            .fetch_all(&self.pool)
            .await?;
        Ok(Listed::cut(rows.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?, size))
    }
}

#[derive(Debug, sqlx::FromRow)]
struct Row {
    ordinal: i64,
    line: i64,
    vendor_sku: String,
    raw_quantity: String,
    sku: Option<String>,
    units: Option<i64>,
    outcome: String,
    note: String,
    previous_on_hand: Option<i64>,
    shortfall: Option<i64>,
    quarantine_id: Option<Uuid>,
}

impl TryFrom<Row> for RunRow {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unreadable = || StoreError::Unreadable(format!("outcome {:?}", row.outcome));
        Ok(Self {
            outcome: RowOutcome::of_name(&row.outcome).ok_or_else(unreadable)?,
            ordinal: row.ordinal,
            line: row.line,
            vendor_sku: row.vendor_sku,
            raw_quantity: row.raw_quantity,
            sku: row.sku,
            units: row.units,
            note: row.note,
            previous_on_hand: row.previous_on_hand,
            shortfall: row.shortfall,
            quarantine_id: row.quarantine_id,
        })
    }
}
