//! As much of Helm as installing the chart here takes. Templates are filled in by the real one, which the checks of the chart use too.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::job::Outcome;
use super::objects::Object;
use super::podspec::{PodSpec, ProjectedSource};
use crate::error::{Result, StackError};
use crate::process::{Process, Spec};
use crate::project::{Project, write_private};
use crate::python;

/// The variable by which tests find an interpreter that has Helm.
pub const PYTHON: &str = "HOLDFAST_CHART_PYTHON";
/// The namespace for which everything is rendered.
pub const NAMESPACE: &str = "shop";
/// How long a hook may take.
const HOOK_WITHIN: Duration = Duration::from_secs(60);

/// What the chart makes of some values.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// What is installed, in Helm's order.
    pub objects: Vec<Object>,
    /// What has to run to its end before that.
    pub before: Vec<Object>,
    /// What `helm test` runs.
    pub tests: Vec<Object>,
}

#[derive(Deserialize)]
struct Answer {
    objects: Vec<Value>,
}

impl Rendered {
    /// Fills in the templates of the chart in a folder with the values of its own example of that name, and `values` over them.
    ///
    /// # Errors
    ///
    /// [`StackError::Command`] with Helm's message, [`StackError::Usage`] when an object cannot be had here.
    pub async fn from(project: &Project, scratch: &Path, chart: &Path, example: &str, values: &Value) -> Result<Self> {
        let interpreter = match std::env::var_os(PYTHON) {
            Some(given) => PathBuf::from(given),
            None => python::chart(project).await?,
        };
        let own = scratch.join("values.json");
        write_private(&own, &values.to_string())?;
        let out = scratch.join("rendered.json");
        let render = Spec::new("helm template", interpreter)
            .arg(project.root().join("k8s/checks/rendered.py"))
            .arg(chart)
            .arg(&out)
            .arg(chart.join("examples").join(format!("{example}.yaml")))
            .arg(&own);
        Process::output(&render).await?;
        let reading = |error| StackError::io(format!("reading {}", out.display()), error);
        let text = std::fs::read_to_string(&out).map_err(reading)?;
        let answer: Answer = serde_json::from_str(&text).map_err(|error| reading(error.into()))?;
        Self::sorted(&answer.objects)
    }

    fn sorted(values: &[Value]) -> Result<Self> {
        let mut rendered = Self { objects: Vec::new(), before: Vec::new(), tests: Vec::new() };
        for value in values {
            let object = Object::read(value)?;
            let hook = object.metadata().annotations.get("helm.sh/hook").map(String::as_str);
            match hook {
                None => rendered.objects.push(object),
                Some("test") => rendered.tests.push(object),
                Some("pre-install,pre-upgrade") => rendered.before.push(object),
                Some(other) => {
                    let name = &object.metadata().name;
                    return Err(StackError::Usage(format!("{name}: nothing here runs hooks at {other}")));
                }
            }
        }
        Ok(rendered)
    }

    /// Every pod that there will be.
    fn pods(&self) -> impl Iterator<Item = &PodSpec> {
        let objects = self.objects.iter().chain(&self.before).chain(&self.tests);
        objects.filter_map(|object| match object {
            Object::Deployment(_, spec) => Some(&spec.template.spec),
            Object::Job(_, spec) => Some(&spec.template.spec),
            Object::Pod(_, spec) => Some(spec),
            _ => None,
        })
    }

    /// Every key of every Secret that pods have as files.
    pub fn secrets(&self) -> Vec<(String, String)> {
        let volumes = self.pods().flat_map(|pod| &pod.volumes).filter_map(|volume| volume.projected.as_ref());
        let secrets = volumes.flat_map(|projected| &projected.sources).filter_map(|source| match source {
            ProjectedSource::Secret(keys) => Some(keys),
            ProjectedSource::ConfigMap(_) => None,
        });
        let mut keys: Vec<_> = secrets
            .flat_map(|keys| keys.items.iter().flatten().map(|item| (keys.name.clone(), item.key.clone())))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The images that are asked for.
    pub fn images(&self) -> Vec<String> {
        let containers = self.pods().flat_map(|pod| pod.init_containers.iter().chain(&pod.containers));
        let mut images: Vec<_> = containers.map(|container| container.image.clone()).collect();
        images.sort_unstable();
        images.dedup();
        images
    }

    /// The names of its Jobs.
    pub fn jobs(&self) -> Vec<String> {
        let jobs = self.objects.iter().filter(|object| matches!(object, Object::Job(..)));
        jobs.map(|object| object.metadata().name.clone()).collect()
    }
}

/// What is installed, and was before.
#[derive(Debug, Default)]
pub struct Release {
    now: Option<Rendered>,
}

impl Release {
    /// `helm upgrade --install`, and `helm rollback` too: the objects become these; what is there no longer is removed.
    ///
    /// # Errors
    ///
    /// What [`Cluster::apply`] says. Objects before the failing one are there then, as with Helm.
    pub async fn upgrade(&mut self, cluster: &Cluster, to: &Rendered) -> Result<()> {
        self.upgrade_with(cluster, to, |_| true).await
    }

