//! Waiting for a condition, so that no test has to guess how long something takes.

use std::time::{Duration, Instant};

/// Asks until the condition holds and returns what it found; asks every 5 ms.
///
/// # Panics
///
/// After `within`, with `what` and the place of the call.
#[track_caller]
pub fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    within: Duration,
    mut condition: impl FnMut() -> F,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        let give_up = Instant::now() + within;
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            assert!(Instant::now() < give_up, "not within {within:?}: {what} (asked at {caller})");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_is_asked_until_it_holds() {
        let mut asked = 0;
        let found = eventually("the third answer", Duration::from_secs(10), || {
            asked += 1;
            let answer = (asked == 3).then_some(asked);
            async move { answer }
        });
        assert_eq!(found.await, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "not within 1ms: the moon")]
    async fn a_condition_that_never_holds_fails_the_test() {
        eventually("the moon", Duration::from_millis(1), || async { None::<()> }).await;
    }
}
