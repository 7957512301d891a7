//! Sending a call again where that is safe: only after UNAVAILABLE, an attempt's DEADLINE_EXCEEDED, a broken connection, or RESOURCE_EXHAUSTED with
//! RetryInfo; within one deadline, with full jitter, and within a budget, so that retries never multiply an outage. Never two attempts at a time.

use std::future::Future;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rand::Rng as _;
use tokio::time::Instant;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use crate::connection::Connection;
use crate::error::{Error, Failure, Outcome};
use crate::trace;

/// When a call is sent again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// Most attempts for a call, the first included; 1 means no retry. Default 5.
    pub attempts_max: u32,
    /// The longest pause before the first retry; it doubles with each. The pause itself is drawn evenly from nothing to this. Default 25 ms.
    pub backoff_first: Duration,
    /// The longest pause before any retry. Default 1 s.
    pub backoff_max: Duration,
    /// How many retries a connection may make ahead of its successes: each takes one from the budget, each success puts a tenth of one back. An empty
    /// budget means that most calls fail, when retries only make it worse. Default 100.
    pub budget: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: 5,
            backoff_first: Duration::from_millis(25),
            backoff_max: Duration::from_secs(1),
            budget: 100,
        }
    }
}

impl RetryPolicy {
    /// Never sends anything again: for callers that keep their own history of attempts.
    pub const NEVER: Self =
        Self { attempts_max: 1, backoff_first: Duration::ZERO, backoff_max: Duration::ZERO, budget: 0 };

    /// The pause after `attempts` attempts: full jitter under an exponential ceiling, and never before `retry_after`.
    pub(crate) fn pause(&self, attempts: u32, retry_after: Option<Duration>) -> Duration {
        let doublings = attempts.saturating_sub(1).min(20);
        let ceiling = self.backoff_first.saturating_mul(1 << doublings).min(self.backoff_max);
        let jitter = rand::rng().random_range(Duration::ZERO..=ceiling);
        retry_after.unwrap_or_default() + jitter
    }
}

/// The retries that a connection may still make, in tenths.
#[derive(Debug)]
pub(crate) struct Budget {
    tenths: AtomicI64,
    tenths_max: i64,
}

impl Budget {
    pub(crate) fn new(retries: u32) -> Self {
        let tenths_max = i64::from(retries) * 10;
        Self { tenths: AtomicI64::new(tenths_max), tenths_max }
    }

    /// Takes one retry, if there is one.
    fn take(&self) -> bool {
        self.tenths
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tenths| (tenths >= 10).then(|| tenths - 10))
            .is_ok()
    }

    fn put_back_a_tenth(&self) {
        // Err means that it is full, which is as good.
        let _full = self.tenths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tenths| {
            (tenths < self.tenths_max).then(|| tenths + 1)
        });
    }
}

impl Connection {
    /// Makes a call until it succeeds, fails for good, or runs out of time, attempts or budget.
    ///
    /// `request` makes the message, told how many earlier attempts are open (their outcome unknown): Reserve marks its retries with it. `send`
    /// sends it.
    pub(crate) async fn call<Q, R, F>(
        &self,
        mut request: impl FnMut(u32) -> Q,
        mut send: impl FnMut(Request<Q>) -> F,
    ) -> Result<R, Error>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let deadline = Instant::now() + self.settings.deadline;
        let (mut attempts, mut open) = (0, 0);
        loop {
            attempts += 1;
            let timeout = self.settings.attempt_timeout.min(deadline.saturating_duration_since(Instant::now()));
            let prepared = self.prepare(request(open), timeout, open);
            let failure = match tokio::time::timeout(timeout, send(prepared)).await {
                Ok(Ok(response)) => {
                    self.budget.put_back_a_tenth();
                    return Ok(response.into_inner());
                }
                Ok(Err(status)) => Failure::from_status(&status),
                Err(_elapsed) => Failure::no_answer(timeout),
            };
            let Some(pause) = self.pause_before_retry(&failure, attempts, deadline) else {
                return Err(failure.into_error(attempts, open > 0));
            };
            if failure.error.outcome() == Outcome::Unknown {
                open += 1;
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn prepare<Q>(&self, message: Q, timeout: Duration, open: u32) -> Request<Q> {
        let mut request = self.endless(message);
        request.set_timeout(timeout);
        if open > 0 {
            request.metadata_mut().insert("grpc-previous-rpc-attempts", MetadataValue::from(open));
        }
        request
    }

    /// A request without a deadline: for streams that last.
    pub(crate) fn endless<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        if let Some(token) = &self.token {
            metadata.insert("authorization", token.clone());
        }
        trace::inject(metadata);
        request
    }

    /// How long to wait before the next attempt; `None` if there shall be none.
    fn pause_before_retry(&self, failure: &Failure, attempts: u32, deadline: Instant) -> Option<Duration> {
        let policy = &self.settings.retry;
        if !failure.retryable || attempts >= policy.attempts_max {
            return None;
        }
        let pause = policy.pause(attempts, failure.retry_after);
        let in_time = Instant::now() + pause < deadline;
        (in_time && self.budget.take()).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_and_successes_refill_it_slowly() {
        let budget = Budget::new(2);
        assert!(budget.take() && budget.take());
        assert!(!budget.take(), "only two were there");
        for _ in 0..9 {
            budget.put_back_a_tenth();
        }
        assert!(!budget.take(), "nine tenths are not one");
        budget.put_back_a_tenth();
        assert!(budget.take());
        for _ in 0..1000 {
            budget.put_back_a_tenth();
        }
        assert!(budget.take() && budget.take() && !budget.take(), "it never holds more than at first");
    }

    #[test]
    fn pauses_are_jittered_under_a_doubling_ceiling_and_after_the_servers_wish() {
        let policy = RetryPolicy::default();
        for _ in 0..200 {
            assert!(policy.pause(1, None) <= Duration::from_millis(25));
            assert!(policy.pause(3, None) <= Duration::from_millis(100));
            assert!(policy.pause(60, None) <= Duration::from_secs(1));
            let wished = policy.pause(1, Some(Duration::from_millis(300)));
            assert!((300..=325).contains(&wished.as_millis()));
        }
    }
}
