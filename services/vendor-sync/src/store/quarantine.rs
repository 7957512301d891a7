//! Numbers that guards stopped: stored with their runs, read, listed, decided, and the decisions carried out. A decision is in the record before anything of it is
//! sent, and what is sent is too, so that it has its effect once whoever dies.

use std::collections::HashMap;
use std::time::Duration;

use holdfast_feeds::UNITS_MAX;
use holdfast_feeds::plan::Stopped;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::requests::{self, RequestKey};
use super::{Listed, Store, StoreError, limit};
use crate::model::{CountEffect, CountLine, Decision, Moment, QuarantineState, Quarantined, RowOutcome};

/// The last number of a page: its time in nanoseconds since 1970, and its id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QuarantineCursor(i128, Uuid);

impl From<&Quarantined> for QuarantineCursor {
    fn from(row: &Quarantined) -> Self {
        Self(row.create_time.unix_timestamp_nanos(), row.quarantine_id)
    }
}

/// Which numbers a list has.
#[derive(Debug, Clone)]
pub struct QuarantineFilter {
    /// In this state.
    pub state: QuarantineState,
    /// Of this connection; none: of all.
    pub connection: Option<String>,
    /// Of this run; none: of all.
    pub run_id: Option<Uuid>,
    /// Of this SKU; none: of all.
    pub sku: Option<String>,
}

/// Adjustments of the shop that a guard stopped.
#[derive(Debug, Clone)]
pub struct StoppedAdjustments {
    /// The SKU that was stopped.
    pub sku: String,
    /// Its location.
    pub location: String,
    /// The change as it was written.
    pub raw_quantity: String,
    /// Units before, if there is a row.
    pub old_units: Option<i64>,
    /// Units after.
    pub new_units: i64,
    /// The rules.
    pub rules: Vec<String>,
    /// What looks wrong.
    pub explanation: String,
    /// Units that could be sold without being there.
    pub exposure: i64,
    /// Who typed them.
    pub typed_by: String,
    /// Why; may be empty.
    pub note: String,
    /// The request, in protobuf's encoding.
    pub request: Vec<u8>,
}

