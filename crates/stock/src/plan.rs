//! What a batch of operations does, decided in the order of arrival over one look at the record.
//!
//! Architecture invariant: every change of stock is decided here, one operation after the other; an operation happens wholly or not at all, and one that is refused
//! leaves its neighbours as they would be without it.

mod adjust;
mod cancel;
mod confirm;
mod counts;
mod draft;
mod evidence;
mod fulfil;
mod holds;
mod policies;
mod repair;
mod reserve;
mod returns;
mod sales;
mod selling;
mod vacancy;

use crate::answer::{Answer, Refusal, StoredOperation};
use crate::ids::{Name, Owner, RequestId, ReservationId, RowKey, Sku, UnixMicros};
use crate::ledger::Entry;
use crate::level::Level;
use crate::op::{HoldMicros, Op};
use crate::policy::Policy;
use crate::record::{Allocation, Record};
use crate::repair::RepairEvidence;
use crate::sale::{FeedTerms, Progress};
use crate::selling::{ChannelUse, Pause, Selling};
use crate::terms::Terms;
use draft::Draft;
use std::collections::{BTreeMap, BTreeSet};

/// What was read of the record, under the locks of the transaction that will write the plan.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Postgres's clock, read after the locks were got.
    pub now: UnixMicros,
    /// Locked stock rows. For Reserve: every row of every SKU of the cart, and the rows of the hold that it replaces. For operations on a
    /// reservation: the rows of its allocations; for a Confirm that may reacquire also every row of every SKU of its lines. For pauses: every row of the SKUs. For counts and adjustments: the
    /// rows that they name. A row that is missing here does not exist.
    pub levels: BTreeMap<RowKey, Level>,
    /// Locked reservations: those that an operation names ([`Op::reservations`]), as far as they exist, and those in `due`.
    pub records: BTreeMap<ReservationId, Record>,
    /// The operations' own keys, as far as they have landed.
    pub operations: BTreeMap<RequestId, StoredOperation>,
    /// Which of `records` to expire before anything else, so that their units can be had by this batch. One that is not over, or whose rows are not all in `levels`, is
    /// left as it is.
    pub due: BTreeSet<ReservationId>,
    /// Units in `levels` held by reservations that are over but not in `records`, because another transaction has them locked. They count for nobody (I5), but this
    /// batch cannot free them: who lacks just these is told to ask again, not that there is too little.
    pub overdue: BTreeMap<RowKey, i64>,
    /// Selling policies of the SKUs of carts (of reservations that may be reacquired too, here and below), of rows that may be created, and of those that an operation changes; as far as there are any.
    pub policies: BTreeMap<Sku, Policy>,
    /// Units that the owners of carts hold or have bought and not called off, shipped or not, of SKUs whose policy limits that; holds that are over do not count.
    pub owned: BTreeMap<(Owner, Sku), i64>,
    /// Of the connections that counted rows in `levels`: the moment of the last run that said something of all its rows. Their rows are as of then, whatever the row
    /// says.
    pub marks: BTreeMap<Name, (UnixMicros, i64)>,
    /// Of the rows that a repair names: what their ledger and their reservations say.
    pub evidence: BTreeMap<RowKey, RepairEvidence>,
    /// For each row that a count names: the allocations there of confirmed reservations (whatever their state now) that still have committed units and evidence, in
    /// `records` or not; where an ON_HAND count follows an AVAILABLE one (of this batch even), also those of which the count before reflects units that were not shipped, or that were told of
    /// since as of later than it. Guarded by the lock of the stock row: whatever changes an allocation's progress holds it.
    pub pending: BTreeMap<RowKey, Vec<Pending>>,
    /// Of the connections that counted rows in `levels`, and of those that count: what their feed says of when it reflects a sale; those of which nothing is known are
    /// missing.
    pub feeds: BTreeMap<Name, FeedTerms>,
    /// Of the SKUs of carts, of rows that may be created and of those whose selling an operation changes: how they sell, where there is anything to say.
    pub selling: BTreeMap<Sku, Selling>,
    /// Of the SKUs and channels of carts and of the reservations in `records`, where it is counted: what the channel has. For a policy that caps a channel whose use was
    /// not counted so far: what the record says that it has.
    pub channels: BTreeMap<(Sku, Name), ChannelUse>,
}

/// An allocation with committed units that a count may reflect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The reservation.
    pub id: ReservationId,
    /// Units reserved.
    pub quantity: i64,
    /// What became of them.
    pub progress: Progress,
}

/// Bounds from the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest that a hold may last from when it was made, extensions included, in microseconds.
    pub longest_hold_micros: i64,
    /// How long a hold lasts where neither the request nor a policy says.
    pub default_hold: HoldMicros,
}

