//! What the working on a run stores: its plan, reservation's answers batch by batch, and its end. Each is one transaction that looks first whether
//! somebody else has done it, so that two processes at once, or one after a crash, do everything once.

use std::collections::HashMap;

use holdfast_feeds::observation::Mode;
use holdfast_feeds::plan::{Effect, Fate, KnownKey, PlannedRow, SkuCount, Stopped};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::connections::mode_of;
use super::{Store, StoreError, connections, quarantine};
use crate::fingerprint::batch_key;
use crate::model::{Batch, CountEffect, CountLine, HOUSE, Run, RunState, Verdict};

/// A code, its SKU, units, the vendor's units, and a lower number that waits.
type KnownColumns = (String, Option<String>, Option<i64>, Option<i64>, Option<i64>);

/// Rows that one statement inserts.
const ROWS_PER_STATEMENT: usize = 5000;

/// A run's rows and counts, to be stored.
#[derive(Debug, Default)]
pub struct Planned {
    /// The report.
    pub rows: Vec<PlannedRow>,
    /// The counts, each SKU once.
    pub counts: Vec<SkuCount>,
    /// The codes whose numbers wait for a person.
    pub stopped: Vec<Stopped>,
    /// What must be on hand of a SKU for its number to be taken; of those without an entry, whatever is.
    pub expected: HashMap<String, i64>,
    /// What the file gate has to say though the file is applied.
    pub warnings: Vec<String>,
    /// The file's rows and the share of its commonest number in thousandths; none for a file that is stale as a whole.
    pub file: Option<(u64, u32)>,
    /// Counts in one request, at least 1.
    pub batch_counts: usize,
}

/// A run of which nothing is applied, to be ended.
#[derive(Debug)]
pub struct Unplanned {
    /// Refused or held.
    pub state: RunState,
    /// Why.
    pub reason: String,
    /// Rows of the file.
    pub rows: u64,
    /// The rows that speak against it.
    pub rejected: Vec<PlannedRow>,
    /// Whether a suspicion holds it that counts: after so many in a row the connection is paused. None: it is refused, or held for another reason.
    pub pause_after: Option<u32>,
}

