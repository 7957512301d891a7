//! A cluster of one namespace on this machine: what its objects are now, and the controllers that make it so.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::deployment::{Member, step};
use super::job::{self, Outcome};
use super::kubelet;
use super::network::Network;
use super::objects::{DeploymentSpec, JobSpec, Object, Texts};
use super::pod::{Phase, Pod};
use super::podspec::Template;
use super::probe;
use crate::error::{Result, StackError};

/// A running cluster. Dropping it kills what runs in it.
#[derive(Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
    controllers: JoinHandle<()>,
}

/// Something that should not happen to a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A container had to be killed, because it did not end within its grace.
    Killed(String),
    /// A container that was asked to end did not end with 0.
    EndedBadly(String, i32),
    /// Startup or liveness: it was started anew.
    ProbeFailed(String),
    /// It could not be run at all.
    CannotRun(String),
}

/// What controllers, kubelet and tests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) folder: PathBuf,
    pub(super) namespace: String,
    pub(super) network: Network,
    state: Mutex<State>,
    version: watch::Sender<u64>,
    began: Instant,
}

#[derive(Debug, Default)]
struct State {
    /// Folders with programs, by the image that they are.
    images: BTreeMap<String, PathBuf>,
    secrets: BTreeMap<String, Texts>,
    config_maps: BTreeMap<String, Texts>,
    accounts: Vec<String>,
    claims: Vec<String>,
    deployments: BTreeMap<String, Deployment>,
    jobs: BTreeMap<String, JobState>,
    pods: BTreeMap<String, Arc<Pod>>,
    tasks: Vec<JoinHandle<()>>,
    faults: Vec<(String, Fault)>,
    made: usize,
}

#[derive(Debug)]
struct Deployment {
    spec: DeploymentSpec,
    replicas: usize,
    revision: String,
}

#[derive(Debug)]
struct JobState {
    template: String,
    outcome: Outcome,
    failures: usize,
    task: JoinHandle<()>,
}

/// How a Deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollout {
    /// Pods that there should be.
    pub wanted: usize,
    /// Pods of the template as it is now.
    pub current: usize,
    /// Those of them that serve.
    pub current_ready: usize,
    /// Pods of older templates, also those that are ending.
    pub old: usize,
    /// Pods of any template that serve.
    pub ready: usize,
}

impl Rollout {
    /// Whether all pods are of the template as it is now, and serve.
    pub fn complete(self) -> bool {
        (self.current, self.current_ready, self.old) == (self.wanted, self.wanted, 0)
    }
}

impl Cluster {
    /// An empty cluster; everything of it lies below `folder`, logs of containers as `*.log`.
    ///
    /// # Errors
    ///
    /// [`StackError::NotWritable`].
    pub fn start(folder: &Path, namespace: &str) -> Result<Self> {
        let network = Network::new(folder.join("names"), namespace)?;
        let shared = Arc::new(Shared {
            folder: folder.to_path_buf(),
            namespace: namespace.to_owned(),
            network,
            state: Mutex::default(),
            version: watch::Sender::new(0),
            began: Instant::now(),
        });
        let controllers = tokio::spawn(control(Arc::clone(&shared)));
        Ok(Self { shared, controllers })
    }

    /// Says which folder of programs an image is: `holdfast` for all roles, or one program for each.
    pub fn image(&self, reference: &str, programs: &Path) {
        self.shared.state().images.insert(reference.to_owned(), programs.to_path_buf());
    }

    /// Lets pods find something by name that runs on this machine, as a Service without pods or DNS would.
    ///
    /// # Errors
    ///
    /// [`StackError::NotWritable`].
    pub fn outside(&self, name: &str) -> Result<()> {
        self.shared.network.outside(name)
    }

    /// Makes a Secret, or changes one. Pods that have it as files see the change.
    pub fn secret(&self, name: &str, keys: Texts) {
        self.shared.state().secrets.insert(name.to_owned(), keys);
        self.shared.refresh_volumes();
        self.shared.change();
    }

