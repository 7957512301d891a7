//! Decides when Redis is no longer asked, so that a dead or slow gate costs a request nothing.
//!
//! A pure state machine: time comes in as an argument, and it must never wait, connect or log.

use std::time::{Duration, Instant};

/// What went wrong with a call, as far as the breaker cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setback {
    /// No answer in time, or an answer that says that the server cannot work now. It may pass: only several in a row
    /// count.
    Slow,
    /// The connection is gone: no call can succeed before there is another.
    Lost,
}

/// Which stretch of being closed a call belongs to. A call that began before the breaker last opened says nothing about
/// the connection that came after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch(u64);

/// Closed lets calls through; open answers for Redis until a probe succeeds.
#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: u32,
    probe_interval: Duration,
    epoch: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed { failures_in_a_row: u32 },
    Open { probe_at: Instant },
}

impl Breaker {
    /// A breaker that is open, its first probe due at once: nothing is known of Redis yet.
    ///
    /// `failures_max` calls in a row open it (at least 1); while it is open, probes are `probe_interval` apart.
    pub(super) fn new(failures_max: u32, probe_interval: Duration, now: Instant) -> Self {
        Self { failures_max: failures_max.max(1), probe_interval, epoch: 0, state: State::Open { probe_at: now } }
    }

    /// Whether a call may go to Redis now, and what to report its end with.
    pub(super) fn admit(&self) -> Option<Epoch> {
        match self.state {
            State::Closed { .. } => Some(Epoch(self.epoch)),
            State::Open { .. } => None,
        }
    }

    /// A call was answered in time.
    pub(super) fn succeeded(&mut self, epoch: Epoch) {
        if let State::Closed { failures_in_a_row } = &mut self.state
            && epoch == Epoch(self.epoch)
        {
            *failures_in_a_row = 0;
        }
    }

    /// A call failed. True if that opened the breaker: the connection is to be replaced, and a probe is due at once.
    pub(super) fn failed(&mut self, epoch: Epoch, setback: Setback, now: Instant) -> bool {
        let State::Closed { failures_in_a_row } = &mut self.state else { return false };
        if epoch != Epoch(self.epoch) {
            return false;
        }
        *failures_in_a_row += 1;
        let opens = match setback {
            Setback::Slow => *failures_in_a_row >= self.failures_max,
            Setback::Lost => true,
        };
        if opens {
            self.state = State::Open { probe_at: now };
        }
        opens
    }

    /// How long until the next probe is due; none while closed.
    pub(super) fn probe_in(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { probe_at } => Some(probe_at.saturating_duration_since(now)),
        }
    }

    /// A probe failed: the next one is due an interval later.
    pub(super) fn probe_failed(&mut self, now: Instant) {
        if let State::Open { probe_at } = &mut self.state {
            *probe_at = now + self.probe_interval;
        }
    }

    /// A probe succeeded: calls go through again, over the connection that it opened.
    pub(super) fn probe_succeeded(&mut self) {
        if let State::Open { .. } = self.state {
            self.epoch += 1;
            self.state = State::Closed { failures_in_a_row: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(100);

    fn closed(failures_max: u32) -> (Breaker, Epoch, Instant) {
        let now = Instant::now();
        let mut breaker = Breaker::new(failures_max, INTERVAL, now);
        breaker.probe_succeeded();
        let epoch = breaker.admit().expect("closed");
        (breaker, epoch, now)
    }

    #[test]
    fn a_new_breaker_lets_nothing_through_and_probes_at_once() {
        let now = Instant::now();
        let breaker = Breaker::new(3, INTERVAL, now);
        assert_eq!(breaker.admit(), None);
        assert_eq!(breaker.probe_in(now), Some(Duration::ZERO));
    }

    #[test]
    fn slow_calls_open_it_only_in_a_row() {
        let (mut breaker, epoch, now) = closed(3);
        assert!(!breaker.failed(epoch, Setback::Slow, now));
        assert!(!breaker.failed(epoch, Setback::Slow, now));
        breaker.succeeded(epoch);
        assert!(!breaker.failed(epoch, Setback::Slow, now));
        assert!(!breaker.failed(epoch, Setback::Slow, now));
        assert!(breaker.admit().is_some());
        assert!(breaker.failed(epoch, Setback::Slow, now), "the third in a row");
        assert_eq!(breaker.admit(), None);
        assert_eq!(breaker.probe_in(now), Some(Duration::ZERO));
    }

    #[test]
    fn a_lost_connection_opens_it_at_once() {
        let (mut breaker, epoch, now) = closed(100);
        assert!(breaker.failed(epoch, Setback::Lost, now));
        assert_eq!(breaker.admit(), None);
    }

    #[test]
    fn it_opens_once_however_many_calls_fail_together() {
        let (mut breaker, epoch, now) = closed(1);
        assert!(breaker.failed(epoch, Setback::Slow, now));
        assert!(!breaker.failed(epoch, Setback::Slow, now));
        assert!(!breaker.failed(epoch, Setback::Lost, now));
    }

    #[test]
    fn failed_probes_come_an_interval_apart() {
        let (mut breaker, epoch, now) = closed(1);
        breaker.failed(epoch, Setback::Slow, now);
        breaker.probe_failed(now);
        assert_eq!(breaker.probe_in(now), Some(INTERVAL));
        assert_eq!(breaker.probe_in(now + INTERVAL / 2), Some(INTERVAL / 2));
        assert_eq!(breaker.probe_in(now + 2 * INTERVAL), Some(Duration::ZERO), "overdue is due");
    }

    #[test]
    fn a_probe_that_succeeds_closes_it_and_forgets_old_failures() {
        let (mut breaker, epoch, now) = closed(2);
        breaker.failed(epoch, Setback::Slow, now);
        breaker.failed(epoch, Setback::Slow, now);
        breaker.probe_succeeded();
        let epoch = breaker.admit().expect("closed again");
        assert_eq!(breaker.probe_in(now), None);
        assert!(!breaker.failed(epoch, Setback::Slow, now));
    }

    #[test]
    fn a_call_from_before_the_last_opening_says_nothing_about_the_new_connection() {
        let (mut breaker, old, now) = closed(1);
        breaker.failed(old, Setback::Lost, now);
        breaker.probe_succeeded();
        assert!(!breaker.failed(old, Setback::Lost, now));
        assert!(breaker.admit().is_some());
    }
}
