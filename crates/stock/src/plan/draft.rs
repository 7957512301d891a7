//! The record as it would stand after the operations decided so far.

use super::{Plan, Snapshot};
use crate::answer::{Answer, Refusal, ReservationAnswer, StoredAnswer, StoredOperation};
use crate::choose::Availability;
use crate::ids::{Location, Name, Owner, PayloadHash, RequestId, ReservationId, RowKey, Sku, UnixMicros};
use crate::ledger::{Cause, Entry};
use crate::level::{Delta, Level, LevelProblem};
use crate::op::Op;
use crate::policy::{Policy, Rank};
use crate::record::{Allocation, Record, State};
use crate::repair::Evidence;
use std::collections::{BTreeMap, BTreeSet};

/// The working copy: read and changed in place, with a note of what changed.
pub(super) struct Draft {
    pub(super) now: UnixMicros,
    levels: BTreeMap<RowKey, Level>,
    records: BTreeMap<ReservationId, Record>,
    operations: BTreeMap<RequestId, StoredOperation>,
    /// Units of holds that are over and not yet freed, whoever has them locked.
    overdue: BTreeMap<RowKey, i64>,
    policies: BTreeMap<Sku, Policy>,
    owned: BTreeMap<(Owner, Sku), i64>,
    pub(super) marks: BTreeMap<Name, (UnixMicros, i64)>,
    pub(super) evidence: BTreeMap<RowKey, Evidence>,
    /// Allocations that repair gives back.
    pub(super) restored: Vec<(ReservationId, Allocation)>,
    changed_policies: BTreeSet<Sku>,
    /// Rows that were changed, as they were before; none if they are new. One that is as before in the end is not written.
    changed_levels: BTreeMap<RowKey, Option<Level>>,
    /// Reservations changed (`false`) and inserted (`true`).
    changed_records: BTreeMap<ReservationId, bool>,
    landed: Vec<(RequestId, StoredOperation)>,
    ledger: Vec<Entry>,
}

/// One change of one stock row, about to be made.
pub(super) struct Change {
    pub(super) row: RowKey,
    pub(super) delta: Delta,
    pub(super) cause: Cause,
}

impl Draft {
    /// Starts from the snapshot and expires what is due.
    pub(super) fn new(snapshot: Snapshot) -> Self {
        let Snapshot { now, levels, records, operations, due, overdue, policies, owned, marks, evidence } = snapshot;
        let mut draft = Self {
            now,
            levels,
            records,
            operations,
            overdue,
            policies,
            owned,
            marks,
            evidence,
            restored: Vec::new(),
            changed_policies: BTreeSet::new(),
            changed_levels: BTreeMap::new(),
            changed_records: BTreeMap::new(),
            landed: Vec::new(),
            ledger: Vec::new(),
        };
        for record in draft.records.values().filter(|record| record.is_due(now)) {
            for allocation in &record.allocations {
                let units = draft.overdue.entry(allocation.row()).or_default();
                *units = units.saturating_add(allocation.quantity);
            }
        }
        for id in due {
            // One that cannot be freed here (a row of it was not locked) stays overdue, for the sweeper.
            let _ = draft.free_units(None, id, State::Expired);
        }
        draft
    }

    pub(super) fn into_plan(mut self, answers: Vec<Result<Answer, Refusal>>) -> Plan {
        let mut plan = Plan {
            answers,
            ledger: self.ledger,
            operations: self.landed,
            allocations: self.restored,
            ..Plan::default()
        };
        for (id, inserted) in self.changed_records {
            if let Some(record) = self.records.remove(&id) {
                if inserted { &mut plan.records_inserted } else { &mut plan.records_changed }.push(record);
            }
        }
        for sku in self.changed_policies {
            if let Some(policy) = self.policies.remove(&sku) {
                plan.policies.insert(sku, policy);
            }
        }
        for (row, before) in self.changed_levels {
            if let Some(level) = self.levels.remove(&row).filter(|level| before.as_ref() != Some(level)) {
                plan.levels.insert(row, level);
            }
        }
        plan
    }

    pub(super) fn record(&self, id: ReservationId) -> Option<&Record> {
        self.records.get(&id)
    }

    pub(super) fn level(&self, row: &RowKey) -> Option<&Level> {
        self.levels.get(row)
    }