/// What to answer, and what to write in the same transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// One answer for each operation, in their order. They hold only once everything below is committed.
    pub answers: Vec<Result<Answer, Refusal>>,
    /// Reservations that are new, as they stand after the batch; ids ascending.
    pub records_inserted: Vec<Record>,
    /// Reservations that were there and changed, as they stand after the batch; ids ascending.
    pub records_changed: Vec<Record>,
    /// Stock rows that changed or are new, as they stand after the batch. One whose version is the same as before has only a newer `count`.
    pub levels: BTreeMap<RowKey, Level>,
    /// The changes, in the order in which they happened; per row the versions follow on the row's last one without a gap.
    pub ledger: Vec<Entry>,
    /// The operations' own keys that landed, in the order in which they did.
    pub operations: Vec<(RequestId, StoredOperation)>,
    /// Policies that are new.
    pub policies: BTreeMap<Sku, Policy>,
    /// Allocations that reservations which were there get back.
    pub allocations: Vec<(ReservationId, Allocation)>,
    /// Progress of allocations that changed, as it stands after the batch; those of new reservations included, where there is any.
    pub progress: BTreeMap<(ReservationId, RowKey), Progress>,
    /// How SKUs sell, where that changed.
    pub selling: BTreeMap<Sku, Selling>,
    /// What channels have of SKUs, where that changed.
    pub channels: BTreeMap<(Sku, Name), ChannelUse>,
}

/// Decides a batch. Two operations may name the same key; the later one then finds what the earlier one did.
#[must_use]
pub fn plan(snapshot: Snapshot, ops: &[Op], limits: &Limits) -> Plan {
    let mut draft = Draft::new(snapshot);
    let answers = ops.iter().enumerate().map(|(index, op)| draft.decide(index, op, limits)).collect();
    draft.into_plan(answers)
}

impl Draft {
    fn decide(&mut self, index: usize, op: &Op, limits: &Limits) -> Result<Answer, Refusal> {
        if let Some((request, payload)) = op.request()
            && let Some(answer) = self.replay(request, payload, op)
        {
            return answer;
        }
        match op {
            Op::Reserve { id, owner, payload, cart, hold, retry, terms } => {
                let claim = reserve::Claim { id: *id, owner, payload: *payload, cart, terms };
                self.reserve(index, &claim, *hold, *retry, limits)
            }
            Op::Refuse { id, owner, payload, cart, shortages } => {
                let terms = Terms::default();
                self.refuse(&reserve::Claim { id: *id, owner, payload: *payload, cart, terms: &terms }, shortages)
            }
            Op::Confirm { request, payload, id, portions, reacquire, order } => {
                let (payload, id, reacquire, order) = (*payload, *id, *reacquire, order.as_ref());
                let bought = self.confirm(index, &confirm::Purchase { payload, id, portions, reacquire, order })?;
                self.keep(*request, payload, bought, Ok(()))
            }
            Op::Release { request, payload, id } => {
                let done = self.release(index, *id);
                self.keep(*request, *payload, *id, done)
            }
            Op::Extend { request, payload, id, hold } => {
                let done = self.extend(*id, *hold, limits);
                self.keep(*request, *payload, *id, done)
            }
            Op::Fulfil { request, payload, id, portions, at } => {
                let done = self.fulfil(index, *id, portions, *at);
                self.keep(*request, *payload, *id, done)
            }
            Op::Cancel { request, payload, id, portions, lost, .. } => {
                let done = self.cancel(index, *id, portions, *lost);
                self.keep(*request, *payload, *id, done)
            }
            Op::Return { request, payload, id, returns, .. } => {
                let done = self.take_back(index, *id, returns);
                self.keep(*request, *payload, *id, done)
            }
            Op::Evidence { request, payload, id, portions, kind, at } => {
                let done = self.evidence(index, *id, portions, *kind, *at);
                self.keep(*request, *payload, *id, done)
            }
            Op::Sell { request, payload, skus, pause, actor, note } => {
                let pause = pause.then(|| Pause { at: self.now, actor: actor.clone(), note: note.clone() });
                self.sell(index, (*request, *payload), skus, pause.as_ref())
            }
            Op::Expire { id } => self.expire(index, *id),
            Op::Count { request, payload, connection, as_of, sequence, meaning, covers_all, counts, .. } => {
                let (moment, meaning, covers_all) = ((*as_of, *sequence), *meaning, *covers_all);
                let said = counts::Said { connection, moment, meaning, covers_all, counts };
                self.count(index, (*request, *payload), &said)
            }
            Op::Adjust { request, payload, adjustments, .. } => self.adjust(index, (*request, *payload), adjustments),
            Op::Policies { policies } => self.take_policies(index, policies),
            Op::Freshen { connection, freshness, rows } => self.freshen(index, connection, *freshness, rows),
            Op::Repair { request, payload, rows, reservations, side, validate_only, .. } => {
                let (request, payload, side, validate_only) = (*request, *payload, *side, *validate_only);
                self.repair(index, &repair::Asked { request, payload, rows, reservations, side, validate_only })
            }
        }
    }
}
