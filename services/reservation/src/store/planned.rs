//! The planned path: lock and read, let `holdfast_stock` decide, write.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_stock::{
    Answer, Cause, CountEffect, Entry, Freshness, Limits, Location, Name, Op, Owner, Plan, Record, Refusal,
    ReservationId, RowKey, Sku, Snapshot, StoredOperation, UnixMicros, plan,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::rows::{self, AnswerRow, AvailableRow, LevelRow, PolicyRow, RecordRow};
use super::{Store, StoreError, repair};

pub(super) const LOCK_BATCH: &str =
    "SELECT lock_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
pub(super) const WRITE_PLAN: &str = "SELECT write_plan($1)";

/// Due holds that a batch takes along at most; the sweeper frees the rest.
const DUE_MAX: i32 = 500;

/// Who asked for an operation, for the ledger.
pub type Actor = String;

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

/// What a batch is about: the arguments of `lock_batch`.
#[derive(Debug, Default)]
struct Scope {
    claims: BTreeSet<ReservationId>,
    touches: BTreeSet<ReservationId>,
    requests: Vec<Uuid>,
    skus: BTreeSet<Sku>,
    rows: BTreeSet<RowKey>,
    new_rows: BTreeSet<RowKey>,
    policies: BTreeSet<Sku>,
    owners: BTreeSet<(Owner, Sku)>,
    counting: BTreeSet<Name>,
    covering: Vec<(Name, UnixMicros, i64)>,
    /// Rows and reservations that a repair looks at more closely.
    repaired: BTreeSet<RowKey>,
    cured: BTreeSet<ReservationId>,
}

#[derive(Deserialize)]
struct LockedRow {
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
}

#[derive(Serialize)]
struct PlanRow<'a> {
    decided_at: i64,
    created: &'a [(String, String)],
    unused: Vec<Uuid>,
    levels: Vec<LevelRow>,
    records: Vec<RecordRow>,
    allocations: Vec<(Uuid, &'a str, &'a str, i64)>,
    ledger: Vec<LedgerRow<'a>>,
    operations: Vec<(Uuid, String, AnswerRow)>,
    policies: Vec<PolicyRow>,
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
    note: std::borrow::Cow<'a, str>,
    freshness: Option<&'static str>,
    cap: Option<i64>,
    archived: Option<bool>,
}

