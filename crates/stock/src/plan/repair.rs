//! Repair: what is written when the auditor found the record contradicting itself. Entries are added, none is ever changed.
//!
//! What stands for what, kind by kind:
//! - A **reservation's state** is what its ledger says: entries cannot be changed by the service, a reservation can. An allocation that is missing comes back with the
//!   units that its first entry took. A reservation that is missing comes back closed (its units are given back), unless the ledger says that it was sold: then as
//!   CONFIRMED, so that nobody else is sold its units. One that neither has units nor stands in the ledger is closed.
//! - A **sale** is what became of its units: CONFIRMED while some are neither shipped nor called off. What became of them stands in one place only: where that is lost,
//!   or is of other units than were taken, the sale is left.
//! - **held and committed** of a row are what its reservations add up to, by what became of their units; where the ledger has a reservation's share otherwise, an entry under that reservation
//!   brings it right.
//! - **safety, backorder, archived and rank** are what the selling policy says, **paused** is what is noted of the SKU.
//! - **on hand, unsellable units, freshness and the offer limit** are what the row says, or the ledger if the operator chose so ([`Side`]); one entry makes the sum agree.
//! - A row that is **missing** is made anew from its ledger.
//! - A ledger that has **lost or gained entries** is left: an entry that made up for it would be wrong as soon as the lost one is put back.

use super::draft::Draft;
use crate::answer::{Answer, Refusal, StoredAnswer};
use crate::cart::Line;
use crate::ids::{Location, PayloadHash, Quantity, RequestId, ReservationId, RowKey, UnixMicros};
use crate::ledger::{Cause, Entry};
use crate::level::{Cap, Condition, Delta, Freshness, LEVEL_MAX, Level, Turn};
use crate::policy::Policy;
use crate::record::{Allocation, Record, State};
use crate::repair::{Movement, RepairEvidence, RepairOutcome, RepairResult, RepairSubject, Side, Sums};
use crate::terms::Details;
use std::collections::{BTreeMap, BTreeSet};

/// What is to be repaired.
pub(super) struct Asked<'a> {
    pub(super) request: RequestId,
    pub(super) payload: PayloadHash,
    pub(super) rows: &'a BTreeSet<RowKey>,
    pub(super) reservations: &'a BTreeSet<ReservationId>,
    pub(super) side: Side,
    /// Say what would be done, and do nothing.
    pub(super) validate_only: bool,
}

/// How a reservation is put right.
#[derive(Default)]
struct Cure {
    /// The state that it gets.
    state: Option<State>,
    /// Allocations that it gets back.
    allocations: Vec<Allocation>,
    /// Whether it is made anew.
    is_made: bool,
}

/// How a row is put right.
struct Remedy {
    level: Level,
    entries: Vec<Entry>,
    detail: String,
}

type Left = String;

