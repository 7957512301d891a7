//! Reserve and Refuse: what a cart gets, in the place of another hold or beside all.

use super::Limits;
use super::draft::{Change, Draft};
use super::vacancy::Vacancy;
use crate::answer::{Answer, Refusal, ReservationAnswer};
use crate::cart::Cart;
use crate::choose::{Choice, NoChoice, choose_best, choose_cart};
use crate::ids::{Owner, PayloadHash, ReservationId, UnixMicros};
use crate::ledger::Cause;
use crate::level::Delta;
use crate::op::HoldMicros;
use crate::policy::Promise;
use crate::reads::settled;
use crate::record::{Allocation, Record, Shortage, State};
use crate::terms::Terms;

/// What a Reserve says of itself.
pub(super) struct Claim<'a> {
    pub(super) id: ReservationId,
    pub(super) owner: &'a Owner,
    pub(super) payload: PayloadHash,
    pub(super) cart: &'a Cart,
    pub(super) terms: &'a Terms,
}

/// What becomes of the units that a cart gets.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// They are held until then.
    Hold(UnixMicros),
    /// They are bought at once.
    Sale,
}

impl Draft {
    pub(super) fn reserve(
        &mut self,
        op: usize,
        claim: &Claim<'_>,
        hold: Option<HoldMicros>,
        retry: bool,
        limits: &Limits,
    ) -> Result<Answer, Refusal> {
        if let Some(record) = self.record(claim.id) {
            return settled(self.now, record, claim.payload);
        }
        let vacancy = claim.terms.replaces.map(|old| self.replaceable(old, claim.owner)).transpose()?;
        self.check_policies(claim, vacancy.as_ref(), retry)?;
        let too_long = Refusal::HoldTooLong { max_micros: limits.longest_hold_micros };
        let hold = hold.unwrap_or_else(|| self.default_hold(claim.cart, limits));
        if hold.get() > limits.longest_hold_micros {
            return Err(too_long);
        }
        let expires_at = self.now.checked_add(hold.get()).ok_or(too_long)?;
        let record = self.make(op, claim, vacancy, Purpose::Hold(expires_at), retry)?;
        Ok(Answer::Reservation(Box::new(ReservationAnswer {
            current_state: record.state,
            current_expires_at: record.expires_at,
            first: record,
            replayed: false,
        })))
    }

    pub(super) fn refuse(&mut self, claim: &Claim<'_>, shortages: &[Shortage]) -> Result<Answer, Refusal> {
        if let Some(record) = self.record(claim.id) {
            return settled(self.now, record, claim.payload);
        }
        self.close(claim, shortages.to_vec());
        Err(Refusal::Insufficient(shortages.to_vec()))
    }

    /// The hold that is to be replaced.
    fn replaceable(&self, old: ReservationId, owner: &Owner) -> Result<Vacancy, Refusal> {
        let record = self.record(old).ok_or(Refusal::NotFound)?;
        if record.owner.as_ref().is_some_and(|whose| whose != owner) {
            return Err(Refusal::OwnerMismatch);
        }
        match record.state_at_time(self.now) {
            State::Held => Ok(Vacancy::of(record, State::Released, self.now)),
            State::Confirmed | State::Fulfilled => Err(Refusal::Confirmed),
            State::Expired => Err(Refusal::Expired),
            // A refused key never held anything; like a released one it will not again.
            State::Released | State::Refused => Err(Refusal::Released),
            State::Cancelled => Err(Refusal::Cancelled),
        }
    }

    /// Takes what a claim whose policies allow it gets, in the place of a hold if it comes in one's place. Either all of it happens or nothing.
    pub(super) fn make(
        &mut self,
        op: usize,
        claim: &Claim<'_>,
        vacancy: Option<Vacancy>,
        purpose: Purpose,
        retry: bool,
    ) -> Result<Record, Refusal> {
        let mut choice = self.choose(claim, vacancy.as_ref(), retry)?;
        self.check_pace(op, claim, &choice.allocations, retry)?;
        for allocation in &mut choice.allocations {
            self.promise(allocation, vacancy.as_ref());
        }
        let mut changes = vacancy.as_ref().map_or_else(Vec::new, Vacancy::changes);
        changes.extend(choice.allocations.iter().map(|allocation| held(claim.id, allocation)));
        if let Purpose::Sale = purpose {
            changes.extend(choice.allocations.iter().map(|allocation| sold(claim.id, allocation, allocation.quantity)));
        }
        self.write(Some(op), changes)?;
        let record = claim.record(self.now, choice, purpose, vacancy.as_ref().map(|vacancy| vacancy.id));
        if let Some(vacancy) = vacancy {
            self.vacate(vacancy, Some(claim.id));
        }
        for allocation in &record.allocations {
            let channel = record.details.channel.as_ref();
            self.change_use(Some(claim.owner), channel, &allocation.sku, allocation.quantity);
            self.note_pace(&allocation.sku, allocation.quantity);
        }
        self.insert_record(record.clone());
        Ok(record)
    }

