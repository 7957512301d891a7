//! A record in memory that writes plans as a database would, and its auditor.

use holdfast_stock::{
    Adjustment, AdjustmentReason, Allocation, Answer, Cart, ChannelUse, Condition, Count, CountEffect, CountMeaning,
    Details, Entry, FeedTerms, Freshness, HoldMicros, Level, Limits, Line, Location, Name, Note, Op, Owner,
    PayloadHash, Pending, Plan, Policy, Progress, Quantity, Record, Refusal, RequestId, ReservationAnswer,
    ReservationId, Returned, RowKey, Selling, Sku, Snapshot, State, StoredOperation, UnixMicros, plan,
};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const HOLD: i64 = 1_000;
pub(crate) const LIMITS: Limits =
    Limits { longest_hold_micros: 10 * HOLD, default_hold: HoldMicros::new(HOLD).unwrap() };

pub(crate) type Outcome = Result<Answer, Refusal>;

/// What the database would hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) now: i64,
    pub(crate) levels: BTreeMap<RowKey, Level>,
    pub(crate) records: BTreeMap<ReservationId, Record>,
    pub(crate) operations: BTreeMap<RequestId, StoredOperation>,
    /// The rows as they were before their first ledger entry.
    base: BTreeMap<RowKey, Level>,
    pub(crate) ledger: BTreeMap<RowKey, Vec<Entry>>,
    pub(crate) policies: BTreeMap<Sku, Policy>,
    /// Connections' runs that said something of every row.
    pub(crate) marks: BTreeMap<Name, (UnixMicros, i64)>,
    /// What connections' feeds say of when they reflect a sale.
    pub(crate) feeds: BTreeMap<Name, FeedTerms>,
    /// How SKUs sell.
    pub(crate) selling: BTreeMap<Sku, Selling>,
    /// What channels have, where that is counted.
    pub(crate) channels: BTreeMap<(Sku, Name), ChannelUse>,
}

impl World {
    /// A world with these rows: SKU, location, units on hand.
    pub(crate) fn with(rows: &[(&str, &str, i64)]) -> Self {
        let mut world = Self { now: 1_000_000, ..Self::default() };
        for (sku, location, on_hand) in rows {
            world.set(sku, location, Level { on_hand: *on_hand, ..Level::default() });
        }
        world
    }

    /// Puts a row there as if it had always been so.
    pub(crate) fn set(&mut self, sku: &str, location: &str, level: Level) {
        self.base.insert(row(sku, location), level.clone());
        self.levels.insert(row(sku, location), level);
    }

    pub(crate) fn level(&self, sku: &str, location: &str) -> &Level {
        &self.levels[&row(sku, location)]
    }

    pub(crate) fn state(&self, n: u8) -> State {
        self.records[&key(n)].state
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, micros: i64) {
        self.now += micros;
    }

    /// Runs one operation as a batch of its own.
    pub(crate) fn one(&mut self, op: Op) -> Outcome {
        self.batch(&[op]).remove(0)
    }

    /// Runs a batch; holds that are over are expired first.
    pub(crate) fn batch(&mut self, ops: &[Op]) -> Vec<Outcome> {
        self.batch_beside(ops, &BTreeSet::new())
    }

    /// Runs a batch that leaves these reservations as they are, even if they are over: somebody else has them locked, or, if an operation names them, nobody looked whether
    /// they are due.
    pub(crate) fn batch_beside(&mut self, ops: &[Op], left: &BTreeSet<ReservationId>) -> Vec<Outcome> {
        let plan = plan(self.snapshot(ops, left), ops, &LIMITS);
        let answers = plan.answers.clone();
        self.write(plan);
        self.audit();
        answers
    }

