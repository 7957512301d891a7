//! A reservation on paper: each of its units is written down by itself, with what became of it, and counted whenever a number is wanted.

use holdfast_stock::{
    Allocation, CountMeaning, Evidence, EvidenceKind, Progress, Record, RowKey, State, UnixMicros, Watermark,
};
use std::collections::BTreeMap;

/// One reservation.
#[derive(Clone, Debug)]
pub(crate) struct Paper {
    /// All that is said of it but its units.
    pub(super) page: Record,
    pub(super) parts: BTreeMap<RowKey, Part>,
    /// As its key was first answered.
    pub(super) first: Option<Record>,
}

/// Its units on one stock row.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    pub(super) units: Vec<Unit>,
    pub(super) backordered: i64,
    pub(super) promised_at: Option<UnixMicros>,
    pub(super) evidence: Vec<Evidence>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unit {
    pub(super) fate: Fate,
    /// Whether the vendor has heard of it.
    pub(super) is_known: bool,
    /// Whether the row's number is without it.
    pub(super) is_reflected: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing happened to it.
    #[default]
    Open,
    /// Only a part was bought, and not this one.
    GivenBack,
    /// Called off, and the vendor, who knew of it, has not taken that.
    CalledOff,
    /// Called off for good.
    Off,
    Shipped,
    /// Shipped, and there again.
    Returned,
}

impl Paper {
    pub(super) fn new(page: Record) -> Self {
        Self { page, parts: BTreeMap::new(), first: None }
    }

    /// As the record has it.
    pub(crate) fn record(&self) -> Record {
        let part = |((sku, location), part): (&RowKey, &Part)| Allocation {
            backordered: part.backordered,
            promised_at: part.promised_at,
            progress: part.progress(),
            ..Allocation::new(sku.clone(), location.clone(), part.quantity())
        };
        Record { allocations: self.parts.iter().map(part).collect(), ..self.page.clone() }
    }

    pub(super) fn is_over(&self, now: i64) -> bool {
        self.page.state == State::Held && self.page.expires_at.is_some_and(|end| end.0 <= now)
    }

    /// Where it stands, a hold past its time being expired whatever the record says.
    pub(super) fn state(&self, now: i64) -> State {
        if self.is_over(now) { State::Expired } else { self.page.state }
    }

    pub(super) fn change(&mut self, state: State, now: i64) {
        (self.page.state, self.page.state_at) = (state, UnixMicros(now));
    }

    pub(super) fn held(&self, row: &RowKey) -> i64 {
        if self.page.state == State::Held { self.parts.get(row).map_or(0, Part::quantity) } else { 0 }
    }

    pub(super) fn committed(&self, row: &RowKey) -> i64 {
        let was_sold = matches!(self.page.state, State::Confirmed | State::Fulfilled | State::Cancelled);
        if was_sold { self.parts.get(row).map_or(0, Part::committed) } else { 0 }
    }

    /// Units that its owner and its channel have: held, or bought and neither called off nor shipped.
    pub(super) fn owned(&self, sku: &holdfast_stock::Sku) -> i64 {
        let counts = matches!(self.page.state, State::Held | State::Confirmed);
        let here = self.parts.iter().filter(|((other, _), _)| counts && other == sku);
        here.map(|(_, part)| part.open()).sum()
    }
}

impl Part {
    pub(super) fn of(units: i64) -> Self {
        let units = (0..units).map(|_| Unit::default()).collect();
        Self { units, ..Self::default() }
    }

    fn count(&self, is: impl Fn(&Unit) -> bool) -> i64 {
        self.units.iter().map(|unit| i64::from(is(unit))).sum()
    }

    pub(super) fn quantity(&self) -> i64 {
        self.count(|_| true)
    }

    pub(super) fn open(&self) -> i64 {
        self.count(|unit| unit.fate == Fate::Open)
    }

    pub(super) fn shipped(&self) -> i64 {
        self.count(Unit::was_shipped)
    }

    pub(super) fn returnable(&self) -> i64 {
        self.count(|unit| unit.fate == Fate::Shipped)
    }

    /// PROTOCOL 15: what was sold and is neither called off nor in the count.
    pub(super) fn committed(&self) -> i64 {
        self.count(|unit| unit.is_sold() && !unit.is_reflected)
    }

    fn reflected(&self) -> i64 {
        self.count(|unit| unit.is_reflected)
    }

    fn progress(&self) -> Progress {
        let called_off = |unit: &Unit| matches!(unit.fate, Fate::CalledOff | Fate::Off);
        Progress {
            released: self.count(|unit| unit.fate == Fate::GivenBack),
            cancelled: self.count(called_off),
            cancelling: self.count(|unit| unit.fate == Fate::CalledOff && !unit.is_reflected),
            withdrawn: self.count(|unit| unit.fate == Fate::Off),
            fulfilled: self.shipped(),
            returned: self.count(|unit| unit.fate == Fate::Returned),
            reflected: self.reflected(),
            evidence: self.evidence.clone(),
        }
    }

    /// Units that the vendor did this with until then.
    fn told(&self, kind: EvidenceKind, until: i64) -> i64 {
        self.evidence.iter().filter(|piece| piece.kind == kind && piece.at.0 <= until).map(|piece| piece.units).sum()
    }

