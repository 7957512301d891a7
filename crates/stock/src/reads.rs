//! What the read queue says to a Reserve that the gate did not let through.

use crate::answer::{Answer, Refusal, ReservationAnswer};
use crate::cart::{Cart, Line};
use crate::choose::{Availability, NoChoice, choose_best, choose_cart};
use crate::ids::{Location, PayloadHash, Sku, UnixMicros};
use crate::record::{Record, Shortage, State};
use crate::terms::Terms;
use std::collections::BTreeSet;

/// What a read of the key and of the cart's rows means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The key has been decided before: this is the answer, whatever stock there is.
    Settled(Result<Answer, Refusal>),
    /// The record has too few: the answer, unless the request is marked as a retry; then the key is closed first (`Op::Refuse`).
    Insufficient(Vec<Shortage>),
    /// The selling of these SKUs is paused: the answer, unless the request is marked as a retry; then the key is closed first, with these shortages.
    Paused {
        /// The SKUs, ascending.
        skus: Vec<Sku>,
        /// What a closed key keeps of it.
        shortages: Vec<Shortage>,
    },
    /// There is no such SKU, or not at the location named: the answer.
    UnknownSku(Vec<(Sku, Option<Location>)>),
    /// The record has enough, so the counter was wrong: publish what was read and ask the gate again.
    Enough,
}

/// What a Reserve wants, and what keeps its SKUs from being sold.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// What was asked for.
    pub cart: &'a Cart,
    /// How. For one that replaces a hold, `availability` must have that hold's units too ([`Availability::give_back`]).
    pub terms: &'a Terms,
    /// Which SKUs are paused, by the same read as the rows; others than the cart's may be in it.
    pub paused: &'a BTreeSet<Sku>,
}

/// Decides. `record` is what stands under the key, read in the same statement as the rows or before them; `availability` has every row of every SKU of the cart, holds
/// that are over not counted.
#[must_use]
pub fn read(
    now: UnixMicros,
    record: Option<&Record>,
    payload: PayloadHash,
    wanted: Wanted<'_>,
    availability: &Availability,
) -> Reading {
    let Wanted { cart, terms, paused } = wanted;
    if let Some(record) = record {
        return Reading::Settled(settled(now, record, payload));
    }
    let choice = if terms.best_effort {
        choose_best(cart, &terms.strategy, availability).map(|_| ())
    } else {
        choose_cart(cart, &terms.strategy, availability).map(|_| ())
    };
    let is_paused: Vec<Sku> = cart.skus().filter(|sku| paused.contains(*sku)).cloned().collect();
    match choice {
        Err(NoChoice::Unknown(lines)) => Reading::UnknownSku(lines),
        _ if !is_paused.is_empty() => {
            Reading::Paused { skus: is_paused, shortages: cart.lines().iter().map(Line::not_sold).collect() }
        }
        Ok(()) => Reading::Enough,
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
