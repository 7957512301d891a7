//! Jobs: a pod that has to end well once, tried so often.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::cluster::Shared;
use super::objects::JobSpec;
use super::pod::Phase;
use super::podspec::RestartPolicy;

/// How a Job came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has not ended.
    Active,
    /// One of its pods ended well.
    Complete,
    /// Too many did not, or it took too long.
    Failed,
}

/// Runs a Job to its end.
pub(super) async fn run(shared: Arc<Shared>, name: String, spec: JobSpec) {
    let give_up = spec.active_deadline_seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut failures = 0;
    let outcome = loop {
        let attempt = attempt(&shared, &name, &spec);
        let well = match give_up {
            Some(moment) => timeout_at(moment, attempt).await,
            None => Ok(attempt.await),
        };
        match well {
            Ok(Some(true)) => break Outcome::Complete,
            // It was removed.
            Ok(None) => return,
            Ok(Some(false)) => failures += 1,
            Err(_elapsed) => break Outcome::Failed,
        }
        if failures > spec.backoff_limit {
            break Outcome::Failed;
        }
    };
    if outcome == Outcome::Failed {
        shared.stop_owned(&name);
    }
    shared.say(&format!("Job {name}: {outcome:?} after {failures} failures"));
    shared.job_ended(&name, outcome, failures);
}

/// Whether one more pod ended well; nothing when it was taken away.
async fn attempt(shared: &Arc<Shared>, name: &str, spec: &JobSpec) -> Option<bool> {
    let mut template = spec.template.clone();
    if template.spec.restart_policy == RestartPolicy::Always {
        shared.say(&format!("Job {name}: restartPolicy Always is not for Jobs"));
        return Some(false);
    }
    template.metadata.labels.insert("batch.kubernetes.io/job-name".to_owned(), name.to_owned());
    let made = shared.make_pod(name, "", &format!("{name}-{}", shared.count()), template);
    let pod = match made {
        Ok(pod) => pod,
        Err(error) => {
            shared.say(&format!("Job {name}: {error}"));
            return Some(false);
        }
    };
    let mut changed = shared.changed();
    loop {
        let phase = pod.status().phase;
        let taken_away = pod.terminating();
        match phase {
            Phase::Succeeded => return Some(true),
            Phase::Failed => return (!taken_away).then_some(false),
            Phase::Pending | Phase::Running => {}
        }
        changed.changed().await.ok()?;
    }
}
