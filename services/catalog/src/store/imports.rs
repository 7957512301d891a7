//! Imports: rows are staged as they arrive, then applied in one transaction.

use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::{Store, StoreError, mutations, requests};
use crate::mutation::RequestKey;

/// Good rows by column, as arrays travel. Each code stands once.
#[derive(Debug, Default)]
pub struct StagedRows {
    /// The SKUs' codes.
    pub codes: Vec<String>,
    /// The lines on which the rows begin.
    pub lines: Vec<i64>,
    /// Their names; none leaves a name alone.
    pub names: Vec<Option<String>>,
    /// Whether there is a cell for the GTIN; without one it is left alone.
    pub gtins_given: Vec<bool>,
    /// Their GTINs.
    pub gtins: Vec<Option<String>>,
    /// Their attributes, as JSON objects of strings.
    pub attributes: Vec<String>,
    /// Attributes to take away, as JSON arrays of strings; none takes none away.
    pub removed: Vec<Option<String>>,
    /// What they say of the policy, as JSON objects.
    pub policies: Vec<String>,
    /// Parts of the policy to take away, as JSON arrays of strings; none takes none away.
    pub policies_removed: Vec<Option<String>>,
}

/// A row whose code the file had before.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Repeated {
    /// The code.
    pub code: String,
    /// The line of the row.
    pub line: i64,
    /// The line on which the code stood first.
    pub first_line: i64,
}

/// How an attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportState {
    /// Its effect is committed.
    Applied,
    /// Answered, without effect.
    Refused,
    /// It broke off, without effect.
    Abandoned,
}

impl ImportState {
    fn name(self) -> &'static str {
        match self {
            Self::Applied => "APPLIED",
            Self::Refused => "REFUSED",
            Self::Abandoned => "ABANDONED",
        }
    }
}

/// What applying did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// SKUs that were new.
    pub created: i64,
    /// SKUs that changed.
    pub updated: i64,
    /// SKUs that were as the file says already.
    pub unchanged: i64,
    /// Rows that were left out, because the SKU would have too many attributes with those that it has: the line, and how many.
    pub overfull: Vec<(i64, i32)>,
    /// Lines of rows that were left out, because the SKU would have a backorder limit and no location.
    pub unlocated: Vec<i64>,
}

impl Store {
    /// Begins an attempt.
    ///
    /// # Errors
    /// [`StoreError::Postgres`]; a row that may be left over is the janitor's.
    pub async fn start_import(&self, import_id: Uuid, request_id: Uuid) -> Result<(), StoreError> {
        let started = sqlx::query(include_str!("../../queries/import_start.sql"));
        started.bind(import_id).bind(request_id).execute(&self.pool).await?;
        Ok(())
    }

    /// Stages rows, and says that the attempt is alive. Rows whose code the file had before are answered and not staged.
    ///
    /// # Errors
    /// [`StoreError::ImportLost`] when the attempt has ended, [`StoreError::Postgres`]. Staged rows have no effect yet.
    pub async fn stage(&self, import_id: Uuid, rows: &StagedRows) -> Result<Vec<Repeated>, StoreError> {
        let touched =
            sqlx::query(include_str!("../../queries/import_touch.sql")).bind(import_id).execute(&self.pool).await?;
        if touched.rows_affected() == 0 {
            return Err(StoreError::ImportLost);
        }
        let staged = sqlx::query_as(include_str!("../../queries/import_stage.sql"))
            .bind(import_id)
            .bind(&rows.codes)
            .bind(&rows.lines)
            .bind(&rows.names)
            .bind(&rows.gtins_given)
            .bind(&rows.gtins)
            .bind(&rows.attributes)
            .bind(&rows.removed)
            .bind(&rows.policies)
            .bind(&rows.policies_removed);
        Ok(staged.fetch_all(&self.pool).await?)
    }

