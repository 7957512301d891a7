//! The record as it would stand after the operations decided so far.

use super::vacancy::Vacancy;
use super::{Pending, Plan, Snapshot};
use crate::answer::{Answer, Refusal, ReservationAnswer, StoredAnswer, StoredOperation};
use crate::choose::Availability;
use crate::ids::{Location, Name, Owner, PayloadHash, RequestId, ReservationId, RowKey, Sku, UnixMicros};
use crate::ledger::{Cause, Entry};
use crate::level::{Delta, Level, LevelProblem};
use crate::op::{CountMeaning, Op};
use crate::policy::{Policy, Rank};
use crate::record::{Allocation, Record, State};
use crate::repair::RepairEvidence;
use crate::sale::{FeedTerms, Progress};
use crate::selling::{ChannelUse, Selling};
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
    pub(super) evidence: BTreeMap<RowKey, RepairEvidence>,
    /// Allocations that repair gives back.
    pub(super) restored: Vec<(ReservationId, Allocation)>,
    /// For each row, the allocations there whose committed units a count may reflect; those that this batch changed stand here as it left them.
    pending: BTreeMap<RowKey, Vec<Pending>>,
    pub(super) feeds: BTreeMap<Name, FeedTerms>,
    selling: BTreeMap<Sku, Selling>,
    channels: BTreeMap<(Sku, Name), ChannelUse>,
    changed_policies: BTreeSet<Sku>,
    changed_selling: BTreeSet<Sku>,
    changed_channels: BTreeSet<(Sku, Name)>,
    changed_progress: BTreeMap<(ReservationId, RowKey), Progress>,
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
        let Snapshot {
            now,
            levels,
            records,
            operations,
            due,
            overdue,
            policies,
            owned,
            marks,
            evidence,
            pending,
            feeds,
            selling,
            channels,
        } = snapshot;
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
            pending,
            feeds,
            selling,
            channels,
            changed_policies: BTreeSet::new(),
            changed_selling: BTreeSet::new(),
            changed_channels: BTreeSet::new(),
            changed_progress: BTreeMap::new(),
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
        for sku in self.changed_selling {
            if let Some(selling) = self.selling.remove(&sku) {
                plan.selling.insert(sku, selling);
            }
        }
        for key in self.changed_channels {
            if let Some(used) = self.channels.remove(&key) {
                plan.channels.insert(key, used);
            }
        }
        plan.progress = self.changed_progress;
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

    /// Whether this batch has changed a row.
    pub(super) fn has_entries(&self, row: &RowKey) -> bool {
        self.ledger.iter().any(|entry| entry.sku == row.0 && entry.location == row.1)
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

    /// What can be reserved of these SKUs, by whoever takes the place of a hold. With `overdue`, units of holds that are over are counted as if they were freed already.
    pub(super) fn availability<'a>(
        &self,
        skus: impl Iterator<Item = &'a Sku>,
        vacancy: Option<&Vacancy>,
        overdue: bool,
    ) -> Availability {
        let mut availability = Availability::new();
        for sku in skus {
            let mut rows: Vec<(&RowKey, &Level)> = self.rows(sku).collect();
            // The preferred locations first; a stable sort leaves the others in the order of their codes.
            rows.sort_by_key(|(_, level)| level.rank);
            for (row, level) in rows {
                let over = if overdue { self.overdue.get(row).copied().unwrap_or(0) } else { 0 };
                // A hold that is over is among the overdue.
                let vacated = vacancy.filter(|old| !(overdue && old.is_due)).map_or(0, |old| old.units(row));
                availability.set(sku.clone(), row.1.clone(), level.available_with(over.saturating_add(vacated)));
            }
        }
        availability
    }

    /// Units of a SKU in holds that are over and not yet freed.
    pub(super) fn overdue_units(&self, sku: &Sku) -> i64 {
        let here = self.overdue.iter().filter(|((other, _), _)| other == sku);
        here.fold(0, |sum, (_, units)| sum.saturating_add(*units))
    }

    /// The allocations on a row whose committed units a count may reflect.
    pub(super) fn pending(&self, row: &RowKey) -> &[Pending] {
        self.pending.get(row).map_or(&[], Vec::as_slice)
    }

    /// Notes what became of an allocation's units; its stock row is locked. The reservation need not have been read: then only the row's pending units are told.
    pub(super) fn set_progress(&mut self, id: ReservationId, row: &RowKey, quantity: i64, progress: Progress) {
        let allocations = self.records.get_mut(&id).map(|record| &mut record.allocations);
        if let Some(allocation) = allocations.into_iter().flatten().find(|allocation| allocation.row() == *row) {
            allocation.progress = progress.clone();
        }
        let here = self.pending.entry(row.clone()).or_default();
        match here.iter_mut().find(|pending| pending.id == id) {
            Some(pending) => pending.progress = progress.clone(),
            None => here.push(Pending { id, quantity, progress: progress.clone() }),
        }
        self.changed_progress.insert((id, row.clone()), progress);
    }

    /// How a SKU sells.
    pub(super) fn selling(&self, sku: &Sku) -> Option<&Selling> {
        self.selling.get(sku)
    }

    pub(super) fn is_paused(&self, sku: &Sku) -> bool {
        self.selling(sku).is_some_and(|selling| selling.pause.is_some())
    }

    pub(super) fn set_selling(&mut self, sku: &Sku, selling: Selling) {
        self.selling.insert(sku.clone(), selling);
        self.changed_selling.insert(sku.clone());
    }

    /// Units that a channel has of a SKU, where that is counted.
    pub(super) fn channel_use(&self, sku: &Sku, channel: &Name) -> i64 {
        self.channels.get(&(sku.clone(), channel.clone())).map_or(0, |used| used.units)
    }

    /// Notes that what a channel has of a SKU is counted from now on.
    pub(super) fn count_channel(&mut self, sku: &Sku, channel: &Name) {
        let key = (sku.clone(), channel.clone());
        self.channels.entry(key.clone()).or_default();
        self.changed_channels.insert(key);
    }

    /// Notes that an owner, by a channel, got units or gave them back. An owner's are not counted once a hold is over.
    pub(super) fn change_use(&mut self, owner: Option<&Owner>, channel: Option<&Name>, sku: &Sku, units: i64) {
        self.change_owned(owner, sku, units);
        self.change_channel_use(channel, sku, units);
    }

    /// Notes that an owner holds or has bought so many units more.
    pub(super) fn change_owned(&mut self, owner: Option<&Owner>, sku: &Sku, units: i64) {
        if let Some(owner) = owner.filter(|_| units != 0) {
            let owned = self.owned.entry((owner.clone(), sku.clone())).or_default();
            *owned = owned.saturating_add(units);
        }
    }

    /// Notes that a channel has so many units more: held, or sold and not shipped.
    pub(super) fn change_channel_use(&mut self, channel: Option<&Name>, sku: &Sku, units: i64) {
        let Some(channel) = channel.filter(|_| units != 0) else { return };
        let key = (sku.clone(), channel.clone());
        let is_capped = self.policies.get(sku).is_some_and(|policy| policy.channel_caps.contains_key(channel));
        if is_capped || self.channels.contains_key(&key) {
            let used = self.channels.entry(key.clone()).or_default();
            used.units = used.units.saturating_add(units).max(0);
            self.changed_channels.insert(key);
        }
    }

    pub(super) fn has_overdue(&self) -> bool {
        !self.overdue.is_empty()
    }

    /// Makes all changes, or none. Only a count, an adjustment, a policy and a return create rows; a new row has what the SKU's policy says.
    pub(super) fn write(&mut self, op: Option<usize>, changes: Vec<Change>) -> Result<(), Refusal> {
        let mut staged: BTreeMap<RowKey, Level> = BTreeMap::new();
        let mut entries = Vec::with_capacity(changes.len());
        for Change { row, mut delta, cause } in changes {
            let mut level = match (staged.remove(&row), self.levels.get(&row)) {
                (Some(level), _) => level,
                (None, Some(level)) => level.clone(),
                (None, None) if cause.may_make_row() => {
                    delta.turn.paused = self.is_paused(&row.0).then_some(true);
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

    /// Notes on a row which count it has, what it means, and by which connection.
    pub(super) fn set_count(
        &mut self,
        row: &RowKey,
        connection: &Name,
        count: (UnixMicros, i64),
        meaning: CountMeaning,
    ) {
        if let Some(level) = self.change_level(row) {
            (level.count, level.meaning) = (Some(count), Some(meaning));
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
        let Some(record) = self.records.get(&id).filter(|record| record.state == State::Held) else {
            return Ok(());
        };
        if end == State::Expired && !record.is_due(self.now) {
            return Ok(());
        }
        let vacancy = Vacancy::of(record, end, self.now);
        self.write(op, vacancy.changes())?;
        self.vacate(vacancy, None);
        Ok(())
    }

    /// Ends a hold whose units the stock rows have been relieved of. One that had ended before only learns of its successor.
    pub(super) fn vacate(&mut self, vacancy: Vacancy, successor: Option<ReservationId>) {
        let Vacancy { id, end, allocations, owner, channel, is_due } = vacancy;
        let now = self.now;
        self.change_record(id, |record| {
            if record.state == State::Held {
                (record.state, record.state_at) = (end, now);
            }
            record.successor = record.successor.or(successor);
        });
        for allocation in &allocations {
            let units = allocation.quantity.saturating_neg();
            self.change_use(owner.as_ref(), channel.as_ref(), &allocation.sku, units);
        }
        if is_due {
            for allocation in allocations {
                if let Some(units) = self.overdue.get_mut(&allocation.row()) {
                    *units = units.saturating_sub(allocation.quantity);
                }
            }
            self.overdue.retain(|_, units| *units > 0);
        }
    }

    /// What an operation is answered whose own key has landed before; none if it has not.
    pub(super) fn replay(&self, request: RequestId, payload: PayloadHash, op: &Op) -> Option<Result<Answer, Refusal>> {
        let stored = self.operations.get(&request)?;
        if stored.payload != payload {
            return Some(Err(Refusal::KeyReused));
        }
        Some(match (&stored.answer, op) {
            (
                StoredAnswer::Reservation { id, moment, progress },
                Op::Confirm { .. }
                | Op::Release { .. }
                | Op::Extend { .. }
                | Op::Fulfil { .. }
                | Op::Cancel { .. }
                | Op::Return { .. }
                | Op::Evidence { .. },
            ) => match self.records.get(id) {
                Some(record) => Ok(Answer::Reservation(Box::new(ReservationAnswer {
                    first: record.at(*moment, progress),
                    current_state: record.state_at_time(self.now),
                    current_expires_at: record.expires_at,
                    replayed: true,
                }))),
                None => Err(Refusal::NotFound),
            },
            (StoredAnswer::Sold(changed), Op::Sell { .. }) => {
                Ok(Answer::Sold { changed: changed.clone(), replayed: true })
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
                | StoredAnswer::Sold(_)
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
        let (moment, progress) = (record.moment(), record.progress());
        self.land(request, payload, StoredAnswer::Reservation { id, moment, progress });
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
