//! Tasks in the background of a service, ended in order.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// The background tasks of a process. Clones share them.
///
/// A task that panics takes the process with it (its token is cancelled, [`Tasks::shutdown`] reports it): a service whose committer or sweeper died
/// must not look healthy.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    running: Vec<&'static str>,
    panicked: Vec<&'static str>,
}

/// Background tasks that did not end well.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TasksError {
    /// These panicked; the log has each panic.
    #[error("background tasks panicked: {0:?}")]
    Panicked(Vec<&'static str>),
    /// These were still running when the time was over.
    #[error("background tasks did not end in time: {0:?}")]
    Running(Vec<&'static str>),
}

impl Tasks {
    /// Tasks that end when `token` is cancelled; cancelled too when one of them panics.
    #[must_use]
    pub fn new(token: CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), token, state: Arc::default() }
    }

    /// The token: a task returns soon after it is cancelled.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Starts a task. `name` stands in the log.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.lock().running.push(name);
        let end = End { tasks: self.clone(), name, finished: false };
        // In no span: one that lasted as long as the process would be the parent of every trace that the task begins.
        self.tracker.spawn(async move {
            let mut end = end;
            task.await;
            end.finished = true;
        });
    }

    /// Cancels the token and waits for all tasks, at most so long.
    ///
    /// # Errors
    /// When a task panicked at any time, or some did not end in time; those go on running until the process ends.
    pub async fn shutdown(&self, seconds_max: Duration) -> Result<(), TasksError> {
        self.token.cancel();
        self.tracker.close();
        let ended = tokio::time::timeout(seconds_max, self.tracker.wait()).await;
        let state = self.lock();
        if !state.panicked.is_empty() {
            return Err(TasksError::Panicked(state.panicked.clone()));
        }
        ended.map_err(|_| TasksError::Running(state.running.clone()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `work` to its end in a task of its own, even if whoever waits for it stops waiting (a deadline, a client that has gone). Work on a store belongs
/// here: half of a transaction must never be dropped.
///
/// # Panics
/// When `work` panics, with the same payload.
pub async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work.in_current_span()).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Notes that a task ended, also when it unwinds.
struct End {
    tasks: Tasks,
    name: &'static str,
    finished: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.tasks.lock();
        if let Some(at) = state.running.iter().position(|name| *name == self.name) {
            state.running.swap_remove(at);
        }
        if !self.finished && std::thread::panicking() {
            state.panicked.push(self.name);
            drop(state);
            tracing::error!(task = self.name, "a background task panicked: the process ends");
            self.tasks.token.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn tasks_are_told_to_end_and_waited_for() {
        let tasks = Tasks::new(CancellationToken::new());
        let ended = Arc::new(AtomicBool::new(false));
        let (token, seen) = (tasks.token().clone(), Arc::clone(&ended));
        tasks.spawn("sweeper", async move {
            token.cancelled().await;
            tokio::task::yield_now().await;
            seen.store(true, Ordering::SeqCst);
        });
        tasks.shutdown(Duration::from_secs(10)).await.unwrap();
        assert!(ended.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_panic_ends_the_process_and_is_named() {
        let token = CancellationToken::new();
        let tasks = Tasks::new(token.clone());
        tasks.spawn("committer", async { panic!("told to") });
        tokio::time::timeout(Duration::from_secs(10), token.cancelled()).await.expect("the process is told to end");
        let error = tasks.shutdown(Duration::from_secs(10)).await.unwrap_err();
        assert_eq!(error, TasksError::Panicked(vec!["committer"]));
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_named() {
        let tasks = Tasks::new(CancellationToken::new());
        tasks.spawn("quick", async {});
        tasks.spawn("deaf", std::future::pending());
        let error = tasks.shutdown(Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(error, TasksError::Running(vec!["deaf"]));
    }

    #[tokio::test]
    async fn work_runs_to_its_end_though_nobody_waits() {
        let (go, told) = oneshot::channel();
        let (done, finished) = oneshot::channel();
        let work = to_the_end(async move {
            told.await.unwrap();
            done.send(7).unwrap();
        });
        tokio::time::timeout(Duration::from_millis(10), work).await.unwrap_err();
        go.send(()).unwrap();
        assert_eq!(finished.await, Ok(7));
    }
}