    /// Units that can still be sent or booked: those that are not called off, and those that the vendor knew of before they were.
    pub(super) fn untold(&self, kind: EvidenceKind) -> i64 {
        let sold = self.count(Unit::is_sold);
        let known = self.count(|unit| unit.is_known);
        (sold.max(known) - self.told(kind, i64::MAX)).max(0)
    }

    /// Units called off of which the vendor has neither taken that nor shipped them in spite of it.
    pub(super) fn waiting_at_vendor(&self) -> i64 {
        let (called_off, shipped) = (self.count(|unit| unit.fate == Fate::CalledOff), self.shipped());
        (called_off + shipped - self.told(EvidenceKind::Shipped, i64::MAX)).max(0)
    }

    /// Does something to so many units, to those of the lowest place first; units without a place are not meant.
    fn each(&mut self, units: i64, place: impl Fn(&Unit) -> Option<u8>, change: impl Fn(&mut Unit)) {
        for _ in 0..units {
            let meant = self.units.iter_mut().filter(|unit| place(unit).is_some());
            let Some(unit) = meant.min_by_key(|unit| place(unit)) else { return };
            change(unit);
        }
    }

    pub(super) fn give_back(&mut self, units: i64) {
        self.each(units, |unit| unit.is_open(0), |unit| unit.fate = Fate::GivenBack);
    }

    /// Ships open units: those with which the vendor is farthest.
    pub(super) fn ship(&mut self, units: i64) {
        let place = |unit: &Unit| unit.is_open(if unit.is_reflected { 0 } else { u8::from(!unit.is_known) + 1 });
        self.each(units, place, |unit| unit.fate = Fate::Shipped);
    }

    /// Takes shipped units back.
    pub(super) fn take_back(&mut self, units: i64) {
        let place = |unit: &Unit| (unit.fate == Fate::Shipped).then_some(0);
        self.each(units, place, |unit| unit.fate = Fate::Returned);
    }

    /// Calls open units off, those with which the vendor has done least: off at once is what it never heard of (PROTOCOL 17).
    pub(super) fn call_off(&mut self, units: i64) {
        let place = |unit: &Unit| unit.is_open(if unit.is_known { 1 + u8::from(unit.is_reflected) } else { 0 });
        self.each(units, place, |unit| unit.fate = if unit.is_known { Fate::CalledOff } else { Fate::Off });
    }

    /// The vendor takes the cancellation. Units that the count had reflected are in the next one again.
    pub(super) fn take_cancellation(&mut self, units: i64) {
        let place = |unit: &Unit| (unit.fate == Fate::CalledOff).then_some(u8::from(unit.is_reflected));
        self.each(units, place, |unit| (unit.fate, unit.is_reflected) = (Fate::Off, false));
    }

    /// Notes what the vendor did.
    pub(super) fn tell(&mut self, piece: Evidence) {
        self.evidence.push(piece);
        let kinds = [EvidenceKind::Sent, EvidenceKind::Booked, EvidenceKind::Shipped];
        let heard = kinds.map(|kind| self.told(kind, i64::MAX)).into_iter().max().unwrap();
        let known = self.count(|unit| unit.is_known);
        let place = |unit: &Unit| match unit.fate {
            _ if unit.is_known => None,
            Fate::Shipped | Fate::Returned => Some(0),
            Fate::Open => Some(1),
            Fate::GivenBack | Fate::CalledOff | Fate::Off => None,
        };
        self.each(heard - known, place, |unit| unit.is_known = true);
    }

    /// PROTOCOL 14: units whose evidence is not later than the count.
    fn evident(&self, count: &Watermark) -> i64 {
        let as_of = count.as_of.0;
        let shipped = self.told(EvidenceKind::Shipped, as_of);
        let by_meaning = match count.meaning {
            CountMeaning::OnHand => shipped,
            CountMeaning::Available => shipped.max(self.told(EvidenceKind::Booked, as_of)),
        };
        count.reflection_lag_micros.map_or(0, |lag| self.told(EvidenceKind::Sent, as_of - lag)).max(by_meaning)
    }

    /// The row's number is without as many units as evidence says; what was called off leaves it last.
    pub(super) fn reflect(&mut self, count: &Watermark) {
        self.reflect_units(self.evident(count) - self.reflected());
    }

    /// The same where the number before was without booked units and this one has everything that lies there.
    pub(super) fn reflect_anew(&mut self, count: &Watermark) {
        self.units.iter_mut().for_each(|unit| unit.is_reflected = false);
        self.reflect(count);
    }

    pub(super) fn reflect_units(&mut self, units: i64) {
        let place = |unit: &Unit| match unit.fate {
            _ if unit.is_reflected => None,
            Fate::Shipped | Fate::Returned => Some(0),
            Fate::Open => Some(if unit.is_known { 1 } else { 2 }),
            Fate::CalledOff => Some(3),
            Fate::GivenBack | Fate::Off => None,
        };
        self.each(units, place, |unit| unit.is_reflected = true);
    }
}

impl Unit {
    /// Whether it was bought and is not off.
    fn is_sold(&self) -> bool {
        !matches!(self.fate, Fate::GivenBack | Fate::Off)
    }

    fn was_shipped(&self) -> bool {
        matches!(self.fate, Fate::Shipped | Fate::Returned)
    }

    fn is_open(&self, place: u8) -> Option<u8> {
        (self.fate == Fate::Open).then_some(place)
    }
}