    /// Makes an object, or changes it into this.
    ///
    /// # Errors
    ///
    /// [`StackError::Usage`] when it cannot be changed like that, [`StackError::Io`] when the machine does not give what it needs.
    pub async fn apply(&self, object: &Object) -> Result<()> {
        let shared = &self.shared;
        let name = object.metadata().name.clone();
        match object {
            Object::ConfigMap(_, data) => {
                shared.state().config_maps.insert(name, data.clone());
                shared.refresh_volumes();
            }
            Object::ServiceAccount(_) => shared.state().accounts.push(name),
            Object::Claim(_) => shared.state().claims.push(name),
            Object::Service(_, spec) => shared.network.serve(&name, spec).await?,
            Object::Deployment(_, spec) => {
                let mut state = shared.state();
                // A number that was never given stays what an autoscaler made of it; one that is taken away becomes the API server's default.
                let scaled = state.deployments.get(&name).filter(|before| before.spec.replicas.is_none());
                let replicas = spec.replicas.or(scaled.map(|before| before.replicas)).unwrap_or(1);
                let revision = revision(&spec.template);
                state.deployments.insert(name, Deployment { spec: spec.clone(), replicas, revision });
            }
            Object::Autoscaler(_, spec) => {
                if let Some(deployment) = shared.state().deployments.get_mut(&spec.scale_target_ref.name) {
                    deployment.replicas = deployment.replicas.max(spec.min_replicas);
                }
            }
            Object::Job(_, spec) => shared.make_job(&name, spec)?,
            Object::Pod(metadata, spec) => {
                let template = Template { metadata: metadata.clone(), spec: spec.clone() };
                shared.make_pod("", "", &name, template)?;
            }
            Object::Elsewhere(_) => {}
        }
        shared.change();
        Ok(())
    }

    /// Removes an object; what runs because of it ends in order.
    ///
    /// # Errors
    ///
    /// [`StackError::NotWritable`].
    pub fn remove(&self, object: &Object) -> Result<()> {
        let name = &object.metadata().name;
        match object {
            Object::ConfigMap(..) => drop(self.shared.state().config_maps.remove(name)),
            Object::Service(..) => self.shared.network.forget(name)?,
            Object::Deployment(..) => {
                let gone = self.shared.state().deployments.remove(name);
                drop(gone);
                self.shared.stop_owned(name);
            }
            Object::Job(..) => {
                let gone = self.shared.state().jobs.remove(name);
                if let Some(job) = gone {
                    job.task.abort();
                }
                self.shared.stop_owned(name);
            }
            Object::Pod(..) => self.shared.stop_pod(name),
            Object::ServiceAccount(_) => self.shared.state().accounts.retain(|one| one != name),
            // What lies in it stays, as in a cluster that keeps volumes.
            Object::Claim(_) | Object::Autoscaler(..) | Object::Elsewhere(_) => {}
        }
        self.shared.change();
        Ok(())
    }

    /// Waits until it is as wanted.
    ///
    /// # Errors
    ///
    /// [`StackError::NotReady`] with how all pods are, when it is not within the time.
    pub async fn until(&self, what: &str, within: Duration, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let mut changed = self.shared.changed();
        let waiting = async {
            while !holds(self) {
                let _the_sender_is_here = changed.changed().await;
            }
        };
        tokio::time::timeout(within, waiting).await.map_err(|_elapsed| StackError::NotReady {
            name: what.to_owned(),
            waited: within,
            detail: self.describe(),
            log: self.shared.folder.clone(),
        })
    }