    /// Just what the planner says that it needs for these operations.
    pub(crate) fn snapshot(&self, ops: &[Op], left: &BTreeSet<ReservationId>) -> Snapshot {
        let now = UnixMicros(self.now);
        let named: BTreeSet<ReservationId> = ops.iter().flat_map(Op::reservations).collect();
        let is_due = |record: &&Record| record.is_due(now);
        let due: BTreeSet<ReservationId> =
            self.records.values().filter(is_due).map(|record| record.id).filter(|id| !left.contains(id)).collect();
        let read = |id: &ReservationId| named.contains(id) || due.contains(id);
        let records: BTreeMap<_, _> =
            self.records.iter().filter(|(id, _)| read(id)).map(|(id, record)| (*id, record.clone())).collect();

        let mut overdue: BTreeMap<RowKey, i64> = BTreeMap::new();
        for record in self.records.values().filter(is_due).filter(|record| !read(&record.id)) {
            for allocation in &record.allocations {
                *overdue.entry(allocation.row()).or_default() += allocation.quantity;
            }
        }
        let (mut skus, mut rows) = touched(ops);
        for op in ops {
            // What may be reacquired may come from anywhere.
            if let Op::Confirm { id, reacquire: Some(_), .. } = op {
                skus.extend(records.get(id).into_iter().flat_map(|record| &record.lines).map(|line| line.sku.clone()));
            }
        }
        rows.extend(records.values().flat_map(|record| record.allocations.iter().map(Allocation::row)));
        let levels = self.levels.iter().filter(|(row, _)| skus.contains(&row.0) || rows.contains(*row));
        let requests: BTreeSet<RequestId> = ops.iter().filter_map(Op::request).map(|(request, _)| request).collect();
        let operations = self.operations.iter().filter(|(request, _)| requests.contains(request));
        Snapshot {
            now,
            levels: levels.map(|(row, level)| (row.clone(), level.clone())).collect(),
            operations: operations.map(|(request, stored)| (*request, stored.clone())).collect(),
            records,
            due,
            overdue,
            policies: self.policies.clone(),
            owned: self.owned(),
            marks: self.marks.clone(),
            evidence: BTreeMap::new(),
            pending: self.pending(ops),
            feeds: self.feeds.clone(),
            selling: self.selling.clone(),
            channels: self.channels(ops),
        }
    }

    /// What channels have where that is counted, and where one of these operations begins to count it.
    pub(crate) fn channels(&self, ops: &[Op]) -> BTreeMap<(Sku, Name), ChannelUse> {
        let policies =
            ops.iter().filter_map(|op| if let Op::Policies { policies } = op { Some(policies) } else { None });
        let capped = policies
            .flatten()
            .flat_map(|(sku, policy)| policy.channel_caps.keys().map(|channel| (sku.clone(), channel.clone())));
        let begun = capped.map(|(sku, channel)| {
            let units = self.channel_units(&sku, &channel);
            ((sku, channel), ChannelUse { units })
        });
        begun.chain(self.channels.clone()).collect()
    }

    /// What a channel has of a SKU, by the reservations.
    fn channel_units(&self, sku: &Sku, channel: &Name) -> i64 {
        let records = self.records.values().filter(|record| record.details.channel.as_ref() == Some(channel));
        let live = records.filter(|record| matches!(record.state, State::Held | State::Confirmed));
        let here = live.flat_map(|record| &record.allocations).filter(|allocation| allocation.sku == *sku);
        here.map(|allocation| allocation.progress.open(allocation.quantity)).sum()
    }

