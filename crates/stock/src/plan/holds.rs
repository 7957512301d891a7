//! Release, Extend and Expire: what becomes of a hold that is not bought.

use super::Limits;
use super::draft::Draft;
use crate::answer::{Answer, Refusal};
use crate::ids::{ReservationId, UnixMicros};
use crate::op::HoldMicros;
use crate::record::{Record, State};
use crate::terms::Details;

impl Draft {
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