impl Draft {
    pub(super) fn repair(&mut self, op: usize, asked: &Asked<'_>) -> Result<Answer, Refusal> {
        let mut results = Vec::new();
        let mut cures: BTreeMap<ReservationId, Cure> = BTreeMap::new();
        let mut left: BTreeSet<ReservationId> = BTreeSet::new();
        for id in asked.reservations {
            let subject = RepairSubject::Reservation(*id);
            match self.cure(*id) {
                Ok(Some((cure, detail))) => {
                    cures.insert(*id, cure);
                    results.push(RepairResult { subject, outcome: RepairOutcome::Repaired, detail });
                }
                Ok(None) => results.push(gone(subject)),
                Err(detail) => {
                    left.insert(*id);
                    results.push(RepairResult { subject, outcome: RepairOutcome::Left, detail });
                }
            }
        }
        let mut remedies = Vec::new();
        for row in asked.rows {
            let subject = RepairSubject::Row(row.clone());
            match self.remedy(op, row, asked, &cures, &left) {
                Ok(Some(remedy)) => {
                    let detail = remedy.detail.clone();
                    results.push(RepairResult { subject, outcome: RepairOutcome::Repaired, detail });
                    remedies.push((row.clone(), remedy));
                }
                Ok(None) => results.push(gone(subject)),
                Err(detail) => results.push(RepairResult { subject, outcome: RepairOutcome::Left, detail }),
            }
        }
        // A reservation is put right together with all its rows, or not at all.
        let is_left = results.iter().any(|result| result.outcome == RepairOutcome::Left);
        if is_left && !cures.is_empty() {
            for result in results.iter_mut().filter(|result| result.outcome == RepairOutcome::Repaired) {
                result.outcome = RepairOutcome::Left;
                result.detail = format!("belongs to what is left; alone it would be: {}", result.detail);
            }
            (cures, remedies) = (BTreeMap::new(), Vec::new());
        }
        if !asked.validate_only {
            for (id, cure) in cures {
                self.apply_cure(id, cure);
            }
            for (row, Remedy { level, entries, .. }) in remedies {
                self.put_right(row, level, entries);
            }
            // As a refusal does, what changed nothing leaves its key free.
            if results.iter().any(|result| result.outcome == RepairOutcome::Repaired) {
                self.land(asked.request, asked.payload, StoredAnswer::Repaired(results.clone()));
            }
        }
        Ok(Answer::Repaired { results, replayed: false })
    }

    /// What a reservation itself lacks; none: nothing.
    fn cure(&self, id: ReservationId) -> Result<Option<(Cure, String)>, Left> {
        let movements: Vec<(&RowKey, &Movement)> =
            self.evidence.iter().filter_map(|(row, evidence)| Some((row, evidence.movements.get(&id)?))).collect();
        movements.iter().try_for_each(|(row, _)| self.check_untouched(row))?;
        let in_ledger: Vec<_> = movements.iter().filter(|(_, movement)| movement.is_in_ledger()).collect();
        let mut told: Vec<Option<State>> = in_ledger.iter().map(|(_, movement)| movement.told).collect();
        told.dedup();
        let record = self.record(id);
        let told = match (told.as_slice(), record) {
            ([], None) => return Ok(None),
            ([], Some(record)) => return Ok(close(record, &movements)),
            ([Some(told)], _) => came_to(*told, &movements)?,
            _ => return Err("its rows' ledgers contradict each other: compare its entries with the order, and release or cancel it by hand".to_owned()),
        };
        let missing = in_ledger.iter().filter(|(_, movement)| movement.allocated == 0 && movement.taken > 0);
        let missing: Vec<Allocation> = missing
            .map(|((sku, location), movement)| Allocation {
                progress: movement.progress.clone().unwrap_or_default(),
                ..Allocation::new(sku.clone(), location.clone(), movement.taken)
            })
            .collect();
        let state = match record {
            // Nobody is there any more to confirm what is made anew.
            None if told == State::Held => Some(State::Released),
            None => Some(told),
            Some(record) if record.state == told => None,
            Some(record) if told == State::Held && (record.expires_at.is_none() || record.owner.is_none()) => {
                return Err(format!(
                    "the ledger says HELD, but it is {} and has neither owner nor end: release it by hand",
                    record.state
                ));
            }
            Some(_) => Some(told),
        };
        if state.is_none() && missing.is_empty() {
            return Ok(None);
        }
        let mut detail = match (record, state) {
            (None, Some(state)) => format!("made anew as {state}"),
            (Some(record), Some(state)) => format!("{} becomes {state}, as its ledger says", record.state),
            (_, None) => "keeps its state".to_owned(),
        };
        for part in &missing {
            detail.push_str(&format!("; gets its {} units of {}@{} back", part.quantity, part.sku, part.location));
        }
        Ok(Some((Cure { state, allocations: missing, is_made: record.is_none() }, detail)))
    }

