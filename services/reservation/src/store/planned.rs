//! The planned path: lock and read, let `holdfast_stock` decide, write.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_stock::{
    Allocation, Answer, Cause, Entry, Freshness, Limits, Location, Op, Owner, Plan, Refusal, RequestId, ReservationId,
    RowKey, Sku, Snapshot, StoredOperation, UnixMicros, plan,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::answer::AnswerRow;
use super::progress::{PendingRow, ProgressRow};
use super::rows::{self, AvailableRow, LevelRow, RecordRow};
use super::scope::Scope;
use super::selling::{self, ChannelRow, PolicyRow, SellingRow, TermsRow};
use super::{Store, StoreError, repair};

pub(super) const WRITE_PLAN: &str = "SELECT write_plan($1)";
/// Until the transaction ends; in milliseconds.
pub(super) const LOCK_WAIT: &str = "SELECT set_config('lock_timeout', $1, true)";

/// An operation, and who asked for it: for the ledger.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What to do.
    pub op: Op,
    /// The caller, or the person that it spoke for.
    pub actor: String,
    /// The trace that the request belongs to, if it belongs to one.
    pub trace: Option<String>,
}

/// What a committed batch answered.
#[derive(Debug)]
pub struct PlannedOutcome {
    /// One answer for each operation, in their order.
    pub answers: Vec<Result<Answer, Refusal>>,
    /// When `available` was true.
    pub decided_at: UnixMicros,
    /// Every location of the touched SKUs.
    pub available: Vec<(Sku, Location, i64)>,
    /// Units promised in this batch that the counts say are not there, by row: shortfalls that grew.
    pub shortfall_units_raised: i64,
}

#[derive(Deserialize)]
pub(super) struct LockedRow {
    decided_at: i64,
    claimed: Vec<Uuid>,
    created: Vec<(String, String)>,
    due: Vec<Uuid>,
    overdue: Vec<(String, String, i64)>,
    records: Vec<RecordRow>,
    operations: Vec<(Uuid, String, AnswerRow)>,
    levels: Vec<LevelRow>,
    policies: Vec<PolicyRow>,
    owned: Vec<(String, String, i64)>,
    marks: Vec<(String, i64, i64)>,
    pending: Vec<PendingRow>,
    feeds: Vec<TermsRow>,
    selling: Vec<SellingRow>,
    channels: Vec<ChannelRow>,
}

/// `[reservation, SKU, location, units, of these not there, when those are promised]`.
type AllocationRow<'a> = (Uuid, &'a str, &'a str, i64, i64, Option<i64>);

#[derive(Serialize)]
struct PlanRow<'a> {
    decided_at: i64,
    created: &'a [(String, String)],
    unused: Vec<Uuid>,
    levels: Vec<LevelRow>,
    records: Vec<RecordRow>,
    allocations: Vec<AllocationRow<'a>>,
    ledger: Vec<LedgerRow<'a>>,
    operations: Vec<(Uuid, String, AnswerRow)>,
    policies: Vec<PolicyRow>,
    progress: Vec<ProgressRow>,
    selling: Vec<SellingRow>,
    channels: Vec<(&'a str, &'a str, i64)>,
}

#[derive(Serialize)]
struct LedgerRow<'a> {
    sku: &'a str,
    location: &'a str,
    version: i64,
    at: i64,
    cause: &'static str,
    cause_id: Uuid,
    on_hand: i64,
    held: i64,
    committed: i64,
    safety: i64,
    backorder: i64,
    unsellable: i64,
    condition: Option<&'static str>,
    reason: Option<&'static str>,
    actor: &'a str,
    note: Cow<'a, str>,
    freshness: Option<&'static str>,
    cap: Option<i64>,
    archived: Option<bool>,
    paused: Option<bool>,
    trace: Option<&'a str>,
}