    /// Which of these codes are no location's.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn unknown_locations(&self, codes: &[String]) -> Result<Vec<String>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        Ok(mutations::unknown_locations(&mut connection, codes).await?)
    }

    /// Opens the transaction that applies an attempt, which has staged so many rows. It waits so long for a lock: another import may be applying the same
    /// SKUs.
    ///
    /// # Errors
    /// [`StoreError::ImportLost`] when the attempt has ended or rows are missing, [`StoreError::Postgres`]. Nothing was changed.
    pub async fn begin_import(
        &self,
        import_id: Uuid,
        staged: i64,
        lock_timeout_ms: u32,
    ) -> Result<ImportTransaction, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let patience = sqlx::query(include_str!("../../queries/import_patience.sql"));
        let (lock, statement) = (lock_timeout_ms.to_string(), lock_timeout_ms.saturating_mul(2).to_string());
        patience.bind(lock).bind(statement).execute(&mut *transaction).await?;
        let found: Option<i64> = sqlx::query_scalar(include_str!("../../queries/import_lock.sql"))
            .bind(import_id)
            .fetch_optional(&mut *transaction)
            .await?;
        if found == Some(staged) {
            Ok(ImportTransaction { transaction, import_id })
        } else {
            Err(StoreError::ImportLost)
        }
    }

    /// Ends an attempt that had no effect on SKUs; `rows` were read and answered.
    ///
    /// # Errors
    /// [`StoreError::Postgres`]; the janitor ends it then.
    pub async fn end_import(&self, import_id: Uuid, state: ImportState, rows: i64) -> Result<(), StoreError> {
        let finish = sqlx::query(include_str!("../../queries/import_finish.sql")).bind(import_id).bind(state.name());
        finish.bind(rows).bind(0_i64).bind(0_i64).bind(0_i64).bind(rows).execute(&self.pool).await?;
        Ok(())
    }

    /// Drops staged rows of an attempt that has ended, at most so many; answers how many there were.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn unstage(&self, import_id: Uuid, rows_max: u32) -> Result<u64, StoreError> {
        let dropped = sqlx::query(include_str!("../../queries/import_unstage.sql"));
        Ok(dropped.bind(import_id).bind(i64::from(rows_max)).execute(&self.pool).await?.rows_affected())
    }

    /// Ends attempts that were silent for so many seconds; answers how many.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn abandon_imports(&self, silent_seconds: u32) -> Result<u64, StoreError> {
        let abandoned = sqlx::query(include_str!("../../queries/import_abandon.sql"));
        Ok(abandoned.bind(f64::from(silent_seconds)).execute(&self.pool).await?.rows_affected())
    }

    /// Attempts that have ended and left staged rows, at most so many.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn leftover_imports(&self, imports_max: u32) -> Result<Vec<Uuid>, StoreError> {
        let leftover = sqlx::query_scalar(include_str!("../../queries/import_leftover.sql"));
        Ok(leftover.bind(i64::from(imports_max)).fetch_all(&self.pool).await?)
    }

    /// Forgets attempts that ended so many seconds ago, at most so many; answers how many it forgot.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn forget_imports(&self, age_seconds: u32, rows_max: u32) -> Result<u64, StoreError> {
        let pruned = sqlx::query(include_str!("../../queries/import_prune.sql"));
        Ok(pruned.bind(f64::from(age_seconds)).bind(i64::from(rows_max)).execute(&self.pool).await?.rows_affected())
    }
}

/// The transaction that applies an attempt. Dropped without [`ImportTransaction::commit`], nothing has happened.
#[derive(Debug)]
pub struct ImportTransaction {
    transaction: Transaction<'static, Postgres>,
    import_id: Uuid,
}

impl ImportTransaction {
    /// Applies all staged rows in the order of their codes, `slice_rows` at a time so that no statement runs for long. `backorders` says that they may
    /// change backorder limits or locations.
    ///
    /// # Errors
    /// [`StoreError::Postgres`]; drop the transaction then.
    pub async fn apply(&mut self, backorders: bool, slice_rows: u32) -> Result<Applied, StoreError> {
        let mut applied = Applied::default();
        let mut after = String::new();
        loop {
            let (last, rows): (Option<String>, i64) = sqlx::query_as(include_str!("../../queries/import_slice.sql"))
                .bind(self.import_id)
                .bind(&after)
                .bind(i64::from(slice_rows))
                .fetch_one(&mut *self.transaction)
                .await?;
            let Some(last) = last else { return Ok(applied) };
            let dropped = if backorders { self.drop_unlocated(&after, &last).await? } else { Vec::new() };
            let rows = rows - i64::try_from(dropped.len()).unwrap_or(i64::MAX);
            applied.unlocated.extend(dropped);
            self.apply_slice(&after, &last, rows, &mut applied).await?;
            after = last;
        }
    }