    /// Says no for want of units, unless holds that are over would make a difference. To a marked retry the no is final (PROTOCOL 8).
    fn choose(&mut self, claim: &Claim<'_>, vacancy: Option<&Vacancy>, retry: bool) -> Result<Choice, Refusal> {
        let now = match self.choice(claim, vacancy, false) {
            Ok(choice) if choice.shortages.is_empty() => return Ok(choice),
            other => other,
        };
        let freed = if self.has_overdue() { self.choice(claim, vacancy, true) } else { now.clone() };
        match (now, freed) {
            (_, Err(NoChoice::Unknown(lines))) | (Err(NoChoice::Unknown(lines)), _) => Err(Refusal::UnknownSku(lines)),
            (Ok(choice), Ok(freed)) if choice.shortages == freed.shortages => Ok(choice),
            (_, Ok(_)) => Err(Refusal::Contended),
            (_, Err(NoChoice::Short(shortages))) => {
                if retry {
                    self.close(claim, shortages.clone());
                }
                Err(Refusal::Insufficient(shortages))
            }
        }
    }

    fn choice(&self, claim: &Claim<'_>, vacancy: Option<&Vacancy>, overdue: bool) -> Result<Choice, NoChoice> {
        let availability = self.availability(claim.cart.skus(), vacancy, overdue);
        if claim.terms.best_effort {
            return choose_best(claim.cart, &claim.terms.strategy, &availability);
        }
        let allocations = choose_cart(claim.cart, &claim.terms.strategy, &availability)?;
        Ok(Choice { lines: claim.cart.lines().to_vec(), allocations, shortages: Vec::new() })
    }

    /// Says of an allocation what of it is not there yet, and when it will be.
    fn promise(&self, allocation: &mut Allocation, vacancy: Option<&Vacancy>) {
        let row = allocation.row();
        let Some(level) = self.level(&row) else { return };
        let there = level.present_with(vacancy.map_or(0, |vacancy| vacancy.units(&row)));
        allocation.backordered = (allocation.quantity - there).max(0);
        if allocation.backordered > 0 {
            let promise = self.policy(&allocation.sku).and_then(|policy| policy.promise);
            allocation.promised_at = promise.and_then(|promise| promise.from(self.now));
        }
    }

    /// Closes a key: whatever comes late with it finds that it was refused.
    pub(super) fn close(&mut self, claim: &Claim<'_>, shortages: Vec<Shortage>) {
        let record = Record { shortages, ..claim.unheld(self.now) };
        self.insert_record(record);
    }
}

/// Units become held.
fn held(id: ReservationId, allocation: &Allocation) -> Change {
    let delta = Delta { held: allocation.quantity, ..Delta::default() };
    Change { row: allocation.row(), delta, cause: Cause::Reserve(id) }
}

/// So many of an allocation's held units become committed, the others free.
pub(super) fn sold(id: ReservationId, allocation: &Allocation, units: i64) -> Change {
    let delta = Delta { held: allocation.quantity.saturating_neg(), committed: units, ..Delta::default() };
    Change { row: allocation.row(), delta, cause: Cause::Confirm(id) }
}

impl Promise {
    /// When units reserved now will be there; a day that has passed promises nothing.
    fn from(self, now: UnixMicros) -> Option<UnixMicros> {
        match self {
            Self::At(instant) => Some(instant).filter(|instant| *instant > now),
            Self::After(micros) => now.checked_add(micros),
        }
    }
}

impl Claim<'_> {
    /// The record that this claim makes.
    fn record(&self, now: UnixMicros, choice: Choice, purpose: Purpose, predecessor: Option<ReservationId>) -> Record {
        let (state, end) = match purpose {
            Purpose::Hold(end) => (State::Held, end),
            // Never held: its time is over when it is made.
            Purpose::Sale => (State::Confirmed, now),
        };
        let Choice { lines, allocations, shortages } = choice;
        let (first_expires_at, expires_at) = (Some(end), Some(end));
        let unheld = self.unheld(now);
        Record { state, first_expires_at, expires_at, lines, allocations, shortages, predecessor, ..unheld }
    }

    fn unheld(&self, now: UnixMicros) -> Record {
        Record {
            id: self.id,
            owner: Some(self.owner.clone()),
            payload: Some(self.payload),
            lines: self.cart.lines().to_vec(),
            allocations: Vec::new(),
            created_at: now,
            first_expires_at: None,
            state: State::Refused,
            expires_at: None,
            state_at: now,
            version: 1,
            shortages: Vec::new(),
            details: self.terms.details.clone(),
            predecessor: None,
            successor: None,
        }
    }
}