impl Store {
    /// Decides and commits a batch of any operations, at most one a key. `lock_wait`: how long it waits for a lock, in whole milliseconds; none: as configured.
    ///
    /// # Errors
    /// [`StoreError`]; with every one but [`StoreError::Unknown`] nothing has happened.
    pub async fn commit_planned(
        &self,
        ops: &[Asked],
        limits: &Limits,
        lock_wait: Option<Duration>,
    ) -> Result<PlannedOutcome, StoreError> {
        let (transaction, outcome) = self.decided(ops, limits, lock_wait).await?;
        self.pool.within(transaction.commit()).await?;
        Ok(outcome)
    }

    /// Decides and writes a batch as [`commit_planned`](Self::commit_planned) does, and takes everything back: what would have been answered.
    ///
    /// # Errors
    /// [`StoreError`], never [`StoreError::Unknown`]; nothing has happened in any case.
    pub async fn try_planned(&self, ops: &[Asked], limits: &Limits) -> Result<PlannedOutcome, StoreError> {
        let (transaction, outcome) = self.decided(ops, limits, None).await?;
        self.pool.within(transaction.rollback()).await.map_err(before_commit)?;
        Ok(outcome)
    }

    async fn decided(
        &self,
        ops: &[Asked],
        limits: &Limits,
        lock_wait: Option<Duration>,
    ) -> Result<(sqlx::PgTransaction<'static>, PlannedOutcome), StoreError> {
        let scope = Scope::of(ops);
        let mut transaction = self.pool.begin().await.map_err(|error| StoreError::before(&error))?;
        if let Some(wait) = lock_wait {
            let wait = wait.as_millis().to_string();
            let setting = sqlx::query(LOCK_WAIT).bind(wait).execute(&mut *transaction);
            self.pool.within(setting).await.map_err(before_commit)?;
        }
        let locked = self.pool.within(scope.lock(&mut transaction)).await.map_err(before_commit)?;
        let (mut snapshot, locked) = snapshot(locked)?;
        if !scope.repaired.is_empty() {
            let reading = repair::evidence(&mut transaction, &scope.repaired, &scope.cured);
            snapshot.evidence = self.pool.within(reading).await?;
        }
        let now = snapshot.now;
        let shortfalls: BTreeMap<RowKey, i64> =
            snapshot.levels.iter().map(|(row, level)| (row.clone(), level.shortfall)).collect();

        let bare: Vec<Op> = ops.iter().map(|asked| asked.op.clone()).collect();
        let plan = plan(snapshot, &bare, limits);
        let shortfall_units_raised = plan
            .levels
            .iter()
            .map(|(row, level)| (level.shortfall - shortfalls.get(row).copied().unwrap_or(0)).max(0))
            .sum();

        let row = sqlx::types::Json(plan_row(&plan, &locked, ops, now));
        let writing = sqlx::query_as(WRITE_PLAN).bind(row).fetch_one(&mut *transaction);
        let (available,): (sqlx::types::Json<Vec<AvailableRow>>,) =
            self.pool.within(writing).await.map_err(before_commit)?;
        let available = rows::available(available.0)?;
        let outcome = PlannedOutcome { answers: plan.answers, decided_at: now, available, shortfall_units_raised };
        Ok((transaction, outcome))
    }
}

/// An error before the commit was sent: a broken connection has rolled everything back.
#[expect(clippy::needless_pass_by_value, reason = "used as a function value by map_err")]
pub(super) fn before_commit(error: sqlx::Error) -> StoreError {
    match StoreError::from(&error) {
        // A key that another replica landed meanwhile: rolled back, and found when the batch is decided anew.
        StoreError::NeedsPlanning | StoreError::OverLimit(_) => StoreError::Contended(error.to_string()),
        StoreError::Unknown(text) => StoreError::Unreachable(text),
        other => other,
    }
}

/// What of the lock's result the plan's writing needs.
struct Claimed {
    ids: Vec<Uuid>,
    created: Vec<(String, String)>,
}