impl Store {
    /// What the codes of a run's connection said last; for the shop's own numbers what waits at the run's location.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn known_keys(&self, run: &Run) -> Result<Vec<KnownKey>, StoreError> {
        let query = if run.is_house() {
            sqlx::query_as(include_str!("../../queries/feed_state_get_house.sql"))
                .bind(&run.connection)
                .bind(&run.location)
        } else {
            sqlx::query_as(include_str!("../../queries/feed_state_get.sql")).bind(&run.connection)
        };
        let rows: Vec<KnownColumns> = query.fetch_all(&self.pool).await?;
        let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let known = |(vendor_sku, sku, units, quantity, waiting)| KnownKey {
            vendor_sku,
            sku,
            units: number(units),
            quantity: number(quantity),
            waiting: number(waiting),
        };
        Ok(rows.into_iter().map(known).collect())
    }

    /// Stores a run's rows and counts. Without effect if that was done, or the run is finished.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn store_plan(&self, run_id: Uuid, plan: &Planned) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        if !lock_unplanned(&mut transaction, run_id).await? {
            transaction.rollback().await?;
            return Ok(());
        }
        let spoken: Vec<&str> = spoken_codes(plan).collect();
        // What waits already says since when, so it goes afterwards.
        let stopped = quarantine::insert(&mut transaction, run_id, &plan.stopped).await?;
        quarantine::supersede(&mut transaction, run_id, &spoken).await?;
        insert_rows(&mut transaction, run_id, &plan.rows, &stopped).await?;
        let rows_of = rows_by_sku(&plan.rows);
        for (number, counts) in (0_i32..).zip(plan.counts.chunks(plan.batch_counts)) {
            insert_batch(&mut transaction, run_id, number, counts, (&rows_of, &plan.expected)).await?;
        }
        let of = |fate| plan.rows.iter().filter(|row| row.fate == fate).count();
        sqlx::query(include_str!("../../queries/run_planned.sql"))
            .bind(run_id)
            .bind(wide(plan.rows.len()))
            .bind(wide(of(Fate::Stale)))
            .bind(wide(of(Fate::Unmapped)))
            .bind(wide(of(Fate::Rejected)))
            .bind(wide(of(Fate::Quarantined)))
            .bind(&plan.warnings)
            .bind(plan.file.map(|(rows, _)| i64::try_from(rows).unwrap_or(i64::MAX)))
            .bind(plan.file.map(|(_, permille)| i32::try_from(permille).unwrap_or(i32::MAX)))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Ends a run of which nothing is applied. Without effect if it was planned or finished. A refused file is dropped; a held one waits for a person.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn end_unplanned(&self, run: &Run, end: &Unplanned) -> Result<(), StoreError> {
        let (run_id, connection) = (run.run_id, run.connection.as_str());
        let mut transaction = self.pool.begin().await?;
        if !lock_unplanned(&mut transaction, run_id).await? {
            transaction.rollback().await?;
            return Ok(());
        }
        insert_rows(&mut transaction, run_id, &end.rejected, &HashMap::new()).await?;
        if end.state == RunState::Refused {
            drop_content(&mut transaction, run_id).await?;
        }
        sqlx::query(include_str!("../../queries/run_end_unplanned.sql"))
            .bind(run_id)
            .bind(end.state.name())
            .bind(&end.reason)
            .bind(i64::try_from(end.rows).unwrap_or(i64::MAX))
            .bind(wide(end.rejected.len()))
            .execute(&mut *transaction)
            .await?;
        if let Some(pause_after) = end.pause_after {
            count_hold(&mut transaction, connection, pause_after).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Requests of a run that were not acknowledged.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn open_batches(&self, run_id: Uuid) -> Result<Vec<Batch>, StoreError> {
        let rows: Vec<(i32, Uuid, i32)> = sqlx::query_as(include_str!("../../queries/run_batches_open.sql"))
            .bind(run_id)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(|(number, request_id, revision)| Batch { number, request_id, revision }).collect())
    }

    /// The SKUs and units of a request, in the order in which they are sent.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn batch_counts(&self, run_id: Uuid, batch: &Batch) -> Result<Vec<CountLine>, StoreError> {
        let counts = sqlx::query_as(include_str!("../../queries/run_batch_counts.sql"));
        let counts: Vec<(String, i64, String, Option<i64>)> =
            counts.bind(run_id).bind(batch.number).fetch_all(&self.pool).await?;
        let line = |(sku, units, effect, expected): (_, _, String, _)| {
            let known = CountEffect::of_name(&effect);
            let effect = known.ok_or_else(|| StoreError::Unreadable(format!("effect {effect:?} in run {run_id}")))?;
            Ok(CountLine { sku, units, effect, expected })
        };
        counts.into_iter().map(line).collect()
    }

    /// Whether a planned run's file says something by itself, and is not stale as a whole.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn is_accepted(&self, run_id: Uuid) -> Result<bool, StoreError> {
        let accepted = sqlx::query_scalar(include_str!("../../queries/run_is_accepted.sql"));
        Ok(accepted.bind(run_id).fetch_optional(&self.pool).await?.unwrap_or(false))
    }

    /// Stores what reservation said of all counts of a request. Without effect if that was done.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn acknowledge(&self, run_id: Uuid, batch: &Batch, verdicts: &[Verdict]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        if lock_batch(&mut transaction, run_id, batch).await? {
            store_verdicts(&mut transaction, run_id, verdicts).await?;
            let done = sqlx::query(include_str!("../../queries/run_batch_done.sql"));
            done.bind(run_id).bind(batch.number).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Takes counts that reservation refused out of a request, which thereby becomes another one; answers it. Without effect if that was done, and then
    /// the answer may be too new to be acknowledged, which [`Store::acknowledge`] sees.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn revise(&self, run_id: Uuid, batch: &Batch, refused: &[Verdict]) -> Result<Batch, StoreError> {
        let revision = batch.revision + 1;
        let revised = Batch { revision, request_id: batch_key(run_id, batch.number, revision), ..batch.clone() };
        let mut transaction = self.pool.begin().await?;
        if lock_batch(&mut transaction, run_id, batch).await? {
            store_verdicts(&mut transaction, run_id, refused).await?;
            let revise = sqlx::query(include_str!("../../queries/run_batch_revise.sql"));
            revise.bind(run_id).bind(batch.number).bind(revised.request_id).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(revised)
    }

    /// Ends a run all of whose requests were acknowledged, and only now lets the connection's memory advance. False if some were not, or it was
    /// finished before.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn end_applied(&self, run_id: Uuid) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let locked: Option<(String, String, OffsetDateTime, i64, bool)> =
            sqlx::query_as(include_str!("../../queries/run_lock_acknowledged.sql"))
                .bind(run_id)
                .fetch_optional(&mut *transaction)
                .await?;
        let Some((mode, connection, as_of, sequence, is_accepted)) = locked else {
            transaction.rollback().await?;
            return Ok(false);
        };
        let mode = mode_of(&mode).ok_or_else(|| StoreError::Unreadable(format!("mode {mode:?}")))?;
        // The statistics know nothing of a report that was written a moment ago: row by row, its 40,000 rows would be looked up 40,000 times.
        sqlx::query("SET LOCAL enable_nestloop = off").execute(&mut *transaction).await?;
        let accepted = sqlx::query(include_str!("../../queries/connection_accept.sql"));
        let accepted = accepted.bind(&connection).bind(as_of).bind(sequence).execute(&mut *transaction).await?;
        let newest = accepted.rows_affected() == 1;
        if newest && mode == Mode::Full {
            let gone = sqlx::query(include_str!("../../queries/feed_state_drop_gone.sql"));
            gone.bind(run_id).bind(&connection).execute(&mut *transaction).await?;
        }
        // What is there of the shop's own, reservation knows.
        if connection != HOUSE {
            let advance = sqlx::query(include_str!("../../queries/feed_state_advance.sql"));
            let advance = advance.bind(run_id).bind(&connection).bind(as_of).bind(sequence).bind(mode == Mode::Full);
            advance.execute(&mut *transaction).await?;
            let remember = sqlx::query(include_str!("../../queries/feed_state_remember_stopped.sql"));
            remember.bind(run_id).execute(&mut *transaction).await?;
        }
        if newest && is_accepted && mode == Mode::Full {
            // A PARTIAL file says other things than the one before it: it takes no other's place.
            let supersede = sqlx::query(include_str!("../../queries/run_supersede.sql"));
            supersede.bind(&connection).bind(as_of).bind(sequence).execute(&mut *transaction).await?;
        }
        if is_accepted {
            let unheld = sqlx::query(include_str!("../../queries/connection_unheld.sql"));
            unheld.bind(&connection).execute(&mut *transaction).await?;
        }
        drop_content(&mut transaction, run_id).await?;
        sqlx::query(include_str!("../../queries/run_applied.sql")).bind(run_id).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