    /// The allocations whose units the counts among these operations may reflect, or no longer reflect.
    pub(crate) fn pending(&self, ops: &[Op]) -> BTreeMap<RowKey, Vec<Pending>> {
        let mut counted: BTreeMap<RowKey, BTreeSet<CountMeaning>> = BTreeMap::new();
        for op in ops {
            let Op::Count { counts, meaning, .. } = op else { continue };
            for row in counts.iter().map(Count::row) {
                counted.entry(row).or_default().insert(*meaning);
            }
        }
        let pending = |(row, meanings): (RowKey, BTreeSet<CountMeaning>)| {
            let level = self.levels.get(&row);
            let before = level.and_then(|level| level.meaning);
            let is_mixed = meanings.len() > 1 && before != Some(CountMeaning::Available);
            let is_anew =
                is_mixed || (meanings.contains(&CountMeaning::OnHand) && before == Some(CountMeaning::Available));
            // Where the AVAILABLE one is of these operations, it is not known yet as of when it will be.
            let counted_at = level.and_then(|level| level.count).map(|(as_of, _)| as_of).filter(|_| !is_mixed);
            let sales = self.records.values().filter(|record| was_confirmed(record.state));
            let here = sales.flat_map(|record| record.allocations.iter().map(|it| (record.id, it)));
            let here = here.filter(|(_, it)| it.row() == row).filter(|(_, it)| {
                let progress = &it.progress;
                let may_reflect = progress.committed(it.quantity) > 0 && !progress.evidence.is_empty();
                let not_shipped = it.quantity - progress.released - progress.withdrawn - progress.fulfilled;
                let may_have_left = progress.evidence.iter().any(|piece| Some(piece.at) > counted_at);
                may_reflect || (is_anew && progress.reflected > 0 && (not_shipped > 0 || may_have_left))
            });
            let of = |(id, it): (ReservationId, &Allocation)| {
                let (quantity, progress) = (it.quantity, it.progress.clone());
                Pending { id, quantity, progress }
            };
            let here = here.map(of).collect();
            (row, here)
        };
        counted.into_iter().map(pending).collect()
    }

    /// What owners hold or have bought and not called off, shipped or not; holds that are over count for nobody.
    pub(crate) fn owned(&self) -> BTreeMap<(Owner, Sku), i64> {
        let mut owned = BTreeMap::new();
        for record in self.records.values() {
            let state = record.state_at_time(UnixMicros(self.now));
            let Some(owner) =
                record.owner.as_ref().filter(|_| matches!(state, State::Held | State::Confirmed | State::Fulfilled))
            else {
                continue;
            };
            for allocation in &record.allocations {
                let sold = allocation.progress.sold(allocation.quantity);
                *owned.entry((owner.clone(), allocation.sku.clone())).or_default() += sold;
            }
        }
        owned
    }

    /// Writes a plan, and refuses what a database with the right constraints would refuse.
    pub(crate) fn write(&mut self, plan: Plan) {
        for entry in plan.ledger {
            let row = (entry.sku.clone(), entry.location.clone());
            let mut before = self.replayed(&row);
            let shortfall = before.shortfall;
            before.apply(&entry.delta).unwrap();
            assert_eq!(before.version, entry.version, "versions have no gap");
            assert!(before.shortfall <= shortfall || entry.cause.may_raise_shortfall(), "I2: {entry:?}");
            assert_eq!(entry.at, UnixMicros(self.now));
            self.ledger.entry(row).or_default().push(entry);
        }
        for (row, level) in plan.levels {
            assert_ne!(self.levels.get(&row), Some(&level), "only rows that changed are written");
            self.levels.insert(row, level);
        }
        for record in plan.records_inserted {
            assert!(self.records.insert(record.id, record).is_none(), "an inserted key is new");
        }
        for record in plan.records_changed {
            let before = &self.records[&record.id];
            assert!(!before.state.is_final() || before.state == record.state, "I6: {before:?} became {record:?}");
            assert!(record.version > before.version);
            // A Confirm may name the order.
            let named = Record { details: record.details.clone(), ..before.as_first_made() };
            assert_eq!(record.as_first_made(), named, "what a reservation was first answered never changes");
            let (order, was) = (record.details.order.clone(), before.details.order.clone());
            assert_eq!(was.clone().or_else(|| order.clone()), order, "an order is named once");
            assert_eq!(record.details, Details { order, ..before.details.clone() });
            self.records.insert(record.id, record);
        }
        for ((id, row), progress) in plan.progress {
            let record = self.records.get_mut(&id).unwrap();
            let allocation = record.allocations.iter_mut().find(|allocation| allocation.row() == row).unwrap();
            audit_progress(allocation.quantity, &progress);
            allocation.progress = progress;
        }
        self.selling.extend(plan.selling);
        self.channels.extend(plan.channels);
        for (sku, policy) in plan.policies {
            assert!(self.policies.get(&sku).is_none_or(|known| known.version < policy.version));
            self.policies.insert(sku, policy);
        }
        for (request, stored) in plan.operations {
            assert!(self.operations.insert(request, stored).is_none(), "a request lands once");
        }
    }