    /// How a Deployment is.
    pub fn rollout(&self, name: &str) -> Option<Rollout> {
        let state = self.shared.state();
        let deployment = state.deployments.get(name)?;
        let pods = || state.pods.values().filter(|pod| pod.owner == name);
        let current = || pods().filter(|pod| pod.revision == deployment.revision && !pod.terminating());
        Some(Rollout {
            wanted: deployment.replicas,
            current: current().count(),
            current_ready: current().filter(|pod| pod.ready()).count(),
            old: pods().count() - current().count(),
            ready: pods().filter(|pod| pod.ready()).count(),
        })
    }

    /// The names of all Deployments.
    pub fn deployments(&self) -> Vec<String> {
        self.shared.state().deployments.keys().cloned().collect()
    }

    /// How a Job came out.
    pub fn job(&self, name: &str) -> Option<Outcome> {
        self.shared.state().jobs.get(name).map(|job| job.outcome)
    }

    /// How often a Job's pods have failed.
    pub fn job_failures(&self, name: &str) -> usize {
        self.shared.state().jobs.get(name).map_or(0, |job| job.failures)
    }

    /// Whether a single pod has ended, and well.
    pub fn pod_ended(&self, name: &str) -> Option<bool> {
        match self.shared.state().pods.get(name)?.status().phase {
            Phase::Succeeded => Some(true),
            Phase::Failed => Some(false),
            Phase::Pending | Phase::Running => None,
        }
    }

    /// Whether a pod is there.
    pub fn has_pod(&self, name: &str) -> bool {
        self.shared.state().pods.contains_key(name)
    }

    /// The pods of a Deployment or Job, oldest first, those of the current template last.
    pub fn pods_of(&self, owner: &str) -> Vec<String> {
        let state = self.shared.state();
        state.pods.values().filter(|pod| pod.owner == owner).map(|pod| pod.name.clone()).collect()
    }

    /// The address of a pod.
    pub fn address(&self, pod: &str) -> Option<Ipv4Addr> {
        self.shared.state().pods.get(pod).map(|pod| pod.address)
    }

    /// Whether a pod still waits for its init containers.
    pub fn pending(&self, pod: &str) -> bool {
        self.shared.state().pods.get(pod).is_some_and(|pod| pod.status().phase == Phase::Pending)
    }

    /// How often containers of a pod were started again.
    pub fn restarts(&self, pod: &str) -> usize {
        self.shared.state().pods.get(pod).map_or(0, |pod| pod.status().restarts)
    }

    /// Kills the process of a pod with SIGKILL: the fault.
    pub fn kill(&self, pod: &str) {
        let pod = self.shared.state().pods.get(pod).cloned();
        if let Some(pod) = pod {
            // Kept if the process is just being started.
            pod.kill.notify_one();
        }
    }

    /// The address of a plain Service.
    pub fn service(&self, name: &str, port: &str) -> Option<SocketAddr> {
        self.shared.network.service(name, port)
    }

    /// The ready pods behind a Service: what its headless name means.
    pub fn endpoints(&self, service: &str, port: &str) -> Vec<SocketAddr> {
        self.shared.network.endpoints(service, port)
    }

    /// What should not have happened so far, by pod.
    pub fn faults(&self) -> Vec<(String, Fault)> {
        self.shared.state().faults.clone()
    }

    /// Whether no pod is there any more.
    pub fn empty(&self) -> bool {
        self.shared.state().pods.is_empty()
    }

    fn describe(&self) -> String {
        let state = self.shared.state();
        let pods = state.pods.values().map(|pod| {
            let status = pod.status();
            let ready = if pod.ready() { ", ready" } else { "" };
            let ending = if pod.terminating() { ", ending" } else { "" };
            format!(
                "\n  {}: {:?}{ready}{ending}, {} restarts. {}",
                pod.name, status.phase, status.restarts, status.waits_for
            )
        });
        pods.collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.controllers.abort();
        let mut state = self.shared.state();
        state.tasks.iter().for_each(JoinHandle::abort);
        state.jobs.values().for_each(|job| job.task.abort());
        // Containers are killed with the tasks that hold them; a pod's containers have tasks of their own.
        for pod in std::mem::take(&mut state.pods).into_values() {
            pod.stop.send_replace(true);
            pod.kill.notify_waiters();
        }
    }
}

