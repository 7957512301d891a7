//! Fulfil, Cancel, Return and Evidence on paper.

use super::Reference;
use super::paper::{Paper, Part};
use holdfast_stock::{
    Cause, Condition, Delta, Evidence, EvidenceKind, Excess, FeedTerms, NegativeAdjustment, Portion, Refusal,
    ReservationId, Returned, RowKey, State, UnixMicros, Watermark,
};
use std::collections::BTreeMap;

/// Units by stock row, and the first of a request's portions that they are for.
pub(super) type Meant = BTreeMap<RowKey, (i64, usize)>;

impl Reference {
    /// Which units of a reservation portions mean: those that name a location first, then the others from the first location on. None: all that there are.
    pub(super) fn meant(
        &self,
        id: ReservationId,
        portions: &[Portion],
        left: impl Fn(&Part) -> i64,
    ) -> Result<Meant, Refusal> {
        let parts = &self.reservations[&id].parts;
        let mut left: BTreeMap<RowKey, i64> = parts.iter().map(|(row, part)| (row.clone(), left(part))).collect();
        if portions.is_empty() {
            let all = left.into_iter().enumerate().filter(|(_, (_, units))| *units > 0);
            return Ok(all.map(|(place, (row, units))| (row, (units, place))).collect());
        }
        let mut meant = Meant::new();
        let mut excesses = Vec::new();
        for (index, portion) in named_first(portions, |portion| portion) {
            let there = |row: &&RowKey| Self::fits(row, &portion.sku, portion.location.as_ref());
            let rows: Vec<RowKey> = parts.keys().filter(there).cloned().collect();
            let has = rows.iter().map(|row| left[row]).sum();
            if portion.units > has {
                excesses.push(Excess { index, portion: portion.clone(), left: has });
                continue;
            }
            let mut missing = portion.units;
            for row in rows {
                let take = missing.min(left[&row]);
                if take > 0 {
                    meant.entry(row.clone()).or_insert((0, index)).0 += take;
                    *left.get_mut(&row).unwrap() -= take;
                    missing -= take;
                }
            }
        }
        excesses.sort_by_key(|excess| excess.index);
        if excesses.is_empty() { Ok(meant) } else { Err(Refusal::Exceeded(excesses)) }
    }

    fn open_sale(&self, id: ReservationId) -> Result<(), Refusal> {
        match self.reservations.get(&id).ok_or(Refusal::NotFound)?.state(self.now) {
            State::Confirmed => Ok(()),
            State::Held => Err(Refusal::NotConfirmed),
            State::Fulfilled => Err(Refusal::Fulfilled),
            State::Expired => Err(Refusal::Expired),
            State::Released | State::Refused => Err(Refusal::Released),
            State::Cancelled => Err(Refusal::Cancelled),
        }
    }

    fn any_sale(&self, id: ReservationId) -> Result<(), Refusal> {
        match self.reservations.get(&id).ok_or(Refusal::NotFound)?.page.state {
            State::Confirmed | State::Fulfilled | State::Cancelled => Ok(()),
            State::Held | State::Expired | State::Released | State::Refused => Err(Refusal::NotConfirmed),
        }
    }

    pub(super) fn fulfil(
        &mut self,
        id: ReservationId,
        portions: &[Portion],
        at: Option<UnixMicros>,
    ) -> Result<(), Refusal> {
        self.open_sale(id)?;
        let meant = self.meant(id, portions, Part::open)?;
        self.can_leave(&meant)?;
        for (row, (units, _)) in meant {
            self.leave(id, &row, units, (Cause::Fulfil(id), at), |part| part.ship(units));
        }
        self.settle(id);
        Ok(())
    }

    /// Where no feed counts, units that leave must be on hand.
    fn can_leave(&self, meant: &Meant) -> Result<(), Refusal> {
        let lacks = |(row, (units, index)): (&RowKey, &(i64, usize))| {
            let page = &self.rows[row];
            let ((sku, location), condition) = (row.clone(), Condition::Sellable);
            let lack =
                NegativeAdjustment { index: *index, sku, location, condition, present: page.on_hand, delta: -units };
            (page.feed.is_none() && page.on_hand < *units).then_some(lack)
        };
        let lacking: Vec<NegativeAdjustment> = meant.iter().filter_map(lacks).collect();
        if lacking.is_empty() { Ok(()) } else { Err(Refusal::WouldBeNegative(lacking)) }
    }

    /// Units leave the shelf: evidence where a feed counts, and `on_hand` with them where none does (PROTOCOL 16).
    fn leave(
        &mut self,
        id: ReservationId,
        row: &RowKey,
        units: i64,
        (cause, at): (Cause, Option<UnixMicros>),
        change: impl FnOnce(&mut Part),
    ) {
        let (piece, count) = (self.piece(row, EvidenceKind::Shipped, units, at), self.watermark(row));
        let at_once = self.rows[row].feed.is_none();
        self.happen(id, row, cause, if at_once { -units } else { 0 }, |part| {
            change(part);
            part.tell(piece);
            count.iter().for_each(|count| part.reflect(count));
            if at_once {
                part.reflect_units(units);
            }
        });
    }

    pub(super) fn cancel(&mut self, id: ReservationId, portions: &[Portion], lost: bool) -> Result<(), Refusal> {
        self.open_sale(id)?;
        for (row, (units, _)) in self.meant(id, portions, Part::open)? {
            let before = self.reservations[&id].parts[&row].committed();
            let mut after = self.reservations[&id].parts[&row].clone();
            after.call_off(units);
            // What is lost was there, if anything was; and what waits for the vendor is for its next count to say.
            let gone = if lost { (before - after.committed()).min(self.rows[&row].on_hand) } else { 0 };
            self.happen(id, &row, Cause::Cancel(id), -gone, |part| *part = after);
        }
        self.settle(id);
        Ok(())
    }