fn snapshot(locked: LockedRow) -> Result<(Snapshot, Claimed), StoreError> {
    // A row that this transaction made just now to lock it does not exist yet, as far as anybody may decide.
    let created: BTreeSet<(&str, &str)> = locked.created.iter().map(|(s, l)| (s.as_str(), l.as_str())).collect();
    let existing = |row: &LevelRow| !created.contains(&(row.sku.as_str(), row.location.as_str()));
    let mut snapshot = Snapshot { now: UnixMicros(locked.decided_at), ..Snapshot::default() };
    for row in locked.levels {
        if existing(&row) {
            let (key, level) = row.into_row()?;
            snapshot.levels.insert(key, level);
        }
    }
    for row in locked.records {
        let record = row.into_record()?;
        snapshot.records.insert(record.id, record);
    }
    for (request, payload, answer) in locked.operations {
        let operation = StoredOperation { payload: rows::unhex(&payload)?, answer: answer.into_answer()? };
        snapshot.operations.insert(RequestId::from_bytes(request.into_bytes()), operation);
    }
    for (sku, location, units) in locked.overdue {
        snapshot.overdue.insert((rows::sku(&sku)?, rows::location(&location)?), units);
    }
    for row in locked.policies {
        let (sku, policy) = row.into_policy()?;
        snapshot.policies.insert(sku, policy);
    }
    for (owner, sku, units) in locked.owned {
        let owner = Owner::new(&owner).map_err(|_| rows::damaged("an owner"))?;
        snapshot.owned.insert((owner, rows::sku(&sku)?), units);
    }
    for (connection, as_of, sequence) in locked.marks {
        snapshot.marks.insert(rows::name(&connection)?, (UnixMicros(as_of), sequence));
    }
    for row in locked.pending {
        let (row, pending) = row.into_pending()?;
        snapshot.pending.entry(row).or_default().push(pending);
    }
    snapshot.feeds = locked.feeds.into_iter().map(selling::terms).collect::<Result<_, _>>()?;
    snapshot.selling = locked.selling.into_iter().map(SellingRow::into_selling).collect::<Result<_, _>>()?;
    snapshot.channels = locked.channels.into_iter().map(selling::channel).collect::<Result<_, _>>()?;
    snapshot.due = locked.due.into_iter().map(rows::id_of).collect();
    Ok((snapshot, Claimed { ids: locked.claimed, created: locked.created }))
}

fn plan_row<'a>(plan: &'a Plan, claimed: &'a Claimed, ops: &'a [Asked], now: UnixMicros) -> PlanRow<'a> {
    let written: BTreeSet<Uuid> = plan.records_inserted.iter().map(|record| rows::uuid_of(record.id)).collect();
    let by_hand: BTreeSet<(&Sku, &Location)> = plan
        .ledger
        .iter()
        .filter(|entry| entry.cause.may_raise_shortfall())
        .map(|entry| (&entry.sku, &entry.location))
        .collect();
    let level = |(key, level): (&RowKey, _)| {
        let mut row = LevelRow::from_level(key, level);
        row.may_raise_shortfall = by_hand.contains(&(&key.0, &key.1));
        row
    };
    let taken = |id: ReservationId, a: &'a Allocation| {
        let promised_at = a.promised_at.map(|at| at.0);
        (rows::uuid_of(id), a.sku.as_str(), a.location.as_str(), a.quantity, a.backordered, promised_at)
    };
    let new = plan.records_inserted.iter().flat_map(|record| record.allocations.iter().map(move |a| (record.id, a)));
    let restored = plan.allocations.iter().map(|(id, a)| (*id, a));
    PlanRow {
        decided_at: now.0,
        created: &claimed.created,
        unused: claimed.ids.iter().filter(|id| !written.contains(id)).copied().collect(),
        levels: plan.levels.iter().map(level).collect(),
        records: plan.records_inserted.iter().chain(&plan.records_changed).map(RecordRow::from_record).collect(),
        allocations: new.chain(restored).map(|(id, a)| taken(id, a)).collect(),
        ledger: plan.ledger.iter().map(|entry| ledger_row(entry, ops, plan)).collect(),
        operations: plan
            .operations
            .iter()
            .map(|(request, operation)| {
                let answer = AnswerRow::from_answer(&operation.answer);
                (Uuid::from_bytes(request.to_bytes()), rows::hex(operation.payload), answer)
            })
            .collect(),
        policies: plan.policies.iter().map(PolicyRow::from_policy).collect(),
        progress: plan.progress.iter().map(ProgressRow::of).collect(),
        selling: plan.selling.iter().map(SellingRow::from_selling).collect(),
        channels: plan
            .channels
            .iter()
            .map(|((sku, channel), has)| (sku.as_str(), channel.as_str(), has.units))
            .collect(),
    }
}