    /// A row, as its ledger tells it.
    fn replayed(&self, row: &RowKey) -> Level {
        let mut level = self.base.get(row).cloned().unwrap_or_default();
        for entry in self.ledger.get(row).into_iter().flatten() {
            level.apply(&entry.delta).unwrap();
        }
        level
    }

    /// Checks the invariants of the design that a database can show: I2, I3, and what a record must look like.
    pub(crate) fn audit(&self) {
        let mut held: BTreeMap<RowKey, i64> = BTreeMap::new();
        let mut committed: BTreeMap<RowKey, i64> = BTreeMap::new();
        for record in self.records.values() {
            audit_record(record);
            for allocation in &record.allocations {
                let (sums, units) = match record.state {
                    State::Held => (&mut held, allocation.quantity),
                    State::Confirmed | State::Fulfilled | State::Cancelled => {
                        (&mut committed, allocation.progress.committed(allocation.quantity))
                    }
                    State::Released | State::Expired | State::Refused => continue,
                };
                *sums.entry(allocation.row()).or_default() += units;
            }
        }
        for (row, level) in &self.levels {
            assert_eq!(bare(level), bare(&self.replayed(row)), "I3: {row:?} is its ledger");
            assert_eq!(level.held, held.remove(row).unwrap_or(0), "I3: held of {row:?}");
            assert_eq!(level.committed, committed.remove(row).unwrap_or(0), "I3: committed of {row:?}");
            let promised = level.held + level.committed;
            assert!(promised <= level.on_hand + level.backorder + level.shortfall, "I2: {row:?} {level:?}");
            assert_eq!(level.shortfall, (promised - level.on_hand - level.backorder).max(0));
            if let Some(policy) = self.policies.get(&row.0) {
                assert_eq!(level.safety - level.buffer, policy.safety, "safety stock of {row:?}");
                assert_eq!(level.backorder, policy.backorder_at(&row.1), "backorder limit of {row:?}");
                assert_eq!((level.archived, level.rank), (policy.archived, policy.rank(&row.1)));
            }
            assert!(level.buffer == 0 || level.freshness != Freshness::Fresh, "{row:?} keeps back for nothing");
            assert!(level.unsellable.values().all(|units| *units > 0));
            assert!(level.version >= 1 || self.base.contains_key(row), "a row has an entry that made it");
        }
        for ((sku, channel), used) in &self.channels {
            assert_eq!(used.units, self.channel_units(sku, channel), "what {channel} has of {sku}");
        }
        for ((sku, at), level) in &self.levels {
            let is_paused = self.selling.get(sku).is_some_and(|selling| selling.pause.is_some());
            assert_eq!(level.paused, is_paused, "{sku} at {at}");
        }
        assert!(held.is_empty() && committed.is_empty(), "units lie on rows that exist");
    }
}

fn was_confirmed(state: State) -> bool {
    matches!(state, State::Confirmed | State::Fulfilled | State::Cancelled)
}

/// Every unit is in one place.
fn audit_progress(quantity: i64, progress: &Progress) {
    let Progress { released, cancelled, cancelling, withdrawn, fulfilled, returned, reflected, ref evidence } =
        *progress;
    let all = [released, cancelled, cancelling, withdrawn, fulfilled, returned, reflected];
    assert!(all.iter().all(|units| (0..=quantity).contains(units)), "{progress:?} of {quantity}");
    assert!(progress.open(quantity) >= 0 && returned <= fulfilled);
    assert!(cancelling + withdrawn <= cancelled && cancelling <= progress.committed(quantity), "{progress:?}");
    assert!(progress.committed(quantity) >= 0, "{progress:?} of {quantity}");
    assert!(evidence.len() <= Progress::EVIDENCE_MAX && evidence.iter().all(|piece| piece.units > 0));
}

