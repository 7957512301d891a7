//! Runs a pod: its init containers, its containers, their probes; and ends it, as orderly as its object says.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::cluster::{Fault, Shared};
use super::pod::{Phase, Pod};
use super::podspec::{Container, RestartPolicy};
use super::probe::{Prober, Verdict};
use super::sandbox;
use crate::process::{Process, Spec};
use crate::project::write_private;
use crate::stack::beside_us;

/// The pause before a container is started again. Kubernetes' is 10 s and grows; nobody learns anything from waiting here.
const BACK_OFF: Duration = Duration::from_millis(500);

/// How a container's process came to its end.
enum Ended {
    /// By itself, by its probes or by a fault.
    Exited(i32),
    /// Because its pod is to end.
    Stopped,
}

/// Runs a pod to its end.
pub(super) async fn run(shared: Arc<Shared>, pod: Arc<Pod>) {
    let deadline = pod.spec.active_deadline_seconds.map(Duration::from_secs);
    // Not a task of its own: who drops this drops the containers with it.
    let mut life = Box::pin(live(&shared, &pod));
    let phase = tokio::select! {
        phase = &mut life => phase,
        () = overdue(deadline) => {
            shared.say(&format!("{} takes longer than it may", pod.name));
            pod.stop.send_replace(true);
            shared.change();
            life.as_mut().await
        }
    };
    drop(life);
    pod.now(|status| status.phase = phase);
    shared.change();
    // It stays to be looked at until somebody removes it.
    asked_to_end(&pod).await;
    shared.forget(&pod);
}

async fn overdue(deadline: Option<Duration>) {
    match deadline {
        Some(deadline) => sleep(deadline).await,
        None => std::future::pending().await,
    }
}

async fn live(shared: &Arc<Shared>, pod: &Arc<Pod>) -> Phase {
    for container in &pod.spec.init_containers {
        if container.restart_policy.is_some() {
            shared.fault(pod, Fault::CannotRun(format!("{} goes on beside the others", container.name)));
            return Phase::Failed;
        }
        let policy = match pod.spec.restart_policy {
            RestartPolicy::Always => RestartPolicy::OnFailure,
            other => other,
        };
        match keep_running(shared, pod, container, policy).await {
            Ended::Exited(0) => {}
            Ended::Exited(_) | Ended::Stopped => return Phase::Failed,
        }
    }
    pod.now(|status| status.phase = Phase::Running);
    shared.change();
    let mut containers = JoinSet::new();
    for container in pod.spec.containers.clone() {
        let (shared, pod) = (Arc::clone(shared), Arc::clone(pod));
        containers.spawn(async move {
            let policy = pod.spec.restart_policy;
            keep_running(&shared, &pod, &container, policy).await
        });
    }
    let ended = containers.join_all().await;
    let well = ended.iter().all(|ended| matches!(ended, Ended::Exited(0)));
    if well { Phase::Succeeded } else { Phase::Failed }
}

/// Starts a container, again and again if its pod wants that.
async fn keep_running(shared: &Shared, pod: &Pod, container: &Container, policy: RestartPolicy) -> Ended {
    loop {
        let ended = once(shared, pod, container).await;
        pod.set_ready(&container.name, false);
        shared.change();
        match (ended, policy) {
            (Ended::Stopped, _) => return Ended::Stopped,
            (Ended::Exited(code), RestartPolicy::Never) => return Ended::Exited(code),
            (Ended::Exited(0), RestartPolicy::OnFailure) => return Ended::Exited(0),
            (Ended::Exited(code), RestartPolicy::Always | RestartPolicy::OnFailure) => {
                shared.say(&format!("{}/{} ended with {code} and is started again", pod.name, container.name));
                pod.now(|status| status.restarts += 1);
                if pause(pod).await {
                    return Ended::Stopped;
                }
            }
        }
    }
}

/// Waits a little, or until the pod is to end; says which.
async fn pause(pod: &Pod) -> bool {
    timeout(BACK_OFF, asked_to_end(pod)).await.is_ok()
}

async fn asked_to_end(pod: &Pod) {
    let mut stop = pod.stop.subscribe();
    let _the_sender_is_here = stop.wait_for(|stopped| *stopped).await;
}