    /// What was read of a row's ledger and reservations is as of before the batch: it does not fit a row that the batch has changed since, be it by freeing a hold that
    /// was over.
    fn check_untouched(&self, row: &RowKey) -> Result<(), Left> {
        if self.has_entries(row) {
            return Err(format!(
                "{}@{} was changed in the same moment: look again, and repair what is still wrong",
                row.0, row.1
            ));
        }
        Ok(())
    }

    fn apply_cure(&mut self, id: ReservationId, cure: Cure) {
        let now = self.now;
        if cure.is_made {
            let state = cure.state.unwrap_or(State::Released);
            self.insert_record(Record {
                id,
                owner: None,
                payload: None,
                lines: self.lines_of(id),
                // Those that are there stay; what is missing is added below.
                allocations: Vec::new(),
                created_at: now,
                first_expires_at: None,
                state,
                expires_at: None,
                state_at: now,
                version: 1,
                shortages: Vec::new(),
                details: Details::default(),
                predecessor: None,
                successor: None,
            });
        } else {
            self.change_record(id, |record| {
                if let Some(state) = cure.state {
                    (record.state, record.state_at) = (state, now);
                }
                record.allocations.extend(cure.allocations.iter().cloned());
                record.allocations.sort_by_key(Allocation::row);
            });
        }
        self.restored.extend(cure.allocations.into_iter().map(|allocation| (id, allocation)));
    }

    /// What a reservation that is made anew asked for, as far as its units tell.
    fn lines_of(&self, id: ReservationId) -> Vec<Line> {
        let parts = self.evidence.iter().filter_map(|(row, evidence)| Some((row, evidence.movements.get(&id)?)));
        let line = |((sku, location), movement): (&RowKey, &Movement)| {
            let quantity = Quantity::new(movement.allocated.max(movement.taken))?;
            Some(Line { sku: sku.clone(), location: Some(location.clone()), quantity, split: true })
        };
        parts.filter_map(line).collect()
    }

    /// How a row is put right; none: nothing is wrong with it.
    fn remedy(
        &self,
        op: usize,
        row: &RowKey,
        asked: &Asked<'_>,
        cures: &BTreeMap<ReservationId, Cure>,
        left: &BTreeSet<ReservationId>,
    ) -> Result<Option<Remedy>, Left> {
        let Some(evidence) = self.evidence.get(row) else { return Ok(None) };
        let (known, policy) = (self.level(row), self.policy(&row.0).filter(|policy| policy.version > 0));
        if known.is_none() && evidence.entries == 0 && evidence.movements.is_empty() {
            return Ok(None);
        }
        self.check_untouched(row)?;
        check_chain(known, evidence)?;
        let before = known.cloned().unwrap_or_else(|| from_ledger(evidence));
        let mut book =
            Book { now: self.now, op, row, version: evidence.newest, sums: evidence.sums.clone(), entries: Vec::new() };
        let (mut held, mut committed) = (0_i64, 0_i64);
        for (id, movement) in &evidence.movements {
            if left.contains(id) || (!cures.contains_key(id) && needs_cure(movement)) {
                return Err(format!("reservation {id} on it is to be put right first"));
            }
            let due = due(movement, row, cures.get(id));
            held = held.saturating_add(due.0 - movement.promised_held);
            committed = committed.saturating_add(due.1 - movement.promised_committed);
            // What counts' entries moved is not in its own.
            let loose = movement.loose.max(0);
            let share = movement.committed.clamp(due.1.saturating_sub(loose), due.1.saturating_add(loose));
            let delta =
                Delta { held: due.0 - movement.held, committed: share - movement.committed, ..Delta::default() };
            let unexplained = movement.repaired == 0 && (movement.reserved != 1 || movement.ended != i64::from(!due.2));
            // What is done to a reservation stands in the ledger of its rows, be it with nothing but the note.
            if !delta.is_zero() || unexplained || cures.contains_key(id) {
                book.write(Cause::RepairReservation(*id), delta);
            }
        }
        let promised =
            (evidence.promised_held.saturating_add(held), evidence.promised_committed.saturating_add(committed));
        let mut level = target(&before, evidence, policy, &row.1, asked.side, promised);
        level.paused = self.is_paused(&row.0);
        if [level.on_hand, level.held, level.committed, level.safety, level.backorder]
            .iter()
            .chain(level.unsellable.values())
            .any(|units| !(0..=LEVEL_MAX).contains(units))
        {
            return Err(format!("the result would be out of range: {}", numbers(&level)));
        }
        book.balance(&level, evidence, asked.request);
        level.version = before.version;
        let is_off = known != Some(&level) || before.version != evidence.newest;
        if book.entries.is_empty() && (is_off || evidence.oversold) {
            book.write(Cause::Repair(asked.request), Delta::default());
        }
        if book.entries.is_empty() {
            return Ok(None);
        }
        level.version = book.version;
        let detail = describe(known, &level, &book.entries, evidence.oversold);
        Ok(Some(Remedy { level, entries: book.entries, detail }))
    }
}