async fn lock_unplanned(connection: &mut PgConnection, run_id: Uuid) -> Result<bool, sqlx::Error> {
    let locked = sqlx::query(include_str!("../../queries/run_lock_unplanned.sql"));
    Ok(locked.bind(run_id).fetch_optional(connection).await?.is_some())
}

async fn lock_batch(connection: &mut PgConnection, run_id: Uuid, batch: &Batch) -> Result<bool, sqlx::Error> {
    let locked = sqlx::query(include_str!("../../queries/run_batch_lock.sql"));
    let locked = locked.bind(run_id).bind(batch.number).bind(batch.revision).fetch_optional(connection).await?;
    Ok(locked.is_some())
}

async fn drop_content(connection: &mut PgConnection, run_id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("../../queries/run_content_drop.sql")).bind(run_id).execute(connection).await?;
    Ok(())
}

/// Counts a file that looked suspect; the last one that is allowed pauses its connection.
async fn count_hold(transaction: &mut PgConnection, connection: &str, pause_after: u32) -> Result<(), sqlx::Error> {
    let held: i32 = sqlx::query_scalar(include_str!("../../queries/connection_held.sql"))
        .bind(connection)
        .fetch_one(&mut *transaction)
        .await?;
    if u32::try_from(held).is_ok_and(|held| held >= pause_after) {
        let reason = format!("{held} files in a row were held");
        connections::pause(&mut *transaction, connection, "holdfast", &reason).await?;
        let unheld = sqlx::query(include_str!("../../queries/connection_unheld.sql"));
        unheld.bind(connection).execute(transaction).await?;
    }
    Ok(())
}

/// The codes of which a plan says something: a number that waited is not the newest any more.
fn spoken_codes(plan: &Planned) -> impl Iterator<Item = &str> {
    let spoken = |row: &&PlannedRow| matches!(row.fate, Fate::Counted | Fate::Quarantined);
    plan.rows.iter().filter(spoken).map(|row| row.vendor_sku.as_str())
}

