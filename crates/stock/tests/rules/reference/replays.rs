//! A key that was used before: the first answer and the current state, or that it stands for something else.

use super::Reference;
use crate::world::Outcome;
use holdfast_stock::{Answer, Op, PayloadHash, Record, Refusal, ReservationAnswer, ReservationId, State};

impl Reference {
    /// What a request is answered whose own key has landed; none if it has not, or has none.
    pub(super) fn replay(&self, op: &Op) -> Option<Outcome> {
        let (request, payload) = op.request()?;
        let (first, answer) = self.requests.get(&request)?;
        if *first != payload {
            return Some(Err(Refusal::KeyReused));
        }
        let mut answer = answer.clone();
        match &mut answer {
            Answer::Reservation(told) => **told = self.again(&told.first),
            Answer::Counted { replayed, .. } | Answer::Adjusted { replayed, .. } | Answer::Sold { replayed, .. } => {
                *replayed = true;
            }
            Answer::Expiry { .. } | Answer::Policies { .. } | Answer::Freshened { .. } | Answer::Repaired { .. } => {
                unreachable!("has no key")
            }
        }
        Some(Ok(answer))
    }

    /// What was told of a reservation, told again. The order and the successor are noted once and for all, so they are those of now.
    fn again(&self, first: &Record) -> ReservationAnswer {
        let paper = &self.reservations[&first.id];
        let mut first = first.clone();
        first.details.order.clone_from(&paper.page.details.order);
        first.successor = paper.page.successor;
        ReservationAnswer {
            first,
            current_state: paper.state(self.now),
            current_expires_at: paper.page.expires_at,
            replayed: true,
        }
    }

    /// What a Reserve is answered whose key was used; none if it was not.
    pub(super) fn settled(&self, id: ReservationId, payload: PayloadHash) -> Option<Outcome> {
        let paper = self.reservations.get(&id)?;
        Some(match paper.page.payload {
            None => Err(Refusal::Released),
            Some(first) if first != payload => Err(Refusal::KeyReused),
            Some(_) if paper.page.state == State::Refused => Err(Refusal::Insufficient(paper.page.shortages.clone())),
            Some(_) => {
                let mut again = self.again(paper.first.as_ref().unwrap());
                // That another took its place is no part of what a Reserve is answered.
                again.first.successor = None;
                Ok(Answer::Reservation(Box::new(again)))
            }
        })
    }
}