fn gone(subject: RepairSubject) -> RepairResult {
    RepairResult { subject, outcome: RepairOutcome::Gone, detail: "nothing is wrong with it itself".to_owned() }
}

/// A reservation of which the ledger knows nothing.
fn close(record: &Record, movements: &[(&RowKey, &Movement)]) -> Option<(Cure, String)> {
    let has_units = movements.iter().any(|(_, movement)| movement.allocated > 0);
    let should_have = match record.state {
        State::Held | State::Confirmed | State::Fulfilled | State::Expired => true,
        State::Released | State::Cancelled | State::Refused => false,
    };
    // With units it stands: its rows follow it.
    (should_have && !has_units).then(|| {
        let cure = Cure { state: Some(State::Released), ..Cure::default() };
        (cure, format!("{} without units is closed as RELEASED", record.state))
    })
}

/// What a reservation is of which the ledger tells that state: a sale is what became of its units.
fn came_to(told: State, movements: &[(&RowKey, &Movement)]) -> Result<State, Left> {
    if movements.iter().any(|(_, movement)| is_lost(movement)) {
        return Err("what became of its units is lost, or is of other units than it took: put its rows of progress right from a backup first".to_owned());
    }
    let (mut open, mut fulfilled, mut touched) = (0_i64, 0_i64, false);
    for (_, movement) in movements {
        let units = if movement.allocated == 0 { movement.taken } else { movement.allocated };
        let progress = movement.progress.clone().unwrap_or_default();
        open = open.saturating_add(progress.open(units));
        fulfilled = fulfilled.saturating_add(progress.fulfilled);
        touched |= progress.sold(units) != units || progress.fulfilled != 0 || progress.reflected != 0;
    }
    match told {
        State::Confirmed | State::Fulfilled | State::Cancelled if open > 0 => Ok(State::Confirmed),
        State::Confirmed | State::Fulfilled | State::Cancelled if fulfilled > 0 => Ok(State::Fulfilled),
        State::Confirmed | State::Fulfilled | State::Cancelled => Ok(State::Cancelled),
        _ if touched => Err(format!(
            "the ledger says {told}, but units of it were shipped, called off or reflected: compare with the order, and put it right from a backup"
        )),
        State::Held | State::Released | State::Expired | State::Refused => Ok(told),
    }
}

/// Whether what became of its units is not known, or is not of these units.
fn is_lost(movement: &Movement) -> bool {
    let units = if movement.allocated == 0 { movement.taken } else { movement.allocated };
    movement.progressed.map_or(movement.after > 0, |noted| noted != units)
}

/// Whether a state is one that the ledger tells; of what became of a sale its rows' numbers tell.
fn agrees(state: State, told: State) -> bool {
    state == told || (told == State::Confirmed && matches!(state, State::Fulfilled | State::Cancelled))
}