fn audit_record(record: &Record) {
    let is_over = matches!(record.state, State::Fulfilled | State::Cancelled);
    if was_confirmed(record.state) {
        let open: i64 = record.allocations.iter().map(|it| it.progress.open(it.quantity)).sum();
        assert_eq!(open == 0, is_over, "a sale is over when nothing of it is open: {record:?}");
        let was_shipped = record.allocations.iter().any(|it| it.progress.fulfilled > 0);
        assert!(!is_over || (record.state == State::Fulfilled) == was_shipped);
    } else {
        assert!(record.allocations.iter().all(|allocation| allocation.progress.is_none()));
    }
    let never_held = record.state == State::Refused || record.payload.is_none();
    assert_eq!(record.allocations.is_empty(), never_held);
    assert_eq!(record.first_expires_at.is_none(), never_held);
    assert!(record.state != State::Refused || !record.shortages.is_empty());
    assert!(record.allocations.is_sorted_by(|a, b| a.row() < b.row()), "one allocation a row, in order");
    if !never_held {
        let mut parts: BTreeMap<RowKey, i64> = BTreeMap::new();
        for line in record.allocated_lines() {
            let units: i64 = line.allocations.iter().map(|(_, units)| units).sum();
            assert_eq!(units, line.quantity.get(), "a line is allocated wholly");
            for (location, units) in line.allocations {
                assert!(units > 0 && line.location.as_ref().is_none_or(|named| *named == location));
                *parts.entry((line.sku.clone(), location)).or_default() += units;
            }
        }
        let taken: BTreeMap<_, _> = record.allocations.iter().map(|a| (a.row(), a.quantity)).collect();
        assert_eq!(parts, taken, "the lines' parts are the allocations");
    }
}

/// What of a row the ledger tells.
fn bare(level: &Level) -> Level {
    let (count, meaning, feed, shared, rank, buffer) = (None, None, None, false, Policy::UNRANKED, 0);
    Level { count, meaning, feed, shared, rank, buffer, ..level.clone() }
}

/// The SKUs of which operations need every row, and the further rows that they name.
fn touched(ops: &[Op]) -> (BTreeSet<Sku>, BTreeSet<RowKey>) {
    let (mut skus, mut rows) = (BTreeSet::new(), BTreeSet::new());
    for op in ops {
        match op {
            Op::Reserve { cart, .. } => skus.extend(cart.skus().cloned()),
            Op::Count { counts, .. } => rows.extend(counts.iter().map(Count::row)),
            Op::Adjust { adjustments, .. } => {
                rows.extend(adjustments.iter().map(|a| (a.sku.clone(), a.location.clone())));
            }
            Op::Policies { policies } => skus.extend(policies.iter().map(|(sku, _)| sku.clone())),
            Op::Freshen { rows: fresh, .. } => {
                rows.extend(fresh.iter().map(|(sku, at, _)| (sku.clone(), at.clone())));
            }
            Op::Repair { rows: repaired, .. } => rows.extend(repaired.iter().cloned()),
            Op::Return { returns, .. } => {
                let to = |returned: &Returned| Some((returned.portion.sku.clone(), returned.to.clone()?));
                rows.extend(returns.iter().filter_map(to));
            }
            Op::Sell { skus: named, .. } => skus.extend(named.iter().cloned()),
            Op::Refuse { .. }
            | Op::Confirm { .. }
            | Op::Fulfil { .. }
            | Op::Cancel { .. }
            | Op::Evidence { .. }
            | Op::Release { .. }
            | Op::Extend { .. }
            | Op::Expire { .. } => {}
        }
    }
    (skus, rows)
}

pub(crate) fn sku(code: &str) -> Sku {
    Sku::new(code).unwrap()
}

pub(crate) fn location(code: &str) -> Location {
    Location::new(code).unwrap()
}

pub(crate) fn row(sku_code: &str, location_code: &str) -> RowKey {
    (sku(sku_code), location(location_code))
}

