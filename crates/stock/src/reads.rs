//! What the read queue says to a Reserve that the gate did not let through.

use crate::answer::{Answer, Refusal, ReservationAnswer};
use crate::cart::Cart;
use crate::choose::{Availability, NoChoice, choose_cart};
use crate::ids::{Location, PayloadHash, Sku, UnixMicros};
use crate::record::{Record, Shortage, State};

/// What a read of the key and of the cart's rows means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The key has been decided before: this is the answer, whatever stock there is.
    Settled(Result<Answer, Refusal>),
    /// The record has too few: the answer, unless the request is marked as a retry; then the key is closed first (`Op::Refuse`).
    Insufficient(Vec<Shortage>),
    /// There is no such SKU, or not at the location named: the answer.
    UnknownSku(Vec<(Sku, Option<Location>)>),
    /// The record has enough, so the counter was wrong: publish what was read and ask the gate again.
    Enough,
}

/// Decides. `record` is what stands under the key, read in the same statement as the rows or before them; `availability` has every row of every SKU of the cart, holds
/// that are over not counted.
#[must_use]
pub fn read(
    now: UnixMicros,
    record: Option<&Record>,
    payload: PayloadHash,
    cart: &Cart,
    availability: &Availability,
) -> Reading {
    if let Some(record) = record {
        return Reading::Settled(settled(now, record, payload));
    }
    match choose_cart(cart, availability) {
        Ok(_) => Reading::Enough,
        Err(NoChoice::Unknown(lines)) => Reading::UnknownSku(lines),
        Err(NoChoice::Short(shortages)) => Reading::Insufficient(shortages),
    }
}

/// What a Reserve is answered whose key stands in the record.
pub(crate) fn settled(now: UnixMicros, record: &Record, payload: PayloadHash) -> Result<Answer, Refusal> {
    match record.payload {
        // Only a Release of an unused key leaves no payload.
        None => Err(Refusal::Released),
        Some(first) if first != payload => Err(Refusal::KeyReused),
        Some(_) if record.state == State::Refused => Err(Refusal::Insufficient(record.shortages.clone())),
        Some(_) => Ok(Answer::Reservation(Box::new(ReservationAnswer {
            first: record.as_first_made(),
            current_state: record.state_at_time(now),
            current_expires_at: record.expires_at,
            replayed: true,
        }))),
    }
}