impl Store {
    /// A quarantined number by its id.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn quarantined(&self, id: Uuid) -> Result<Option<Quarantined>, StoreError> {
        let found: Option<Columns> = sqlx::query_as(include_str!("../../queries/quarantined_get.sql"))
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        found.map(TryInto::try_into).transpose()
    }

    /// The quarantined numbers before another one, newest first.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn list_quarantined(
        &self,
        after: Option<&QuarantineCursor>,
        filter: &QuarantineFilter,
        size: usize,
    ) -> Result<Listed<Quarantined>, StoreError> {
        let time = after.and_then(|after| OffsetDateTime::from_unix_timestamp_nanos(after.0).ok());
        let rows: Vec<Columns> = sqlx::query_as(include_str!("../../queries/quarantined_list.sql"))
            .bind(time)
            .bind(after.map(|after| after.1))
            .bind(limit(size))
            .bind(filter.state.name())
            .bind(&filter.connection)
            .bind(filter.run_id)
            .bind(&filter.sku)
            .fetch_all(&self.pool)
            .await?;
        Ok(Listed::cut(rows.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?, size))
    }

    /// Keeps what a person decided of a number, once for its key; it is carried out by whoever works on the connection.
    ///
    /// Run it in a task of its own, like every change.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`], [`StoreError::NotQuarantined`], [`StoreError::Decided`], [`StoreError::WhichQuantity`], [`StoreError::NoQuantity`]: nothing was
    /// changed. [`StoreError::Postgres`]: that is unknown.
    pub async fn decide_quarantined(
        &self,
        key: &RequestKey,
        id: Uuid,
        decision: &Decision,
        quantity: Option<i64>,
    ) -> Result<(), StoreError> {
        if self.answered(key).await?.is_some() {
            return Ok(());
        }
        let row = self.quarantined(id).await?.ok_or(StoreError::NotQuarantined(id))?;
        if decision.approves && row.run_id.is_some() && quantity.or(row.new_units).is_none() {
            return Err(StoreError::WhichQuantity);
        }
        if decision.approves && row.run_id.is_none() && quantity.is_some() {
            return Err(StoreError::NoQuantity);
        }
        let state = if decision.approves { QuarantineState::Approved } else { QuarantineState::Rejected };
        let mut transaction = self.pool.begin().await?;
        let decided = sqlx::query(include_str!("../../queries/quarantined_decide.sql"))
            .bind(id)
            .bind(state.name())
            .bind(&decision.actor)
            .bind(&decision.reason)
            .bind(quantity)
            .fetch_optional(&mut *transaction)
            .await?
            .is_some();
        if decided && requests::keep(&mut transaction, key, id.as_bytes()).await? {
            transaction.commit().await?;
            return Ok(());
        }
        transaction.rollback().await?;
        // Who decided while this attempt waited may have been this very request, sent twice.
        if self.answered(key).await?.is_some() {
            return Ok(());
        }
        match self.quarantined(id).await? {
            None => Err(StoreError::NotQuarantined(id)),
            Some(_) if decided => Err(StoreError::KeyReused),
            Some(row) => Err(StoreError::Decided { kind: "quarantined number", id, state: row.state.name() }),
        }
    }

    /// Believes lower numbers of which a cadence has passed without another word, at most so many; answers how many it were.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn believe_due(&self, rows_max: u32) -> Result<u64, StoreError> {
        let believed = sqlx::query(include_str!("../../queries/quarantined_believe.sql"))
            .bind(i64::from(rows_max))
            .bind("a cadence passed without another number: the lower one is believed")
            .execute(&self.pool)
            .await?;
        Ok(believed.rows_affected())
    }

    /// The decision on a connection's numbers that is to be carried out next.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn next_decision(&self, connection: &str) -> Result<Option<Quarantined>, StoreError> {
        let found: Option<Columns> = sqlx::query_as(include_str!("../../queries/quarantined_next.sql"))
            .bind(connection)
            .fetch_optional(&self.pool)
            .await?;
        found.map(TryInto::try_into).transpose()
    }

    /// Settles what reservation is told of a decided count: its SKU's units, all codes together. Once settled it stays. None: nothing is left to be told, because
    /// the decision was carried out, or together the codes say more than a count may.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn settle_decision(&self, decided: &Quarantined) -> Result<Option<(CountLine, i32)>, StoreError> {
        let id = decided.quarantine_id;
        let mut transaction = self.pool.begin().await?;
        if sqlx::query(include_str!("../../queries/quarantined_lock.sql"))
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await?
            .is_none()
        {
            transaction.rollback().await?;
            return Ok(None);
        }
        let others: Vec<(i64, Option<i64>)> = sqlx::query_as(include_str!("../../queries/quarantined_others.sql"))
            .bind(id)
            .fetch_all(&mut *transaction)
            .await?;
        let Some((units, effect)) = told(decided, &others) else {
            let note = format!("the codes of this SKU say more than {UNITS_MAX} units together");
            done(&mut transaction, id, Some(RowOutcome::Rejected), &note).await?;
            transaction.commit().await?;
            return Ok(None);
        };
        let place: Option<i32> = sqlx::query_scalar(include_str!("../../queries/quarantined_sent.sql"))
            .bind(id)
            .bind(units)
            .bind(effect.name())
            .fetch_optional(&mut *transaction)
            .await?;
        transaction.commit().await?;
        match place {
            Some(place) => Ok(Some((CountLine { sku: decided.sku.clone(), units, effect, expected: None }, place))),
            None => Ok(self.quarantined(id).await?.and_then(|row| row.sent)),
        }
    }

    /// Ends the carrying out of a decision, and lets the connection remember what was believed. Without effect if that was done.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn end_decision(
        &self,
        decided: &Quarantined,
        outcome: Option<RowOutcome>,
        note: &str,
    ) -> Result<(), StoreError> {
        let id = decided.quarantine_id;
        let mut transaction = self.pool.begin().await?;
        let locked = sqlx::query(include_str!("../../queries/quarantined_lock.sql"));
        if locked.bind(id).fetch_optional(&mut *transaction).await?.is_some() {
            done(&mut transaction, id, outcome, note).await?;
            let is_of_vendor = decided.run_id.is_some() && decided.connection != crate::model::HOUSE;
            let is_taken = decided.state == QuarantineState::Approved && outcome != Some(RowOutcome::Rejected);
            if is_of_vendor && is_taken {
                let believe = sqlx::query(include_str!("../../queries/feed_state_believe.sql"));
                let is_stale = outcome == Some(RowOutcome::Stale);
                believe.bind(id).bind(is_stale).execute(&mut *transaction).await?;
            }
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Puts the carrying out of a decision off.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn postpone_decision(&self, id: Uuid, pause: Duration) -> Result<(), StoreError> {
        let postpone = sqlx::query(include_str!("../../queries/quarantined_postpone.sql"));
        postpone.bind(id).bind(pause.as_secs_f64()).execute(&self.pool).await?;
        Ok(())
    }

    /// Keeps what the guards said of adjustments, once for their key: the id of what they became if one stopped them, else none. A replay hears what was said first.
    ///
    /// Run it in a task of its own, like every change.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`]: nothing was changed. [`StoreError::Postgres`]: that is unknown.
    pub async fn keep_adjustments(
        &self,
        key: &RequestKey,
        stopped: Option<&StoppedAdjustments>,
    ) -> Result<Option<Uuid>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let id = stopped.map(|_| Uuid::now_v7());
        if let (Some(id), Some(stopped)) = (id, stopped) {
            insert_adjustments(&mut transaction, id, stopped).await?;
        }
        let answer = id.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
        if requests::keep(&mut transaction, key, &answer).await? {
            transaction.commit().await?;
            return Ok(id);
        }
        transaction.rollback().await?;
        self.kept_adjustments(key).await?.ok_or(StoreError::KeyReused)
    }

    /// What was said of adjustments before, if it was: see [`Store::keep_adjustments`].
    ///
    /// # Errors
    /// [`StoreError::KeyReused`], [`StoreError::Postgres`].
    pub async fn kept_adjustments(&self, key: &RequestKey) -> Result<Option<Option<Uuid>>, StoreError> {
        let Some(answer) = self.answered(key).await? else { return Ok(None) };
        if answer.is_empty() {
            return Ok(Some(None));
        }
        let id = Uuid::from_slice(&answer).map_err(|_| StoreError::Unreadable("an answer that is no id".to_owned()))?;
        Ok(Some(Some(id)))
    }

    /// Forgets numbers that were decided longer ago than so many seconds, at most so many; answers how many it were.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn forget_quarantined(&self, age_seconds: u32, rows_max: u32) -> Result<u64, StoreError> {
        let forget = sqlx::query(include_str!("../../queries/quarantined_forget.sql"));
        Ok(forget.bind(f64::from(age_seconds)).bind(i64::from(rows_max)).execute(&self.pool).await?.rows_affected())
    }
}