fn revision(template: &Template) -> String {
    let mut hasher = DefaultHasher::new();
    // Debug tells everything of a template that is read here.
    format!("{template:?}").hash(&mut hasher);
    format!("{:010x}", hasher.finish() & 0xff_ffff_ffff)
}

/// The controllers: whenever something has changed, Deployments and Services are looked at again.
async fn control(shared: Arc<Shared>) {
    let mut changed = shared.changed();
    loop {
        if let Err(error) = reconcile(&shared) {
            shared.say(&format!("reconciling: {error}"));
        }
        if changed.changed().await.is_err() {
            return;
        }
    }
}

fn reconcile(shared: &Arc<Shared>) -> Result<()> {
    let mut making = Vec::new();
    {
        let state = shared.state();
        for (name, deployment) in &state.deployments {
            let mut pods: Vec<_> = state.pods.values().filter(|pod| pod.owner == *name && !pod.terminating()).collect();
            pods.sort_by_key(|pod| pod.address);
            let members: Vec<_> = pods
                .iter()
                .map(|pod| Member {
                    name: pod.name.clone(),
                    current: pod.revision == deployment.revision,
                    ready: pod.ready(),
                })
                .collect();
            let step = step(&deployment.spec, deployment.replicas, &members);
            for ending in &step.end {
                if let Some(pod) = state.pods.get(ending) {
                    pod.stop.send_replace(true);
                }
            }
            let template = &deployment.spec.template;
            making.extend((0..step.make).map(|_| (name.clone(), deployment.revision.clone(), template.clone())));
        }
    }
    for (owner, revision, template) in making {
        let number = shared.count();
        shared.make_pod(&owner, &revision, &format!("{owner}-{revision}-{number}"), template)?;
    }
    lead_services(shared)
}