/// Whether a reservation contradicts the ledger in more than numbers.
fn needs_cure(movement: &Movement) -> bool {
    if !movement.is_in_ledger() {
        return movement.state.is_none();
    }
    let told_otherwise = match (movement.state, movement.told) {
        (Some(state), Some(told)) => !agrees(state, told),
        (None, _) => true,
        (Some(_), None) => false,
    };
    told_otherwise || is_lost(movement) || (movement.allocated == 0 && movement.taken > 0)
}

/// What a reservation counts for on a row once it is cured: held, committed, and whether it is a hold.
fn due(movement: &Movement, row: &RowKey, cure: Option<&Cure>) -> (i64, i64, bool) {
    let is_hold = |state| state == Some(State::Held);
    let Some(cure) = cure else {
        return (movement.promised_held, movement.promised_committed, is_hold(movement.state));
    };
    let back = cure.allocations.iter().find(|part| part.sku == row.0 && part.location == row.1);
    let state = cure.state.or(movement.state);
    let units = movement.allocated.saturating_add(back.map_or(0, |part| part.quantity));
    match state {
        Some(State::Held) => (units, 0, true),
        // Where nothing changed, what counts is known better than by the state alone.
        _ if cure.state.is_none() && back.is_none() => {
            (movement.promised_held, movement.promised_committed, is_hold(movement.state))
        }
        // Of what was sold there is left what is neither given back, called off nor reflected (PROTOCOL 15).
        Some(State::Confirmed | State::Fulfilled | State::Cancelled) => {
            let progress = movement.progress.clone().unwrap_or_default();
            (0, progress.committed(units).max(0), false)
        }
        Some(State::Released | State::Expired | State::Refused) | None => (0, 0, false),
    }
}

fn check_chain(known: Option<&Level>, evidence: &RepairEvidence) -> Result<(), Left> {
    let at = known.map_or(evidence.newest, |level| level.version);
    if evidence.entries != evidence.newest || at > evidence.newest {
        return Err(format!(
            "its ledger has {} entries up to version {}, the row is at version {at}: entries were lost or added by hand; put them right from a backup first",
            evidence.entries, evidence.newest
        ));
    }
    Ok(())
}

/// A row as its ledger has it.
fn from_ledger(evidence: &RepairEvidence) -> Level {
    let Sums { on_hand, held, committed, safety, backorder, unsellable } = evidence.sums.clone();
    Level {
        on_hand,
        held,
        committed,
        safety,
        backorder,
        unsellable,
        freshness: evidence.freshness,
        archived: evidence.archived,
        paused: evidence.paused,
        version: evidence.newest,
        ..Level::default()
    }
}

/// What the row is to be.
fn target(
    before: &Level,
    evidence: &RepairEvidence,
    policy: Option<&Policy>,
    location: &Location,
    side: Side,
    (held, committed): (i64, i64),
) -> Level {
    let mut level = Level { held, committed, ..before.clone() };
    if side == Side::Ledger {
        level.on_hand = evidence.sums.on_hand;
        level.unsellable.clone_from(&evidence.sums.unsellable);
        level.freshness = evidence.freshness;
        level.archived = evidence.archived;
        (level.safety, level.backorder) = (evidence.sums.safety, evidence.sums.backorder);
        if before.cap.map(|cap| cap.units) != evidence.cap_units {
            // Of which count it was is not known any more: any newer one lifts it.
            let moment = before.count.unwrap_or_default();
            level.cap = evidence.cap_units.map(|units| Cap { units, moment });
        }
    }
    if level.freshness == Freshness::Fresh {
        level.buffer = 0;
    }
    level.buffer = level.buffer.clamp(0, LEVEL_MAX);
    if let Some(policy) = policy {
        level.safety = policy.safety.saturating_add(level.buffer);
        level.backorder = policy.backorder_at(location);
        level.archived = policy.archived;
        level.rank = policy.rank(location);
    }
    level.buffer = level.buffer.min(level.safety);
    level.shortfall = level.shortfall_due();
    level
}