    pub(super) fn evidence(
        &mut self,
        id: ReservationId,
        portions: &[Portion],
        kind: Option<EvidenceKind>,
        at: Option<UnixMicros>,
    ) -> Result<(), Refusal> {
        self.any_sale(id)?;
        let meant = self.meant(id, portions, |part| match kind {
            Some(kind @ (EvidenceKind::Sent | EvidenceKind::Booked)) => part.untold(kind),
            Some(EvidenceKind::Shipped) | None => part.waiting_at_vendor(),
        })?;
        if kind == Some(EvidenceKind::Shipped) {
            self.can_leave(&meant)?;
        }
        let cause = Cause::Evidence(id);
        for (row, (units, _)) in meant {
            match kind {
                None => self.happen(id, &row, cause, 0, |part| part.take_cancellation(units)),
                // Shipped in spite of being called off.
                Some(EvidenceKind::Shipped) => self.leave(id, &row, units, (cause, at), |_| {}),
                Some(kind) => {
                    let (piece, count) = (self.piece(&row, kind, units, at), self.watermark(&row));
                    self.happen(id, &row, cause, 0, |part| {
                        part.tell(piece);
                        count.iter().for_each(|count| part.reflect(count));
                    });
                }
            }
        }
        Ok(())
    }

    pub(super) fn take_back(&mut self, id: ReservationId, returns: &[Returned]) -> Result<(), Refusal> {
        self.any_sale(id)?;
        let portions: Vec<Portion> = returns.iter().map(|returned| returned.portion.clone()).collect();
        self.meant(id, &portions, Part::returnable)?;
        for (_, returned) in named_first(returns, |returned| &returned.portion) {
            for (row, (units, _)) in self.meant(id, std::slice::from_ref(&returned.portion), Part::returnable)? {
                let paper = self.reservations.get_mut(&id).unwrap();
                paper.parts.get_mut(&row).unwrap().take_back(units);
                let to = (row.0, returned.to.clone().unwrap_or(row.1));
                self.come(&to, returned.condition, units, Cause::Return(id));
            }
        }
        self.settle(id);
        Ok(())
    }

    /// Units come to a row in some condition, or go; one that is not there is made.
    pub(super) fn come(&mut self, row: &RowKey, condition: Condition, units: i64, cause: Cause) {
        let delta = match condition {
            Condition::Sellable => Delta { on_hand: units, ..Delta::default() },
            other => Delta { unsellable: Some((other, units)), ..Delta::default() },
        };
        let delta = self.first_change(row, delta);
        let page = self.rows.get_mut(row).unwrap();
        match condition {
            Condition::Sellable => page.on_hand += units,
            other => *page.unsellable.entry(other).or_default() += units,
        }
        self.note(row, cause, delta);
    }

    /// Something happens to units of a sale; what that does to stock follows from it.
    fn happen(&mut self, id: ReservationId, row: &RowKey, cause: Cause, on_hand: i64, change: impl FnOnce(&mut Part)) {
        let part = self.reservations.get_mut(&id).unwrap().parts.get_mut(row).unwrap();
        let before = part.committed();
        change(part);
        let delta = Delta { on_hand, committed: part.committed() - before, ..Delta::default() };
        self.rows.get_mut(row).unwrap().on_hand += on_hand;
        // Shipments and cancellations are told even where they change nothing of the row.
        if delta != Delta::default() || matches!(cause, Cause::Fulfil(_) | Cause::Cancel(_)) {
            self.note(row, cause, delta);
        }
    }

    fn piece(&self, row: &RowKey, kind: EvidenceKind, units: i64, at: Option<UnixMicros>) -> Evidence {
        let at = at.unwrap_or(UnixMicros(self.now + self.feed_of(row).clock_margin_micros));
        Evidence { kind, units, at }
    }

    /// As of when a row's number is and what it means.
    fn watermark(&self, row: &RowKey) -> Option<Watermark> {
        let page = &self.rows[row];
        let reflection_lag_micros = self.feed_of(row).reflection_lag_micros;
        Some(Watermark { as_of: page.count?.0, meaning: page.meaning?, reflection_lag_micros })
    }

    fn feed_of(&self, row: &RowKey) -> FeedTerms {
        let feed = self.rows[row].feed.as_ref().and_then(|feed| self.feeds.get(feed));
        feed.copied().unwrap_or_default()
    }

    /// The reservation is a version on; with no unit open it is over.
    fn settle(&mut self, id: ReservationId) {
        let now = self.now;
        let paper: &mut Paper = self.reservations.get_mut(&id).unwrap();
        paper.page.version += 1;
        let sum = |units: fn(&Part) -> i64| paper.parts.values().map(units).sum::<i64>();
        let (open, shipped) = (sum(Part::open), sum(Part::shipped));
        if paper.page.state == State::Confirmed && open == 0 {
            paper.change(if shipped > 0 { State::Fulfilled } else { State::Cancelled }, now);
        }
    }
}

/// Parts of a request with their indexes: those that name a location first.
fn named_first<T>(parts: &[T], portion: impl Fn(&T) -> &Portion) -> Vec<(usize, &T)> {
    let (named, free): (Vec<_>, Vec<_>) =
        parts.iter().enumerate().partition(|(_, part)| portion(part).location.is_some());
    named.into_iter().chain(free).collect()
}
