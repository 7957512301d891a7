//! Reserve, Refuse, Confirm, Release, Extend and Expire.

use super::Limits;
use super::draft::{Change, Draft};
use crate::answer::{Answer, Refusal, ReservationAnswer};
use crate::cart::Cart;
use crate::choose::{NoChoice, choose_cart};
use crate::ids::{Owner, PayloadHash, ReservationId, UnixMicros};
use crate::ledger::Cause;
use crate::level::Delta;
use crate::op::HoldMicros;
use crate::reads::settled;
use crate::record::{Allocation, Record, Shortage, State};
use crate::terms::Details;

/// What a Reserve says of itself.
pub(super) struct Claim<'a> {
    pub(super) id: ReservationId,
    pub(super) owner: &'a Owner,
    pub(super) payload: PayloadHash,
    pub(super) cart: &'a Cart,
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
        self.check_policies(claim, retry)?;
        let too_long = Refusal::HoldTooLong { max_micros: limits.longest_hold_micros };
        let hold = hold.unwrap_or_else(|| self.default_hold(claim.cart, limits));
        if hold.get() > limits.longest_hold_micros {
            return Err(too_long);
        }
        let expires_at = self.now.checked_add(hold.get()).ok_or(too_long)?;
        let allocations = match choose_cart(claim.cart, &self.availability(claim.cart.skus(), false)) {
            Ok(allocations) => allocations,
            Err(NoChoice::Unknown(lines)) => return Err(Refusal::UnknownSku(lines)),
            Err(NoChoice::Short(shortages)) => return Err(self.short(claim, shortages, retry)),
        };
        let held = |allocation: &Allocation| Change {
            row: allocation.row(),
            delta: Delta { held: allocation.quantity, ..Delta::default() },
            cause: Cause::Reserve(claim.id),
        };
        self.write(Some(op), allocations.iter().map(held).collect())?;
        for allocation in &allocations {
            self.change_use(Some(claim.owner), None, &allocation.sku, allocation.quantity);
        }
        let record = claim.record(self.now, State::Held, Some(expires_at), allocations, Vec::new());
        self.insert_record(record.clone());
        Ok(Answer::Reservation(Box::new(ReservationAnswer {
            current_state: record.state,
            current_expires_at: record.expires_at,
            first: record,
            replayed: false,
        })))
    }

    /// Says no for want of units, unless holds that are over would make the difference. To a marked retry the no is final (PROTOCOL 8).
    fn short(&mut self, claim: &Claim<'_>, mut shortages: Vec<Shortage>, retry: bool) -> Refusal {
        if self.has_overdue() {
            match choose_cart(claim.cart, &self.availability(claim.cart.skus(), true)) {
                Ok(_) => return Refusal::Contended,
                Err(NoChoice::Short(fewer)) => shortages = fewer,
                Err(NoChoice::Unknown(lines)) => return Refusal::UnknownSku(lines),
            }
        }
        if retry {
            self.close(claim, shortages.clone());
        }
        Refusal::Insufficient(shortages)
    }

    /// Closes a key: whatever comes late with it finds that it was refused.
    pub(super) fn close(&mut self, claim: &Claim<'_>, shortages: Vec<Shortage>) {
        self.insert_record(claim.record(self.now, State::Refused, None, Vec::new(), shortages));
    }

    pub(super) fn refuse(&mut self, claim: &Claim<'_>, shortages: &[Shortage]) -> Result<Answer, Refusal> {
        if let Some(record) = self.record(claim.id) {
            return settled(self.now, record, claim.payload);
        }
        self.close(claim, shortages.to_vec());
        Err(Refusal::Insufficient(shortages.to_vec()))
    }

    pub(super) fn confirm(&mut self, op: usize, id: ReservationId) -> Result<(), Refusal> {
        let now = self.now;
        let record = self.record(id).ok_or(Refusal::NotFound)?;
        match record.state_at_time(now) {
            State::Held => {}
            State::Confirmed | State::Fulfilled => return Ok(()),
            State::Expired => return Err(Refusal::Expired),
            State::Released => return Err(Refusal::Released),
            State::Cancelled => return Err(Refusal::Cancelled),
            State::Refused => return Err(Refusal::Insufficient(record.shortages.clone())),
        }
        let sold = record.allocations.iter().map(|allocation| Change {
            row: allocation.row(),
            delta: Delta {
                held: allocation.quantity.saturating_neg(),
                committed: allocation.quantity,
                ..Delta::default()
            },
            cause: Cause::Confirm(id),
        });
        let sold = sold.collect();
        self.write(Some(op), sold)?;
        self.change_record(id, |record| (record.state, record.state_at) = (State::Confirmed, now));
        Ok(())
    }

    pub(super) fn release(&mut self, op: usize, id: ReservationId) -> Result<(), Refusal> {
        let Some(record) = self.record(id) else {
            self.insert_record(closed_key(id, self.now));
            return Ok(());
        };
        match record.state {
            State::Held => {
                let end = if record.is_due(self.now) { State::Expired } else { State::Released };
                self.free_units(Some(op), id, end)
            }
            State::Released | State::Expired | State::Refused => Ok(()),
            State::Confirmed | State::Fulfilled => Err(Refusal::Confirmed),
            State::Cancelled => Err(Refusal::Cancelled),
        }
    }

    pub(super) fn extend(&mut self, id: ReservationId, hold: HoldMicros, limits: &Limits) -> Result<(), Refusal> {
        let record = self.record(id).ok_or(Refusal::NotFound)?;
        match record.state_at_time(self.now) {
            State::Held => {}
            State::Confirmed | State::Fulfilled => return Err(Refusal::Confirmed),
            State::Expired => return Err(Refusal::Expired),
            State::Released => return Err(Refusal::Released),
            State::Cancelled => return Err(Refusal::Cancelled),
            State::Refused => return Err(Refusal::Insufficient(record.shortages.clone())),
        }
        let latest = record.created_at.0.saturating_add(limits.longest_hold_micros);
        let max_micros = latest.saturating_sub(self.now.0);
        if hold.get() > max_micros {
            return Err(Refusal::HoldTooLong { max_micros });
        }
        // No overflow: now + hold is at most `latest`.
        let expires_at = Some(UnixMicros(self.now.0 + hold.get())).max(record.expires_at);
        if expires_at != record.expires_at {
            self.change_record(id, |record| record.expires_at = expires_at);
        }
        Ok(())
    }

    pub(super) fn expire(&mut self, op: usize, id: ReservationId) -> Result<Answer, Refusal> {
        let expired = self.record(id).is_some_and(|record| record.is_due(self.now));
        if expired {
            self.free_units(Some(op), id, State::Expired)?;
        }
        Ok(Answer::Expiry { expired })
    }
}

impl Claim<'_> {
    /// The record that this claim makes.
    fn record(
        &self,
        now: UnixMicros,
        state: State,
        expires_at: Option<UnixMicros>,
        allocations: Vec<Allocation>,
        shortages: Vec<Shortage>,
    ) -> Record {
        Record {
            id: self.id,
            owner: Some(self.owner.clone()),
            payload: Some(self.payload),
            lines: self.cart.lines().to_vec(),
            allocations,
            created_at: now,
            first_expires_at: expires_at,
            state,
            expires_at,
            state_at: now,
            version: 1,
            shortages,
            details: Details::default(),
            predecessor: None,
            successor: None,
        }
    }
}

/// A key that was never used and never can be.
fn closed_key(id: ReservationId, now: UnixMicros) -> Record {
    Record {
        id,
        owner: None,
        payload: None,
        lines: Vec::new(),
        allocations: Vec::new(),
        created_at: now,
        first_expires_at: None,
        state: State::Released,
        expires_at: None,
        state_at: now,
        version: 1,
        shortages: Vec::new(),
        details: Details::default(),
        predecessor: None,
        successor: None,
    }
}