impl Store {
    /// Decides and commits a batch of any operations, at most one a key.
    ///
    /// # Errors
    /// [`StoreError`]; with every one but [`StoreError::Unknown`] nothing has happened.
    pub async fn commit_planned(&self, ops: &[(Op, Actor)], limits: &Limits) -> Result<PlannedOutcome, StoreError> {
        let scope = Scope::of(ops);
        let mut transaction = self.pool.begin().await.map_err(|error| StoreError::before(&error))?;
        let locked = lock(&mut transaction, &scope).await.map_err(before_commit)?;
        let (mut snapshot, locked) = snapshot(locked)?;
        if !scope.repaired.is_empty() {
            snapshot.evidence = repair::evidence(&mut transaction, &scope.repaired, &scope.cured).await?;
        }
        let now = snapshot.now;
        let shortfalls: BTreeMap<RowKey, i64> =
            snapshot.levels.iter().map(|(row, level)| (row.clone(), level.shortfall)).collect();

        let bare: Vec<Op> = ops.iter().map(|(op, _)| op.clone()).collect();
        let plan = plan(snapshot, &bare, limits);
        let shortfall_units_raised = plan
            .levels
            .iter()
            .map(|(row, level)| (level.shortfall - shortfalls.get(row).copied().unwrap_or(0)).max(0))
            .sum();

        let row = sqlx::types::Json(plan_row(&plan, &locked, ops, now));
        let (available,): (sqlx::types::Json<Vec<AvailableRow>>,) =
            sqlx::query_as(WRITE_PLAN).bind(row).fetch_one(&mut *transaction).await.map_err(before_commit)?;
        transaction.commit().await?;
        Ok(PlannedOutcome {
            answers: plan.answers,
            decided_at: now,
            available: rows::available(available.0)?,
            shortfall_units_raised,
        })
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

impl Scope {
    fn of(ops: &[(Op, Actor)]) -> Self {
        let mut scope = Self::default();
        for (op, _) in ops {
            scope.requests.extend(op.request().map(|(request, _)| Uuid::from_bytes(request.to_bytes())));
            match op {
                Op::Reserve { id, owner, cart, .. } => {
                    scope.claims.insert(*id);
                    scope.skus.extend(cart.skus().cloned());
                    scope.owners.extend(cart.skus().map(|sku| (owner.clone(), sku.clone())));
                }
                Op::Refuse { id, .. } | Op::Release { id, .. } => {
                    scope.claims.insert(*id);
                }
                Op::Confirm { id, .. } | Op::Extend { id, .. } | Op::Expire { id } => {
                    scope.touches.insert(*id);
                }
                Op::Count { counts, connection, covers_all, as_of, sequence, .. } => {
                    scope.counting.insert(connection.clone());
                    if *covers_all {
                        scope.covering.push((connection.clone(), *as_of, *sequence));
                    }
                    for count in counts {
                        // A number that only limits what is offered, or lifts a limit, makes no row.
                        let is_set = count.effect == CountEffect::Set;
                        let rows = if is_set { &mut scope.new_rows } else { &mut scope.rows };
                        rows.insert(count.row());
                    }
                }
                Op::Adjust { adjustments, .. } => {
                    for a in adjustments {
                        let rows = if a.delta > 0 { &mut scope.new_rows } else { &mut scope.rows };
                        rows.insert((a.sku.clone(), a.location.clone()));
                    }
                }
                Op::Policies { policies } => {
                    for (sku, policy) in policies {
                        scope.policies.insert(sku.clone());
                        let first = policy.locations.first().filter(|_| policy.backorder > 0);
                        scope.new_rows.extend(first.map(|location| (sku.clone(), location.clone())));
                    }
                }
                Op::Freshen { rows, .. } => {
                    scope.rows.extend(rows.iter().map(|(sku, location, _)| (sku.clone(), location.clone())));
                }
                Op::Repair { rows, reservations, .. } => {
                    // What is missing may have to be made anew.
                    scope.claims.extend(reservations);
                    scope.new_rows.extend(rows.iter().cloned());
                    scope.policies.extend(rows.iter().map(|(sku, _)| sku.clone()));
                    scope.repaired.extend(rows.iter().cloned());
                    scope.cured.extend(reservations);
                }
            }
        }
        scope
    }
}

async fn lock(transaction: &mut sqlx::PgTransaction<'_>, scope: &Scope) -> Result<LockedRow, sqlx::Error> {
    let ids = |ids: &BTreeSet<ReservationId>| ids.iter().map(|id| rows::uuid_of(*id)).collect::<Vec<_>>();
    let skus = |rows: &BTreeSet<RowKey>| rows.iter().map(|(sku, _)| sku.to_string()).collect::<Vec<_>>();
    let locations = |rows: &BTreeSet<RowKey>| rows.iter().map(|(_, at)| at.to_string()).collect::<Vec<_>>();
    let (row,): (sqlx::types::Json<LockedRow>,) = sqlx::query_as(LOCK_BATCH)
        .bind(ids(&scope.claims))
        .bind(ids(&scope.touches))
        .bind(&scope.requests)
        .bind(scope.skus.iter().map(Sku::as_str).collect::<Vec<_>>())
        .bind(skus(&scope.rows))
        .bind(locations(&scope.rows))
        .bind(skus(&scope.new_rows))
        .bind(locations(&scope.new_rows))
        .bind(scope.policies.iter().map(Sku::as_str).collect::<Vec<_>>())
        .bind(scope.owners.iter().map(|(owner, _)| owner.as_str()).collect::<Vec<_>>())
        .bind(scope.owners.iter().map(|(_, sku)| sku.as_str()).collect::<Vec<_>>())
        .bind(scope.counting.iter().map(Name::as_str).collect::<Vec<_>>())
        .bind(scope.covering.iter().map(|(connection, ..)| connection.as_str()).collect::<Vec<_>>())
        .bind(scope.covering.iter().map(|(_, as_of, _)| as_of.0).collect::<Vec<_>>())
        .bind(scope.covering.iter().map(|(.., sequence)| *sequence).collect::<Vec<_>>())
        .bind(DUE_MAX)
        .fetch_one(&mut **transaction)
        .await?;
    Ok(row.0)
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
        snapshot.operations.insert(holdfast_stock::RequestId::from_bytes(request.into_bytes()), operation);
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
    snapshot.due = locked.due.into_iter().map(rows::id_of).collect();
    Ok((snapshot, Claimed { ids: locked.claimed, created: locked.created }))
}

fn plan_row<'a>(plan: &'a Plan, claimed: &'a Claimed, ops: &'a [(Op, Actor)], now: UnixMicros) -> PlanRow<'a> {
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
    let taken = |record: &'a Record| {
        let id = rows::uuid_of(record.id);
        record.allocations.iter().map(move |a| (id, a.sku.as_str(), a.location.as_str(), a.quantity))
    };
    let restored =
        plan.allocations.iter().map(|(id, a)| (rows::uuid_of(*id), a.sku.as_str(), a.location.as_str(), a.quantity));
    PlanRow {
        decided_at: now.0,
        created: &claimed.created,
        unused: claimed.ids.iter().filter(|id| !written.contains(id)).copied().collect(),
        levels: plan.levels.iter().map(level).collect(),
        records: plan.records_inserted.iter().chain(&plan.records_changed).map(RecordRow::from_record).collect(),
        allocations: plan.records_inserted.iter().flat_map(taken).chain(restored).collect(),
        ledger: plan.ledger.iter().map(|entry| ledger_row(entry, ops)).collect(),
        operations: plan
            .operations
            .iter()
            .map(|(request, operation)| {
                let answer = AnswerRow::from_answer(&operation.answer);
                (Uuid::from_bytes(request.to_bytes()), rows::hex(operation.payload), answer)
            })
            .collect(),
        policies: plan.policies.iter().map(PolicyRow::from_policy).collect(),
    }
}

fn ledger_row<'a>(entry: &'a Entry, ops: &'a [(Op, Actor)]) -> LedgerRow<'a> {
    let (actor, note): (&str, std::borrow::Cow<'_, str>) = match entry.op.and_then(|index| ops.get(index)) {
        Some((Op::Count { connection, run, .. }, _)) => (connection.as_str(), run.as_str().into()),
        Some((Op::Adjust { actor, note, .. } | Op::Repair { actor, note, .. }, _)) => {
            (actor.as_str(), note.as_str().into())
        }
        Some((Op::Freshen { connection, .. }, actor)) => (actor.as_str(), connection.as_str().into()),
        Some((Op::Policies { .. }, actor)) => match entry.cause {
            Cause::Policy(version) => (actor.as_str(), format!("version {version}").into()),
            _ => (actor.as_str(), "".into()),
        },
        Some((_, actor)) => (actor.as_str(), "".into()),
        None => ("holdfast", "".into()),
    };
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
    }
}