async fn insert_rows(
    connection: &mut PgConnection,
    run_id: Uuid,
    rows: &[PlannedRow],
    stopped: &HashMap<&str, Uuid>,
) -> Result<(), sqlx::Error> {
    let mut ordinal = 0_i64;
    for rows in rows.chunks(ROWS_PER_STATEMENT) {
        let ordinals: Vec<i64> = (ordinal..).take(rows.len()).collect();
        ordinal += wide(rows.len());
        let column = |value: fn(&PlannedRow) -> &str| rows.iter().map(value).collect::<Vec<_>>();
        let lines: Vec<i64> = rows.iter().map(|row| i64::try_from(row.line).unwrap_or(i64::MAX)).collect();
        let skus: Vec<Option<&str>> = rows.iter().map(|row| row.sku.as_deref()).collect();
        let number = |number: Option<u64>| number.and_then(|number| i64::try_from(number).ok());
        let units: Vec<Option<i64>> = rows.iter().map(|row| number(row.units)).collect();
        let quantities: Vec<Option<i64>> = rows.iter().map(|row| number(row.quantity)).collect();
        let quarantined = rows.iter().map(|row| match row.fate {
            Fate::Quarantined => stopped.get(row.vendor_sku.as_str()).copied(),
            Fate::Counted | Fate::Stale | Fate::Unmapped | Fate::Rejected => None,
        });
        let quarantined: Vec<Option<Uuid>> = quarantined.collect();
        sqlx::query(include_str!("../../queries/run_rows_insert.sql"))
            .bind(run_id)
            .bind(ordinals)
            .bind(lines)
            .bind(column(|row| &row.vendor_sku))
            .bind(column(|row| &row.raw_quantity))
            .bind(skus)
            .bind(units)
            .bind(column(|row| fate_name(row.fate)))
            .bind(column(|row| &row.note))
            .bind(quantities)
            .bind(quarantined)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// How many counted rows each SKU has.
fn rows_by_sku(rows: &[PlannedRow]) -> HashMap<&str, i32> {
    let mut by_sku = HashMap::new();
    for row in rows.iter().filter(|row| row.fate == Fate::Counted) {
        *by_sku.entry(row.sku.as_deref().unwrap_or_default()).or_insert(0) += 1;
    }
    by_sku
}

async fn insert_batch(
    connection: &mut PgConnection,
    run_id: Uuid,
    number: i32,
    counts: &[SkuCount],
    (rows_of, expected_of): (&HashMap<&str, i32>, &HashMap<String, i64>),
) -> Result<(), sqlx::Error> {
    let batch = sqlx::query(include_str!("../../queries/run_batch_insert.sql"));
    batch.bind(run_id).bind(number).bind(batch_key(run_id, number, 0)).execute(&mut *connection).await?;
    let skus: Vec<&str> = counts.iter().map(|count| count.sku.as_str()).collect();
    let units: Vec<i64> = counts.iter().map(|count| i64::try_from(count.units).unwrap_or(i64::MAX)).collect();
    let rows: Vec<i32> = skus.iter().map(|sku| rows_of.get(sku).copied().unwrap_or(0)).collect();
    let insert = sqlx::query(include_str!("../../queries/run_counts_insert.sql"));
    let effects: Vec<&str> = counts.iter().map(|count| effect_name(count.effect)).collect();
    // A limit leaves what is on hand alone, so nothing is expected of it.
    let sets = |count: &&SkuCount| count.effect == Effect::Set;
    let expected = counts.iter().map(|count| Some(count).filter(sets).and_then(|count| expected_of.get(&count.sku)));
    let expected: Vec<Option<i64>> = expected.map(Option::<&i64>::copied).collect();
    let insert = insert.bind(run_id).bind(number).bind(skus).bind(units).bind(rows).bind(effects).bind(expected);
    insert.execute(connection).await?;
    Ok(())
}

async fn store_verdicts(connection: &mut PgConnection, run_id: Uuid, verdicts: &[Verdict]) -> Result<(), sqlx::Error> {
    let skus: Vec<&str> = verdicts.iter().map(|verdict| verdict.sku.as_str()).collect();
    let outcomes: Vec<&str> = verdicts.iter().map(|verdict| verdict.outcome.name()).collect();
    let previous: Vec<Option<i64>> = verdicts.iter().map(|verdict| verdict.previous_on_hand).collect();
    let shortfalls: Vec<Option<i64>> = verdicts.iter().map(|verdict| verdict.shortfall).collect();
    let notes: Vec<&str> = verdicts.iter().map(|verdict| verdict.note.as_str()).collect();
    sqlx::query(include_str!("../../queries/run_counts_done.sql"))
        .bind(run_id)
        .bind(skus)
        .bind(outcomes)
        .bind(previous)
        .bind(shortfalls)
        .bind(notes)
        .execute(connection)
        .await?;
    Ok(())
}

fn effect_name(effect: Effect) -> &'static str {
    match effect {
        Effect::Set => CountEffect::Set.name(),
        Effect::Limit => CountEffect::Limit.name(),
    }
}

fn fate_name(fate: Fate) -> &'static str {
    match fate {
        Fate::Counted => "COUNTED",
        Fate::Stale => "STALE",
        Fate::Unmapped => "UNMAPPED",
        Fate::Rejected => "REJECTED",
        Fate::Quarantined => "QUARANTINED",
    }
}

fn wide(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