    /// The same without the objects that are not `wanted` yet: a tool that applies them in another order has not come to them. The next upgrade has them.
    ///
    /// # Errors
    ///
    /// As [`Release::upgrade`].
    pub async fn upgrade_with(
        &mut self,
        cluster: &Cluster,
        to: &Rendered,
        wanted: impl Fn(&Object) -> bool,
    ) -> Result<()> {
        for hook in &to.before {
            run_hook(cluster, hook).await?;
        }
        for object in to.objects.iter().filter(|object| wanted(object)) {
            cluster.apply(object).await?;
        }
        let keep = |object: &Object| to.objects.iter().any(|other| same(object, other));
        let before = self.now.iter().flat_map(|before| &before.objects);
        for object in before.filter(|object| !keep(object)) {
            cluster.remove(object)?;
        }
        self.now = Some(to.clone());
        Ok(())
    }

    /// `helm test`: runs the tests' pods, one after the other; all of them must end well within the time.
    ///
    /// # Errors
    ///
    /// [`StackError::NotReady`] when one does not end in time, [`StackError::Found`] when one ends badly.
    pub async fn test(&self, cluster: &Cluster, within: Duration) -> Result<()> {
        for test in self.now.iter().flat_map(|now| &now.tests) {
            let name = &test.metadata().name;
            cluster.remove(test)?;
            cluster.until("the pod of the test before is gone", within, |cluster| !cluster.has_pod(name)).await?;
            cluster.apply(test).await?;
            cluster.until(name, within, |cluster| cluster.pod_ended(name).is_some()).await?;
            if cluster.pod_ended(name) != Some(true) {
                return Err(StackError::Found(format!("helm test: {name} failed")));
            }
        }
        Ok(())
    }

    /// `helm uninstall`: every pod ends in order.
    ///
    /// # Errors
    ///
    /// [`StackError::NotReady`] when a pod is still there after the time.
    pub async fn uninstall(&mut self, cluster: &Cluster, within: Duration) -> Result<()> {
        if let Some(now) = self.now.take() {
            for object in now.tests.iter().chain(now.objects.iter().rev()) {
                cluster.remove(object)?;
            }
        }
        cluster.until("every pod has ended", within, Cluster::empty).await
    }
}

fn same(one: &Object, other: &Object) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other) && one.metadata().name == other.metadata().name
}

/// Runs a hook to its end; it is removed when it went well, and before it runs again.
async fn run_hook(cluster: &Cluster, hook: &Object) -> Result<()> {
    let name = &hook.metadata().name;
    let Object::Job(..) = hook else { return Err(StackError::Usage(format!("{name}: only Jobs are hooks here"))) };
    cluster.remove(hook)?;
    cluster.apply(hook).await?;
    let ended = |cluster: &Cluster| cluster.job(name).is_some_and(|outcome| outcome != Outcome::Active);
    cluster.until(name, HOOK_WITHIN, ended).await?;
    if cluster.job(name) == Some(Outcome::Complete) {
        return cluster.remove(hook);
    }
    Err(StackError::Found(format!("the hook {name} failed")))
}

/// Pods share one machine here, so each listens on its own address.
pub fn listening() -> Value {
    let listen = |service: &str, port: u16, admin: u16| {
        json!({"extraEnv": {
            format!("HOLDFAST_{service}__SERVER__GRPC_LISTEN"): format!("$(A_POD_IP):{port}"),
            format!("HOLDFAST_{service}__SERVER__ADMIN_LISTEN"): format!("$(A_POD_IP):{admin}"),
        }})
    };
    json!({
        "defaults": {"extraEnv": {"A_POD_IP": {"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}}},
        "reservation": listen("RESERVATION", 50051, 9051),
        "catalog": listen("CATALOG", 50052, 9052),
        "vendorSync": listen("VENDOR_SYNC", 50053, 9053),
    })
}

/// Lays values over values, as Helm does.
pub fn lay_over(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                lay_over(below.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (below, above) => below.clone_from(above),
    }
}