fn lead_services(shared: &Shared) -> Result<()> {
    for (name, spec) in shared.network.all() {
        let pods: Vec<_> = shared.state().pods.values().cloned().collect();
        let chosen = pods
            .iter()
            .filter(|pod| pod.ready() && spec.selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value)));
        let chosen: Vec<_> = chosen.collect();
        for port in &spec.ports {
            let ready = chosen.iter().filter_map(|pod| {
                let number = pod.spec.containers.iter().find_map(|one| probe::port(one, &port.target_port).ok())?;
                Some((pod.address, number).into())
            });
            shared.network.lead(&name, port.port, ready.collect())?;
        }
    }
    Ok(())
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is different now.
    pub(super) fn change(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// A line of what happens, for whoever reads why a test failed.
    #[expect(clippy::print_stderr, reason = "tests show it when they fail")]
    pub(super) fn say(&self, what: &str) {
        eprintln!("{:>7.2} s  {what}", self.began.elapsed().as_secs_f64());
    }

    pub(super) fn fault(&self, pod: &Pod, fault: Fault) {
        self.say(&format!("{}: {fault:?}", pod.name));
        self.state().faults.push((pod.name.clone(), fault));
    }

    pub(super) fn secret(&self, name: &str) -> Option<Texts> {
        self.state().secrets.get(name).cloned()
    }

    pub(super) fn config_map(&self, name: &str) -> Option<Texts> {
        self.state().config_maps.get(name).cloned()
    }

    pub(super) fn has_claim(&self, name: &str) -> bool {
        self.state().claims.iter().any(|one| one == name)
    }

    /// A pod runs as nobody whom Kubernetes does not know.
    pub(super) fn has_account(&self, name: Option<&str>) -> std::result::Result<(), String> {
        match name {
            Some(name) if name != "default" && !self.state().accounts.iter().any(|one| one == name) => {
                Err(format!("the service account {name} is not there"))
            }
            _ => Ok(()),
        }
    }

    /// The program of an image and the words with which it is called, as `/holdfast`.
    pub(super) fn program(&self, image: &str, words: &[String]) -> std::result::Result<(PathBuf, Vec<String>), String> {
        let folder = self.state().images.get(image).cloned().ok_or_else(|| format!("no image is called {image}"))?;
        let one = folder.join("holdfast");
        let (program, words) = if one.is_file() {
            (one, words)
        } else {
            let (role, rest) = words.split_first().ok_or("no words say which role")?;
            let name = if role == "ctl" { "holdctl".to_owned() } else { format!("holdfast-{role}") };
            (folder.join(name), rest)
        };
        if !program.is_file() {
            return Err(format!("{image} has no program {}", program.display()));
        }
        let command = std::iter::once("/holdfast".to_owned()).chain(words.iter().cloned());
        let program = program.canonicalize().map_err(|error| error.to_string())?;
        Ok((program, command.collect()))
    }

    /// A number that no pod has had.
    pub(super) fn count(&self) -> usize {
        let mut state = self.state();
        state.made += 1;
        state.made
    }

    /// Makes a pod and runs it.
    pub(super) fn make_pod(
        self: &Arc<Self>,
        owner: &str,
        revision: &str,
        name: &str,
        template: Template,
    ) -> Result<Arc<Pod>> {
        let Template { metadata, spec } = template;
        let pod = Arc::new(Pod::new(self, owner, revision, name.to_owned(), metadata.labels, spec)?);
        std::fs::create_dir_all(&pod.folder).map_err(|error| StackError::unwritable(&pod.folder, error))?;
        self.say(&format!("{name} is made, at {}", pod.address));
        let task = tokio::spawn(kubelet::run(Arc::clone(self), Arc::clone(&pod)));
        let mut state = self.state();
        state.pods.insert(name.to_owned(), Arc::clone(&pod));
        state.tasks.push(task);
        drop(state);
        self.change();
        Ok(pod)
    }

    fn make_job(self: &Arc<Self>, name: &str, spec: &JobSpec) -> Result<()> {
        let mut state = self.state();
        let template = revision(&spec.template);
        if let Some(there) = state.jobs.get(name) {
            return if there.template == template {
                Ok(())
            } else {
                Err(StackError::Usage(format!("Job {name}: its template cannot be changed")))
            };
        }
        let task = tokio::spawn(job::run(Arc::clone(self), name.to_owned(), spec.clone()));
        state.jobs.insert(name.to_owned(), JobState { template, outcome: Outcome::Active, failures: 0, task });
        Ok(())
    }

    pub(super) fn job_ended(&self, name: &str, outcome: Outcome, failures: usize) {
        if let Some(job) = self.state().jobs.get_mut(name) {
            (job.outcome, job.failures) = (outcome, failures);
        }
        self.change();
    }

    pub(super) fn stop_owned(&self, owner: &str) {
        for pod in self.state().pods.values().filter(|pod| pod.owner == owner) {
            pod.stop.send_replace(true);
        }
    }

    fn stop_pod(&self, name: &str) {
        if let Some(pod) = self.state().pods.get(name) {
            pod.stop.send_replace(true);
        }
    }

    pub(super) fn forget(&self, pod: &Pod) {
        // Before its name is free: the next pod of that name has the same folder.
        let _what_a_killed_process_still_writes = std::fs::remove_dir_all(&pod.folder);
        self.state().pods.remove(&pod.name);
        self.change();
    }

    /// Files of pods follow their objects while the pods run.
    fn refresh_volumes(&self) {
        let pods: Vec<_> = self.state().pods.values().cloned().collect();
        for pod in pods {
            // A pod that waits for something looks again by itself.
            if let Err(why) = pod.lay_volumes(self) {
                self.say(&format!("{}: its files stay as they are: {why}", pod.name));
            }
        }
    }
}