    /// The staged rows after one code up to another.
    async fn apply_slice(
        &mut self,
        after: &str,
        last: &str,
        rows: i64,
        applied: &mut Applied,
    ) -> Result<(), StoreError> {
        let create =
            sqlx::query(include_str!("../../queries/import_create.sql")).bind(self.import_id).bind(after).bind(last);
        let created = affected(&create.execute(&mut *self.transaction).await.map_err(raced)?);
        applied.created += created;
        if created == rows {
            return Ok(());
        }
        let differing: Vec<(String, i64, i32)> = sqlx::query_as(include_str!("../../queries/import_differing.sql"))
            .bind(self.import_id)
            .bind(after)
            .bind(last)
            .fetch_all(&mut *self.transaction)
            .await?;
        let fits = |count: i32| usize::try_from(count).is_ok_and(|count| count <= crate::model::ATTRIBUTES_MAX);
        let (changing, overfull): (Vec<_>, Vec<_>) = differing.into_iter().partition(|&(.., count)| fits(count));
        let changing: Vec<String> = changing.into_iter().map(|(code, ..)| code).collect();
        let overfull: Vec<(i64, i32)> = overfull.into_iter().map(|(_, line, count)| (line, count)).collect();
        let updated = if changing.is_empty() { 0 } else { self.update(&changing).await? };
        applied.updated += updated;
        applied.unchanged += rows - created - updated - i64::try_from(overfull.len()).unwrap_or(i64::MAX);
        applied.overfull.extend(overfull);
        Ok(())
    }

    async fn drop_unlocated(&mut self, after: &str, last: &str) -> Result<Vec<i64>, StoreError> {
        let dropped = sqlx::query_scalar(include_str!("../../queries/import_unlocated.sql")).bind(self.import_id);
        Ok(dropped.bind(after).bind(last).fetch_all(&mut *self.transaction).await?)
    }

    async fn update(&mut self, codes: &[String]) -> Result<i64, StoreError> {
        let updated = sqlx::query(include_str!("../../queries/import_update.sql"))
            .bind(self.import_id)
            .bind(codes)
            .execute(&mut *self.transaction)
            .await
            .map_err(raced)?;
        Ok(affected(&updated))
    }

    /// Commits with the answer under its key. `rows` were read; those that `applied` does not count failed.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`] when another attempt took the key first (it may have been the same request): nothing was changed.
    /// [`StoreError::Postgres`]: whether it was committed is unknown.
    pub async fn commit(
        mut self,
        key: &RequestKey,
        answer: &[u8],
        rows: i64,
        applied: &Applied,
    ) -> Result<(), StoreError> {
        let Applied { created, updated, unchanged, .. } = applied;
        if !requests::keep(&mut self.transaction, key, answer).await? {
            self.transaction.rollback().await?;
            return Err(StoreError::KeyReused);
        }
        let finish = sqlx::query(include_str!("../../queries/import_finish.sql"))
            .bind(self.import_id)
            .bind(ImportState::Applied.name());
        let finish =
            finish.bind(rows).bind(created).bind(updated).bind(unchanged).bind(rows - created - updated - unchanged);
        finish.execute(&mut *self.transaction).await?;
        self.transaction.commit().await?;
        Ok(())
    }

    /// Leaves everything as it was.
    ///
    /// # Errors
    /// [`StoreError::Postgres`]; nothing was changed either way.
    pub async fn rollback(self) -> Result<(), StoreError> {
        Ok(self.transaction.rollback().await?)
    }
}

/// Rows are looked at before they are written, so these constraints speak only when somebody changed a SKU in between: the import can be repeated.
fn raced(error: sqlx::Error) -> StoreError {
    match error.as_database_error().and_then(|error| error.constraint()) {
        Some("sku_attributes_count" | "sku_policy_backorder_located") => StoreError::ImportLost,
        _ => error.into(),
    }
}

fn affected(result: &sqlx::postgres::PgQueryResult) -> i64 {
    i64::try_from(result.rows_affected()).unwrap_or(i64::MAX)
}