    /// A SKU's rows, in the order of their locations.
    pub(super) fn rows<'a>(&'a self, sku: &'a Sku) -> impl Iterator<Item = (&'a RowKey, &'a Level)> {
        self.levels.range((sku.clone(), Location::lowest())..).take_while(move |((other, _), _)| other == sku)
    }

    pub(super) fn policy(&self, sku: &Sku) -> Option<&Policy> {
        self.policies.get(sku)
    }

    pub(super) fn set_policy(&mut self, sku: &Sku, policy: Policy) {
        self.policies.insert(sku.clone(), policy);
        self.changed_policies.insert(sku.clone());
    }

    /// Units that an owner holds and has confirmed, where the SKU's policy limits that.
    pub(super) fn owned(&self, owner: &Owner, sku: &Sku) -> i64 {
        self.owned.get(&(owner.clone(), sku.clone())).copied().unwrap_or(0)
    }

    /// Notes that an owner got units, or gave them back.
    pub(super) fn change_owned(&mut self, owner: &Owner, sku: &Sku, units: i64) {
        let owned = self.owned.entry((owner.clone(), sku.clone())).or_default();
        *owned = owned.saturating_add(units);
    }

    /// What can be reserved of these SKUs. With `overdue`, units of holds that are over are counted as if they were freed already.
    pub(super) fn availability<'a>(&self, skus: impl Iterator<Item = &'a Sku>, overdue: bool) -> Availability {
        let mut availability = Availability::new();
        for sku in skus {
            let mut rows: Vec<(&RowKey, &Level)> = self.rows(sku).collect();
            // The preferred locations first; a stable sort leaves the others in the order of their codes.
            rows.sort_by_key(|(_, level)| level.rank);
            for (row, level) in rows {
                let freed = if overdue { self.overdue.get(row).copied().unwrap_or(0) } else { 0 };
                availability.set(sku.clone(), row.1.clone(), level.available_with(freed));
            }
        }
        availability
    }

    pub(super) fn has_overdue(&self) -> bool {
        !self.overdue.is_empty()
    }

    /// Makes all changes, or none. Only a count, an adjustment and a policy create rows; a new row has what the SKU's policy says.
    pub(super) fn write(&mut self, op: Option<usize>, changes: Vec<Change>) -> Result<(), Refusal> {
        let mut staged: BTreeMap<RowKey, Level> = BTreeMap::new();
        let mut entries = Vec::with_capacity(changes.len());
        for Change { row, mut delta, cause } in changes {
            let mut level = match (staged.remove(&row), self.levels.get(&row)) {
                (Some(level), _) => level,
                (None, Some(level)) => level.clone(),
                (None, None) if cause.may_raise_shortfall() => {
                    let policy = self.policies.get(&row.0);
                    policy.map_or_else(Level::default, |policy| newly_made(policy, &row.1, &mut delta))
                }
                (None, None) => return Err(Refusal::Inconsistent("a stock row of the reservation was not read")),
            };
            check_sound(&level)?;
            let shortfall = level.shortfall;
            level.apply(&delta).map_err(|problem| match problem {
                LevelProblem::Negative => Refusal::Inconsistent("a stock row has fewer units than its reservations"),
                LevelProblem::TooLarge => Refusal::OutOfRange(vec![row.clone()]),
            })?;
            if level.shortfall > shortfall && !cause.may_raise_shortfall() {
                return Err(Refusal::Inconsistent("a reservation would have raised a shortfall"));
            }
            let (sku, location) = row.clone();
            entries.push(Entry { sku, location, version: level.version, at: self.now, delta, cause, op });
            staged.insert(row, level);
        }
        for (row, level) in staged {
            let before = self.levels.insert(row.clone(), level);
            self.changed_levels.entry(row).or_insert(before);
        }
        self.ledger.extend(entries);
        Ok(())
    }

    /// Notes on a row which count it has, and by which connection.
    pub(super) fn set_count(&mut self, row: &RowKey, connection: &Name, count: (UnixMicros, i64)) {
        if let Some(level) = self.change_level(row) {
            level.count = Some(count);
            if level.feed.as_ref().is_some_and(|feed| feed != connection) {
                level.shared = true;
                // What it kept back for the other one's lateness went with the count.
                level.buffer = 0;
            }
            level.feed = Some(connection.clone());
        }
    }

    /// Notes on a row where it stands among its SKU's locations.
    pub(super) fn set_rank(&mut self, row: &RowKey, rank: Rank) {
        if let Some(level) = self.change_level(row) {
            level.rank = rank;
        }
    }

    /// Notes on a row what of its safety stock is there because its feed is late.
    pub(super) fn set_buffer(&mut self, row: &RowKey, buffer: i64) {
        if let Some(level) = self.change_level(row) {
            level.buffer = buffer;
        }
    }

    /// A row to be changed in what the ledger does not tell.
    fn change_level(&mut self, row: &RowKey) -> Option<&mut Level> {
        let level = self.levels.get_mut(row)?;
        if !self.changed_levels.contains_key(row) {
            self.changed_levels.insert(row.clone(), Some(level.clone()));
        }
        Some(level)
    }

    /// Puts a row to what repair found to be right, with the entries that say so.
    pub(super) fn put_right(&mut self, row: RowKey, level: Level, entries: Vec<Entry>) {
        let before = self.levels.insert(row.clone(), level);
        self.changed_levels.entry(row).or_insert(before);
        self.ledger.extend(entries);
    }

    pub(super) fn insert_record(&mut self, record: Record) {
        self.changed_records.insert(record.id, true);
        self.records.insert(record.id, record);
    }

    /// Changes a record that is there and moves it to the next version.
    pub(super) fn change_record(&mut self, id: ReservationId, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.records.get_mut(&id) {
            change(record);
            record.version = record.version.saturating_add(1);
            self.changed_records.entry(id).or_insert(false);
        }
    }

    /// Ends a hold as released or expired; its units are free again.
    pub(super) fn free_units(&mut self, op: Option<usize>, id: ReservationId, end: State) -> Result<(), Refusal> {
        let now = self.now;
        let Some(record) = self.records.get(&id).filter(|record| record.state == State::Held) else {
            return Ok(());
        };
        let was_due = record.is_due(now);
        if end == State::Expired && !was_due {
            return Ok(());
        }
        let allocations = record.allocations.clone();
        // Units of a hold that was over were not counted as its owner's any more.
        let owner = record.owner.clone().filter(|_| !was_due);
        let cause = if end == State::Expired { Cause::Expire(id) } else { Cause::Release(id) };
        let freed = allocations.iter().map(|allocation| Change {
            row: allocation.row(),
            delta: Delta { held: allocation.quantity.saturating_neg(), ..Delta::default() },
            cause,
        });
        self.write(op, freed.collect())?;
        self.change_record(id, |record| (record.state, record.state_at) = (end, now));
        if let Some(owner) = owner {
            for allocation in &allocations {
                self.change_owned(&owner, &allocation.sku, allocation.quantity.saturating_neg());
            }
        }
        if was_due {
            for allocation in allocations {
                if let Some(units) = self.overdue.get_mut(&allocation.row()) {
                    *units = units.saturating_sub(allocation.quantity);
                }
            }
            self.overdue.retain(|_, units| *units > 0);
        }
        Ok(())
    }

    /// What an operation is answered whose own key has landed before; none if it has not.
    pub(super) fn replay(&self, request: RequestId, payload: PayloadHash, op: &Op) -> Option<Result<Answer, Refusal>> {
        let stored = self.operations.get(&request)?;
        if stored.payload != payload {
            return Some(Err(Refusal::KeyReused));
        }
        Some(match (&stored.answer, op) {
            (StoredAnswer::Reservation { id, moment }, Op::Confirm { .. } | Op::Release { .. } | Op::Extend { .. }) => {
                match self.records.get(id) {
                    Some(record) => Ok(Answer::Reservation(Box::new(ReservationAnswer {
                        first: record.at(*moment),
                        current_state: record.state_at_time(self.now),
                        current_expires_at: record.expires_at,
                        replayed: true,
                    }))),
                    None => Err(Refusal::NotFound),
                }
            }
            (StoredAnswer::Counted(results), Op::Count { .. }) => {
                Ok(Answer::Counted { results: results.clone(), replayed: true })
            }
            (StoredAnswer::Adjusted(levels), Op::Adjust { .. }) => {
                Ok(Answer::Adjusted { levels: levels.clone(), replayed: true })
            }
            (StoredAnswer::Repaired(results), Op::Repair { .. }) => {
                Ok(Answer::Repaired { results: results.clone(), replayed: true })
            }
            // The payload should have told the verbs apart.
            (
                StoredAnswer::Reservation { .. }
                | StoredAnswer::Counted(_)
                | StoredAnswer::Adjusted(_)
                | StoredAnswer::Repaired(_),
                _,
            ) => Err(Refusal::KeyReused),
        })
    }

    /// Answers an operation on a reservation with the reservation as it stands now, and keeps that as the key's first answer. A refusal keeps nothing.
    pub(super) fn keep(
        &mut self,
        request: RequestId,
        payload: PayloadHash,
        id: ReservationId,
        done: Result<(), Refusal>,
    ) -> Result<Answer, Refusal> {
        done?;
        let record = self.records.get(&id).ok_or(Refusal::NotFound)?;
        let answer = ReservationAnswer {
            first: record.clone(),
            current_state: record.state,
            current_expires_at: record.expires_at,
            replayed: false,
        };
        let moment = record.moment();
        self.land(request, payload, StoredAnswer::Reservation { id, moment });
        Ok(Answer::Reservation(Box::new(answer)))
    }

    pub(super) fn land(&mut self, request: RequestId, payload: PayloadHash, answer: StoredAnswer) {
        let stored = StoredOperation { payload, answer };
        self.operations.insert(request, stored.clone());
        self.landed.push((request, stored));
    }
}

/// A row that is being made: empty, with what the SKU's policy says of every row, which its first entry in the ledger says too.
fn newly_made(policy: &Policy, location: &Location, delta: &mut Delta) -> Level {
    delta.safety = delta.safety.saturating_add(policy.safety);
    delta.backorder = delta.backorder.saturating_add(policy.backorder_at(location));
    delta.turn.archived = policy.archived.then_some(true);
    Level { rank: policy.rank(location), ..Level::default() }
}

/// A row that contradicts itself is not written to: the database would refuse the whole batch.
pub(super) fn check_sound(level: &Level) -> Result<(), Refusal> {
    if level.shortfall == level.shortfall_due() {
        Ok(())
    } else {
        Err(Refusal::Inconsistent("a stock row's shortfall is not what it must be"))
    }
}