pub(crate) fn key(n: u8) -> ReservationId {
    ReservationId::from_bytes([n; 16])
}

pub(crate) fn request(n: u8) -> RequestId {
    RequestId::from_bytes([n; 16])
}

pub(crate) fn payload(n: u8) -> PayloadHash {
    PayloadHash([n; 32])
}

/// A cart from SKU, location (empty: anywhere) and units.
pub(crate) fn cart(lines: &[(&str, &str, i64)]) -> Cart {
    let line = |(code, at, units): &(&str, &str, i64)| Line {
        sku: sku(code),
        location: (!at.is_empty()).then(|| location(at)),
        quantity: Quantity::new(*units).unwrap(),
        split: true,
    };
    Cart::new(lines.iter().map(line).collect()).unwrap()
}

/// A Reserve under key `n`, its payload following from the cart.
pub(crate) fn reserve(n: u8, lines: &[(&str, &str, i64)]) -> Op {
    let bytes = lines.iter().flat_map(|(sku, at, units)| format!("{sku}/{at}/{units};").into_bytes());
    let mut hash = [0; 32];
    for (index, byte) in bytes.enumerate() {
        hash[index % 32] ^= byte.rotate_left(u32::try_from(index / 32).unwrap());
    }
    Op::Reserve {
        id: key(n),
        owner: Owner::new("anna").unwrap(),
        payload: PayloadHash(hash),
        cart: cart(lines),
        hold: HoldMicros::new(HOLD),
        retry: false,
        terms: Box::default(),
    }
}

/// The same operation, marked as a retry.
pub(crate) fn retried(op: Op) -> Op {
    match op {
        Op::Reserve { id, owner, payload, cart, hold, terms, .. } => {
            Op::Reserve { id, owner, payload, cart, hold, retry: true, terms }
        }
        other => other,
    }
}

pub(crate) fn confirm(r: u8, n: u8) -> Op {
    Op::Confirm {
        request: request(r),
        payload: payload(n),
        id: key(n),
        portions: Vec::new(),
        reacquire: None,
        order: None,
    }
}

pub(crate) fn release(r: u8, n: u8) -> Op {
    Op::Release { request: request(r), payload: payload(n), id: key(n) }
}

pub(crate) fn extend(r: u8, n: u8, micros: i64) -> Op {
    Op::Extend { request: request(r), payload: payload(n), id: key(n), hold: HoldMicros::new(micros).unwrap() }
}

pub(crate) fn count(r: u8, as_of: i64, sequence: i64, counts: &[(&str, &str, i64)]) -> Op {
    Op::Count {
        request: request(r),
        payload: payload(r),
        connection: Name::new("acme").unwrap(),
        run: Name::new("run 1").unwrap(),
        as_of: UnixMicros(as_of),
        sequence,
        meaning: CountMeaning::OnHand,
        covers_all: false,
        counts: counts.iter().map(|(code, at, units)| set(code, at, *units)).collect(),
    }
}

/// A number that becomes what is on hand.
pub(crate) fn set(code: &str, at: &str, units: i64) -> Count {
    Count { sku: sku(code), location: location(at), units, effect: CountEffect::Set, expected: None }
}

pub(crate) fn adjust(r: u8, changes: &[(&str, &str, Condition, i64)]) -> Op {
    let adjustment = |(code, at, condition, delta): &(&str, &str, Condition, i64)| Adjustment {
        sku: sku(code),
        location: location(at),
        condition: *condition,
        delta: *delta,
        reason: AdjustmentReason::Correction,
    };
    Op::Adjust {
        request: request(r),
        payload: payload(r),
        actor: Name::new("bert").unwrap(),
        note: Note::new("").unwrap(),
        adjustments: changes.iter().map(adjustment).collect(),
    }
}

/// The reservation in a yes.
#[track_caller]
pub(crate) fn reserved(outcome: Outcome) -> ReservationAnswer {
    match outcome {
        Ok(Answer::Reservation(answer)) => *answer,
        other => panic!("not a reservation: {other:?}"),
    }
}