/// What reservation is told of a decided count, beside what the other codes of the SKU count (units, and a lower number that waits). None: more than it takes.
fn told(decided: &Quarantined, others: &[(i64, Option<i64>)]) -> Option<(i64, CountEffect)> {
    let approves = decided.state == QuarantineState::Approved;
    if !approves && others.is_empty() {
        return Some((0, CountEffect::Unlimit));
    }
    let own = if approves { decided.decided_units } else { decided.old_units };
    let sum = others.iter().fold(i128::from(own.unwrap_or(0)), |sum, (units, waiting)| {
        sum + i128::from(waiting.map_or(*units, |waiting| waiting.min(*units)))
    });
    let units = i64::try_from(sum).ok().filter(|units| u64::try_from(*units).is_ok_and(|units| units <= UNITS_MAX))?;
    // A lower number of another code still waits: then so does the SKU.
    let waits = others.iter().any(|(_, waiting)| waiting.is_some());
    Some((units, if waits { CountEffect::Limit } else { CountEffect::Set }))
}

/// Stores what a plan stopped, in its transaction; answers the ids by code.
pub(super) async fn insert<'a>(
    connection: &mut PgConnection,
    run_id: Uuid,
    stopped: &'a [Stopped],
) -> Result<HashMap<&'a str, Uuid>, sqlx::Error> {
    if stopped.is_empty() {
        return Ok(HashMap::new());
    }
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let text = |text: fn(&Stopped) -> &str| stopped.iter().map(text).collect::<Vec<_>>();
    let ids: Vec<Uuid> = stopped.iter().map(|_| Uuid::now_v7()).collect();
    let rules = |stopped: &Stopped| stopped.rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    sqlx::query(include_str!("../../queries/quarantined_insert.sql"))
        .bind(run_id)
        .bind(&ids)
        .bind(stopped.iter().map(|stopped| number(stopped.line)).collect::<Vec<_>>())
        .bind(text(|stopped| &stopped.vendor_sku))
        .bind(text(|stopped| &stopped.sku))
        .bind(text(|stopped| &stopped.raw_quantity))
        .bind(stopped.iter().map(|stopped| number(stopped.pack_size)).collect::<Vec<_>>())
        .bind(stopped.iter().map(|stopped| stopped.old.map(number)).collect::<Vec<_>>())
        .bind(stopped.iter().map(|stopped| stopped.new.map(number)).collect::<Vec<_>>())
        .bind(stopped.iter().map(rules).collect::<Vec<_>>())
        .bind(text(|stopped| &stopped.explanation))
        .bind(stopped.iter().map(|stopped| number(stopped.exposure())).collect::<Vec<_>>())
        .bind(stopped.iter().map(|stopped| stopped.is_limited).collect::<Vec<_>>())
        .bind(stopped.iter().map(|stopped| stopped.is_decrease).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(stopped.iter().map(|stopped| stopped.vendor_sku.as_str()).zip(ids).collect())
}