/// Runs a container once.
async fn once(shared: &Shared, pod: &Pod, container: &Container) -> Ended {
    let (mut process, mut prober) = loop {
        if pod.terminating() {
            return Ended::Stopped;
        }
        match start(shared, pod, container).await {
            Ok(started) => break started,
            // As with the kubelet, what is missing may still come.
            Err(why) => {
                let waits = format!("{}: {why}", container.name);
                if pod.status().waits_for != waits {
                    shared.say(&format!("{} waits: {waits}", pod.name));
                    pod.now(|status| status.waits_for = waits);
                    shared.change();
                }
                if pause(pod).await {
                    return Ended::Stopped;
                }
            }
        }
    };
    pod.now(|status| status.waits_for.clear());
    if prober.ready_at_once() {
        pod.set_ready(&container.name, true);
        shared.change();
    }
    loop {
        tokio::select! {
            ended = process.wait() => return Ended::Exited(judge(shared, pod, container, &process, ended)),
            () = asked_to_end(pod) => {
                end(shared, pod, container, &mut process).await;
                return Ended::Stopped;
            }
            () = pod.kill.notified() => process.signal(Signal::KILL),
            verdict = prober.next() => match verdict {
                Verdict::Started => {}
                Verdict::Ready(ready) => {
                    shared.say(&format!("{} is {}", pod.name, if ready { "ready" } else { "not ready" }));
                    pod.set_ready(&container.name, ready);
                    shared.change();
                }
                Verdict::Restart(why) => {
                    shared.fault(pod, Fault::ProbeFailed(why));
                    pod.set_ready(&container.name, false);
                    return Ended::Exited(end(shared, pod, container, &mut process).await);
                }
            },
        }
    }
}

async fn start(shared: &Shared, pod: &Pod, container: &Container) -> Result<(Process, Prober), String> {
    shared.has_account(pod.spec.service_account_name.as_deref())?;
    pod.lay_volumes(shared)?;
    let sandbox = pod.sandbox(shared, container)?;
    let file = pod.folder.join(format!("{}.json", container.name));
    let text = serde_json::to_string(&sandbox).map_err(|error| error.to_string())?;
    write_private(&file, &text).map_err(|error| error.to_string())?;
    let runtime = beside_us("holdfast-stack", "holdfast-stack").map_err(|error| error.to_string())?;
    let log = shared.folder.join(format!("{}.{}.log", pod.name, container.name));
    let name = format!("{}/{}", pod.name, container.name);
    let spec = Spec::new(name, runtime).arg("container").arg(&file).log(log);
    let process = Process::spawn(&spec).await.map_err(|error| error.to_string())?;
    let prober = Prober::new(container, pod.address)?;
    Ok((process, prober))
}

/// What a container's end is called.
fn judge(
    shared: &Shared,
    pod: &Pod,
    container: &Container,
    process: &Process,
    ended: crate::Result<ExitStatus>,
) -> i32 {
    let code = ended.map_or(1, |status| status.code().or_else(|| status.signal().map(|it| 128 + it)).unwrap_or(1));
    if code == i32::from(sandbox::EXIT_RUNTIME) {
        let said = crate::process::last_lines(&process.log_text(), 4);
        shared.fault(pod, Fault::CannotRun(format!("{}: {said}", container.name)));
    }
    code
}

/// Ends a container as its object says: the pause before, SIGTERM, and SIGKILL when the grace is over. Its exit code.
async fn end(shared: &Shared, pod: &Pod, container: &Container, process: &mut Process) -> i32 {
    let give_up = Instant::now() + Duration::from_secs(pod.spec.termination_grace_period_seconds);
    if let Some(before) = &container.lifecycle.pre_stop {
        let pause = Duration::from_secs(before.sleep.seconds);
        if let Ok(ended) = timeout(pause, process.wait()).await {
            return judge(shared, pod, container, process, ended);
        }
    }
    let asked = Instant::now();
    process.signal(Signal::TERM);
    let Ok(ended) = tokio::time::timeout_at(give_up, process.wait()).await else {
        shared.fault(pod, Fault::Killed(container.name.clone()));
        process.signal(Signal::KILL);
        let ended = process.wait().await;
        return judge(shared, pod, container, process, ended);
    };
    let code = judge(shared, pod, container, process, ended);
    shared.say(&format!("{}/{} ended with {code} {:?} after SIGTERM", pod.name, container.name, asked.elapsed()));
    // Whoever serves ends in order. What only prepares may end as signals end programs.
    let serves = pod.spec.containers.iter().any(|one| one.name == container.name);
    let by_signal = code == 128 + Signal::TERM.as_raw();
    if code != 0 && (serves || !by_signal) {
        shared.fault(pod, Fault::EndedBadly(container.name.clone(), code));
    }
    code
}
