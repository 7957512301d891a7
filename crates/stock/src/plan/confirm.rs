//! Confirm: a hold, or a part of it, becomes a sale; where the hold is over, a new one in its place.

use super::draft::{Change, Draft};
use super::reserve::{Claim, Purpose, sold};
use super::vacancy::Vacancy;
use crate::answer::Refusal;
use crate::cart::{Cart, Line};
use crate::ids::{Name, PayloadHash, Quantity, ReservationId};
use crate::portions::shares;
use crate::record::{Allocation, Record, State};
use crate::sale::Progress;
use crate::terms::{Details, Portion, Terms};

/// What a Confirm says.
pub(super) struct Purchase<'a> {
    pub(super) payload: PayloadHash,
    pub(super) id: ReservationId,
    pub(super) portions: &'a [Portion],
    pub(super) reacquire: Option<ReservationId>,
    pub(super) order: Option<&'a Name>,
}

impl Draft {
    /// Gives the reservation that is confirmed: the one asked for, or the one in its place.
    pub(super) fn confirm(&mut self, op: usize, purchase: &Purchase<'_>) -> Result<ReservationId, Refusal> {
        let record = self.record(purchase.id).ok_or(Refusal::NotFound)?;
        match record.state_at_time(self.now) {
            State::Held => self.buy(op, purchase).map(|()| purchase.id),
            State::Confirmed | State::Fulfilled => Ok(purchase.id),
            State::Expired => match purchase.reacquire {
                Some(new) => self.reacquire(op, purchase, new).map(|()| new),
                None => Err(Refusal::Expired),
            },
            State::Released => Err(Refusal::Released),
            State::Cancelled => Err(Refusal::Cancelled),
            State::Refused => Err(Refusal::Insufficient(record.shortages.clone())),
        }
    }

    fn buy(&mut self, op: usize, purchase: &Purchase<'_>) -> Result<(), Refusal> {
        let record = self.record(purchase.id).ok_or(Refusal::NotFound)?;
        let allocations = record.allocations.clone();
        let (owner, channel) = (record.owner.clone(), record.details.channel.clone());
        let bought = spread(purchase.portions, &allocations)?;
        let parts = || allocations.iter().zip(&bought);
        let changes: Vec<Change> = parts().map(|(allocation, units)| sold(purchase.id, allocation, *units)).collect();
        self.write(Some(op), changes)?;
        for (allocation, units) in parts() {
            let released = allocation.quantity - units;
            if released > 0 {
                let progress = Progress { released, ..allocation.progress.clone() };
                self.set_progress(purchase.id, &allocation.row(), allocation.quantity, progress);
                self.change_use(owner.as_ref(), channel.as_ref(), &allocation.sku, released.saturating_neg());
            }
        }
        let (now, order) = (self.now, purchase.order.cloned());
        self.change_record(purchase.id, |record| {
            (record.state, record.state_at) = (State::Confirmed, now);
            record.details.order = record.details.order.take().or(order);
        });
        Ok(())
    }

    /// Buys the same anew, where it is to be had now: a new reservation, confirmed from the start, in the place of one that is over. The old one stays expired. One that
    /// has a successor already gets no second one, or the same cart would be bought twice.
    fn reacquire(&mut self, op: usize, purchase: &Purchase<'_>, new: ReservationId) -> Result<(), Refusal> {
        if let Some(standing) = self.record(new) {
            let is_its = standing.predecessor == Some(purchase.id);
            return if is_its { Ok(()) } else { Err(Refusal::KeyReused) };
        }
        let old = self.record(purchase.id).ok_or(Refusal::NotFound)?;
        if old.successor.is_some() {
            return Err(Refusal::Expired);
        }
        let owner = old.owner.clone().ok_or(Refusal::Inconsistent("a hold has no owner"))?;
        let cart = anew(old, purchase.portions)?;
        let order = old.details.order.clone().or_else(|| purchase.order.cloned());
        let terms = Terms { details: Details { order, ..old.details.clone() }, ..Terms::default() };
        let claim = Claim { id: new, owner: &owner, payload: purchase.payload, cart: &cart, terms: &terms };
        let vacancy = Vacancy::of(old, State::Expired, self.now);
        self.check_policies(&claim, Some(&vacancy), false)?;
        self.make(op, &claim, Some(vacancy), Purpose::Sale, false)?;
        Ok(())
    }
}

/// Of each allocation the units that are bought.
fn spread(portions: &[Portion], allocations: &[Allocation]) -> Result<Vec<i64>, Refusal> {
    let mut bought = vec![0; allocations.len()];
    for share in shares(portions, allocations, |allocation| allocation.quantity).map_err(Refusal::Exceeded)? {
        bought[share.allocation] = share.units;
    }
    Ok(bought)
}

/// The lines of a reservation that is over, as far as portions of it are bought. What is bought where a line named the location is that line's first.
fn anew(old: &Record, portions: &[Portion]) -> Result<Cart, Refusal> {
    let mut bought = spread(portions, &old.allocations)?;
    let mut lines = Vec::new();
    // The lines that name a location stand behind the one of their SKU that does not.
    for line in old.allocated_lines().iter().rev() {
        let mut units = 0;
        for (location, most) in &line.allocations {
            let place = old.allocations.iter().position(|a| a.sku == line.sku && a.location == *location);
            if let Some(left) = place.and_then(|place| bought.get_mut(place)) {
                let take = (*left).min(*most);
                *left -= take;
                units += take;
            }
        }
        if let Some(quantity) = Quantity::new(units) {
            lines.push(Line { sku: line.sku.clone(), location: line.location.clone(), quantity, split: line.split });
        }
    }
    Cart::new(lines).map_err(|_| Refusal::Inconsistent("a reservation's lines are no cart"))
}