/// Ends the waiting of numbers whose codes a plan says something newer of, in its transaction.
pub(super) async fn supersede(connection: &mut PgConnection, run_id: Uuid, codes: &[&str]) -> Result<(), sqlx::Error> {
    let supersede = sqlx::query(include_str!("../../queries/quarantined_supersede.sql"));
    supersede.bind(run_id).bind(codes).execute(connection).await?;
    Ok(())
}

async fn insert_adjustments(
    connection: &mut PgConnection,
    id: Uuid,
    stopped: &StoppedAdjustments,
) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("../../queries/quarantined_insert_adjustment.sql"))
        .bind(id)
        .bind(&stopped.sku)
        .bind(&stopped.location)
        .bind(&stopped.raw_quantity)
        .bind(stopped.old_units)
        .bind(stopped.new_units)
        .bind(&stopped.rules)
        .bind(&stopped.explanation)
        .bind(stopped.exposure)
        .bind(&stopped.typed_by)
        .bind(&stopped.note)
        .bind(&stopped.request)
        .execute(connection)
        .await?;
    Ok(())
}

async fn done(
    connection: &mut PgConnection,
    id: Uuid,
    outcome: Option<RowOutcome>,
    note: &str,
) -> Result<(), sqlx::Error> {
    let done = sqlx::query(include_str!("../../queries/quarantined_done.sql"));
    done.bind(id).bind(outcome.map(RowOutcome::name)).bind(note).execute(connection).await?;
    Ok(())
}

#[derive(Debug, sqlx::FromRow)]
struct Columns {
    quarantine_id: Uuid,
    state: String,
    connection: String,
    run_id: Option<Uuid>,
    line: i64,
    vendor_sku: String,
    sku: String,
    location: String,
    raw_quantity: String,
    old_units: Option<i64>,
    new_units: Option<i64>,
    rules: Vec<String>,
    explanation: String,
    exposure: i64,
    as_of: OffsetDateTime,
    sequence: i64,
    is_limited: bool,
    typed_by: String,
    typed_note: String,
    adjustments: Option<Vec<u8>>,
    create_time: OffsetDateTime,
    decide_time: Option<OffsetDateTime>,
    decided_by: String,
    decision_reason: String,
    decided_units: Option<i64>,
    sent_units: Option<i64>,
    sent_effect: Option<String>,
    sent_place: Option<i32>,
    outcome: Option<String>,
    outcome_note: String,
    done_time: Option<OffsetDateTime>,
    attempts: i32,
}

impl TryFrom<Columns> for Quarantined {
    type Error = StoreError;

    fn try_from(row: Columns) -> Result<Self, StoreError> {
        let id = row.quarantine_id;
        let unreadable = |name: &str| StoreError::Unreadable(format!("{name:?} in quarantined number {id}"));
        let state = QuarantineState::of_name(&row.state).ok_or_else(|| unreadable(&row.state))?;
        let outcome =
            row.outcome.map(|name| RowOutcome::of_name(&name).ok_or_else(|| unreadable(&name))).transpose()?;
        let effect = row.sent_effect.map(|name| CountEffect::of_name(&name).ok_or_else(|| unreadable(&name)));
        let sent = match (row.sent_units, effect.transpose()?, row.sent_place) {
            (Some(units), Some(effect), Some(place)) => {
                Some((CountLine { sku: row.sku.clone(), units, effect, expected: None }, place))
            }
            _ => None,
        };
        Ok(Self {
            quarantine_id: id,
            state,
            run_id: row.run_id,
            connection: row.connection,
            line: row.line,
            vendor_sku: row.vendor_sku,
            sku: row.sku,
            location: row.location,
            raw_quantity: row.raw_quantity,
            old_units: row.old_units,
            new_units: row.new_units,
            rules: row.rules,
            explanation: row.explanation,
            exposure: row.exposure,
            moment: Moment { as_of: row.as_of, sequence: row.sequence },
            is_limited: row.is_limited,
            typed_by: row.typed_by,
            typed_note: row.typed_note,
            adjustments: row.adjustments,
            create_time: row.create_time,
            decide_time: row.decide_time,
            decided_by: row.decided_by,
            decision_reason: row.decision_reason,
            decided_units: row.decided_units,
            sent,
            outcome,
            outcome_note: row.outcome_note,
            done_time: row.done_time,
            attempts: u32::try_from(row.attempts).unwrap_or(0),
        })
    }
}
