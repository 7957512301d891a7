//! Lets so many calls be on their way to Redis at once, and so many more wait for their turn.
//!
//! Why: the time that a call has for its answer is meant to tell a dead Redis from a living one. In a rush of thousands most of it would go by in our own queue,
//! and a living Redis would count as dead at the worst moment. So a call's time begins with its turn.

use holdfast_kit::Fill;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The turns and the places to wait for one.
#[derive(Debug)]
pub(super) struct Turns {
    turns: Semaphore,
    places: Semaphore,
    places_max: usize,
}

/// A turn, given back when dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _turn: SemaphorePermit<'a>,
    _place: SemaphorePermit<'a>,
}

impl Turns {
    /// So many calls at once and so many waiting.
    pub(super) fn new(in_flight_max: usize, waiting_max: usize) -> Self {
        let in_flight_max = in_flight_max.max(1);
        let places_max = in_flight_max + waiting_max;
        Self { turns: Semaphore::new(in_flight_max), places: Semaphore::new(places_max), places_max }
    }

    /// How many have a turn or wait for one.
    pub(super) fn fill(&self) -> Fill {
        Fill { used: self.places_max.saturating_sub(self.places.available_permits()), limit: self.places_max }
    }

    /// Waits for a turn, in the order of asking; none at once if too many wait already. It ends because every turn ends: a call takes at most its timeout.
    pub(super) async fn wait(&self) -> Option<Turn<'_>> {
        let place = self.places.try_acquire().ok()?;
        let turn = self.turns.acquire().await.ok()?;
        Some(Turn { _turn: turn, _place: place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_call_waits_for_the_turn_of_another_to_end() {
        let turns = Turns::new(1, 1);
        let Poll::Ready(Some(first)) = poll(pin!(turns.wait())) else { panic!("a free turn") };
        let mut second = pin!(turns.wait());
        assert!(poll(second.as_mut()).is_pending());
        drop(first);
        assert!(matches!(poll(second), Poll::Ready(Some(_))));
    }

    #[test]
    fn a_call_too_many_does_not_wait() {
        let turns = Turns::new(1, 1);
        let _first = poll(pin!(turns.wait()));
        let mut second = Box::pin(turns.wait());
        assert!(poll(second.as_mut()).is_pending());
        assert!(matches!(poll(pin!(turns.wait())), Poll::Ready(None)));
        assert_eq!(turns.fill(), Fill { used: 2, limit: 2 });
        drop(second);
        assert!(poll(pin!(turns.wait())).is_pending(), "who gives up makes room");
    }
}