/// Who changed a row, and what he wrote.
fn signed<'a>(entry: &Entry, asked: Option<&'a Asked>, plan: &'a Plan) -> (&'a str, Cow<'a, str>) {
    let Some(Asked { op, actor, .. }) = asked else { return ("holdfast", "".into()) };
    match op {
        Op::Count { connection, run, .. } => (connection.as_str(), run.as_str().into()),
        Op::Adjust { actor, note, .. }
        | Op::Cancel { actor, note, .. }
        | Op::Return { actor, note, .. }
        | Op::Repair { actor, note, .. }
        | Op::Sell { actor, note, .. } => (actor.as_str(), note.as_str().into()),
        Op::Freshen { connection, .. } => (actor.as_str(), connection.as_str().into()),
        Op::Policies { .. } => match entry.cause {
            Cause::Policy(version) => (actor.as_str(), format!("version {version}").into()),
            _ => (actor.as_str(), "".into()),
        },
        Op::Reserve { .. } | Op::Confirm { .. } => {
            // What was sold too fast is paused by nobody's wish.
            let pause = plan.selling.get(&entry.sku).and_then(|selling| selling.pause.as_ref());
            match (entry.cause, pause) {
                (Cause::Pause(_), Some(pause)) => (pause.actor.as_str(), pause.note.as_str().into()),
                _ => (actor.as_str(), "".into()),
            }
        }
        Op::Refuse { .. }
        | Op::Release { .. }
        | Op::Extend { .. }
        | Op::Expire { .. }
        | Op::Fulfil { .. }
        | Op::Evidence { .. } => (actor.as_str(), "".into()),
    }
}

fn ledger_row<'a>(entry: &'a Entry, ops: &'a [Asked], plan: &'a Plan) -> LedgerRow<'a> {
    let asked = entry.op.and_then(|index| ops.get(index));
    let (actor, note) = signed(entry, asked, plan);
    let delta = &entry.delta;
    LedgerRow {
        sku: entry.sku.as_str(),
        location: entry.location.as_str(),
        version: entry.version,
        at: entry.at.0,
        cause: entry.cause.as_str(),
        cause_id: Uuid::from_bytes(entry.cause.id_bytes()),
        on_hand: delta.on_hand,
        held: delta.held,
        committed: delta.committed,
        safety: delta.safety,
        backorder: delta.backorder,
        unsellable: delta.unsellable.map_or(0, |(_, units)| units),
        condition: delta.unsellable.map(|(condition, _)| condition.as_str()),
        reason: match entry.cause {
            Cause::Adjust(_, reason) => Some(reason.as_str()),
            _ => None,
        },
        actor,
        note,
        freshness: delta.turn.freshness.map(Freshness::as_str),
        cap: delta.turn.cap.map(|cap| cap.map_or(-1, |cap| cap.units)),
        archived: delta.turn.archived,
        paused: delta.turn.paused,
        trace: asked.and_then(|asked| asked.trace.as_deref()),
    }
}