/// The entries of one row as they come to be.
struct Book<'a> {
    now: UnixMicros,
    op: usize,
    row: &'a RowKey,
    version: i64,
    sums: Sums,
    entries: Vec<Entry>,
}

impl Book<'_> {
    fn write(&mut self, cause: Cause, delta: Delta) {
        self.version = self.version.saturating_add(1);
        self.sums.held = self.sums.held.saturating_add(delta.held);
        self.sums.committed = self.sums.committed.saturating_add(delta.committed);
        let (sku, location) = self.row.clone();
        self.entries.push(Entry {
            sku,
            location,
            version: self.version,
            at: self.now,
            delta,
            cause,
            op: Some(self.op),
        });
    }

    /// What makes the entries add up to the row, and their last turn the row's.
    fn balance(&mut self, level: &Level, evidence: &RepairEvidence, request: RequestId) {
        let sums = self.sums.clone();
        let turn = Turn {
            freshness: (level.freshness != evidence.freshness).then_some(level.freshness),
            cap: (level.cap.map(|cap| cap.units) != evidence.cap_units).then_some(level.cap),
            archived: (level.archived != evidence.archived).then_some(level.archived),
            paused: (level.paused != evidence.paused).then_some(level.paused),
        };
        let mut delta = Delta {
            on_hand: level.on_hand.saturating_sub(sums.on_hand),
            held: level.held.saturating_sub(sums.held),
            committed: level.committed.saturating_sub(sums.committed),
            safety: level.safety.saturating_sub(sums.safety),
            backorder: level.backorder.saturating_sub(sums.backorder),
            unsellable: None,
            turn,
        };
        // An entry tells of one condition.
        for condition in Condition::ALL {
            let units = |of: &BTreeMap<Condition, i64>| of.get(&condition).copied().unwrap_or(0);
            let change = units(&level.unsellable).saturating_sub(units(&sums.unsellable));
            if change != 0 {
                self.write(Cause::Repair(request), Delta { unsellable: Some((condition, change)), ..delta });
                delta = Delta::default();
            }
        }
        if !delta.is_zero() {
            self.write(Cause::Repair(request), delta);
        }
    }
}

fn numbers(level: &Level) -> String {
    let Level { on_hand, held, committed, safety, backorder, shortfall, version, rank, .. } = level;
    let unsellable: i64 = level.unsellable.values().sum();
    format!(
        "on hand {on_hand}, held {held}, committed {committed}, safety {safety}, backorder {backorder}, unsellable {unsellable}, shortfall {shortfall}, rank {rank}, version {version}"
    )
}

fn describe(before: Option<&Level>, after: &Level, entries: &[Entry], oversold: bool) -> String {
    let mut detail =
        before.map_or_else(|| "the row is made anew".to_owned(), |before| format!("row: {}", numbers(before)));
    detail.push_str(&format!(" → {}", numbers(after)));
    if oversold {
        detail.push_str("; reservations that took more than there was stay as they are, and are known from now on");
    }
    for Entry { version, delta, cause, .. } in entries {
        let parts = [
            ("on hand", delta.on_hand),
            ("held", delta.held),
            ("committed", delta.committed),
            ("safety", delta.safety),
            ("backorder", delta.backorder),
            ("unsellable", delta.unsellable.map_or(0, |(_, units)| units)),
        ];
        let mut parts: Vec<String> =
            parts.iter().filter(|(_, units)| *units != 0).map(|(name, units)| format!("{name} {units:+}")).collect();
        if delta.turn != Turn::default() {
            parts.push("what the row turned to".to_owned());
        }
        if parts.is_empty() {
            parts.push("nothing but the note".to_owned());
        }
        let of = match cause {
            Cause::RepairReservation(id) => format!(" for reservation {id}"),
            _ => String::new(),
        };
        detail.push_str(&format!("; entry {version}{of}: {}", parts.join(", ")));
    }
    detail
}
