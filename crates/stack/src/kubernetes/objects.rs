//! The objects of the chart, as far as they decide what runs. A field that is unknown where it would matter is refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::podspec::{PodSpec, Template};
use crate::error::{Result, StackError};

/// Texts by name: labels, annotations, keys of a ConfigMap.
pub type Texts = BTreeMap<String, String>;

/// What every object has.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Metadata {
    /// Its name; templates of pods have none.
    #[serde(default)]
    pub name: String,
    /// By which it is selected.
    #[serde(default)]
    pub labels: Texts,
    /// What tools read.
    #[serde(default)]
    pub annotations: Texts,
}

/// An object that decides what runs.
#[derive(Debug, Clone)]
pub enum Object {
    /// Replicas of a pod.
    Deployment(Metadata, DeploymentSpec),
    /// A pod that runs to its end.
    Job(Metadata, JobSpec),
    /// A single pod.
    Pod(Metadata, PodSpec),
    /// A name for pods.
    Service(Metadata, ServiceSpec),
    /// Files and variables.
    ConfigMap(Metadata, Texts),
    /// Whom pods run as.
    ServiceAccount(Metadata),
    /// A folder that stays.
    Claim(Metadata),
    /// How many replicas an autoscaler starts with, and whose.
    Autoscaler(Metadata, AutoscalerSpec),
    /// An object that others act on: no process of ours depends on it.
    Elsewhere(Metadata),
}

/// Kinds that the nodes, the control plane or Prometheus act on.
const ELSEWHERE: [&str; 6] =
    ["NetworkPolicy", "PodDisruptionBudget", "PrometheusRule", "ServiceMonitor", "PodMonitor", "ExternalSecret"];

impl Object {
    /// Reads one object.
    ///
    /// # Errors
    ///
    /// [`StackError::Usage`] when it is of a kind, or has a part, that cannot be had here.
    pub fn read(object: &Value) -> Result<Self> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let metadata: Metadata = part(kind, &object["metadata"])?;
        let what = format!("{kind} {}", metadata.name);
        let spec = &object["spec"];
        Ok(match kind {
            "Deployment" => Self::Deployment(metadata, part(&what, spec)?),
            "Job" => Self::Job(metadata, part(&what, spec)?),
            "Pod" => Self::Pod(metadata, part(&what, spec)?),
            "Service" => Self::Service(metadata, part(&what, spec)?),
            "ConfigMap" => Self::ConfigMap(metadata, part(&what, &object["data"])?),
            "ServiceAccount" => Self::ServiceAccount(metadata),
            "PersistentVolumeClaim" => Self::Claim(metadata),
            "HorizontalPodAutoscaler" => Self::Autoscaler(metadata, part(&what, spec)?),
            _ if ELSEWHERE.contains(&kind) => Self::Elsewhere(metadata),
            _ => return Err(StackError::Usage(format!("{what}: nothing here acts on objects of this kind"))),
        })
    }

    /// What every object has.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::Deployment(metadata, _)
            | Self::Job(metadata, _)
            | Self::Pod(metadata, _)
            | Self::Service(metadata, _)
            | Self::ConfigMap(metadata, _)
            | Self::ServiceAccount(metadata)
            | Self::Claim(metadata)
            | Self::Autoscaler(metadata, _)
            | Self::Elsewhere(metadata) => metadata,
        }
    }
}

fn part<T: for<'a> Deserialize<'a>>(what: &str, value: &Value) -> Result<T> {
    T::deserialize(value).map_err(|error| StackError::Usage(format!("{what}: {error}")))
}

/// A Deployment's.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentSpec {
    /// Absent where an autoscaler decides.
    pub replicas: Option<usize>,
    /// How replicas are replaced.
    #[serde(default)]
    pub strategy: Strategy,
    /// Of which pods.
    pub template: Template,
}

/// How replicas are replaced.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Strategy {
    /// `RollingUpdate`, or nothing.
    #[serde(default, rename = "type")]
    pub kind: StrategyKind,
    /// How many more, how many fewer meanwhile.
    #[serde(default)]
    pub rolling_update: Rolling,
}

/// The one that there is.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub enum StrategyKind {
    /// New ones come as old ones go.
    #[default]
    RollingUpdate,
}

/// How many more, how many fewer there may be during a rollout.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rolling {
    /// Above the replicas.
    #[serde(default = "quarter")]
    pub max_surge: Share,
    /// Below them.
    #[serde(default = "quarter")]
    pub max_unavailable: Share,
}

impl Default for Rolling {
    fn default() -> Self {
        Self { max_surge: quarter(), max_unavailable: quarter() }
    }
}

fn quarter() -> Share {
    Share::Percent("25%".to_owned())
}

/// A number or a part of the replicas.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Share {
    /// So many.
    Number(usize),
    /// Like `25%`.
    Percent(String),
}

impl Share {
    /// Of so many replicas; Kubernetes rounds a surge up and what may be away down.
    pub fn of(&self, replicas: usize, up: bool) -> usize {
        match self {
            Self::Number(number) => *number,
            Self::Percent(text) => {
                let percent: usize = text.trim_end_matches('%').parse().unwrap_or(0);
                (replicas * percent + if up { 99 } else { 0 }) / 100
            }
        }
    }
}

/// A Job's.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobSpec {
    /// Attempts that may fail.
    #[serde(default = "six")]
    pub backoff_limit: usize,
    /// After so long it is given up.
    pub active_deadline_seconds: Option<u64>,
    /// What runs.
    pub template: Template,
}

fn six() -> usize {
    6
}

/// An autoscaler's.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerSpec {
    /// Whose replicas it decides on.
    pub scale_target_ref: TargetRef,
    /// It starts with so many.
    pub min_replicas: usize,
}

/// The name of another object.
#[derive(Debug, Clone, Deserialize)]
pub struct TargetRef {
    /// The Deployment.
    pub name: String,
}

/// A Service's.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// `None` makes it headless.
    #[serde(default, rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    /// Labels of its pods.
    pub selector: Texts,
    /// What is reached.
    pub ports: Vec<ServicePort>,
}

impl ServiceSpec {
    /// Whether its name means its pods and not an address of its own.
    pub fn headless(&self) -> bool {
        self.cluster_ip.as_deref() == Some("None")
    }
}

/// A port of a Service.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// The Service's.
    pub port: u16,
    /// The pod's.
    pub target_port: PortRef,
}

/// A port by name or by number.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum PortRef {
    /// By number.
    Number(u16),
    /// As the container calls it.
    Name(String),
}
