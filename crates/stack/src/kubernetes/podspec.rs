//! What a pod is made of. A field that is unknown where it would matter is refused.

use serde::Deserialize;
use serde_json::Value;

use super::objects::{Metadata, PortRef};

/// A pod without a name yet.
#[derive(Debug, Clone, Deserialize)]
pub struct Template {
    /// Labels and annotations.
    #[serde(default)]
    pub metadata: Metadata,
    /// What runs.
    pub spec: PodSpec,
}

/// A pod's. Where it is placed, and what only a node does, is not read.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    /// One after the other, before the others.
    #[serde(default)]
    pub init_containers: Vec<Container>,
    /// All at once.
    pub containers: Vec<Container>,
    /// Folders with files.
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// What becomes of a container that has ended.
    #[serde(default)]
    pub restart_policy: RestartPolicy,
    /// How long an orderly end may take.
    #[serde(default = "thirty")]
    pub termination_grace_period_seconds: u64,
    /// Whom it runs as, in Kubernetes' eyes.
    pub service_account_name: Option<String>,
    /// Whom it runs as, in Linux's eyes.
    #[serde(default)]
    pub security_context: PodSecurity,
    /// After so long it is given up.
    pub active_deadline_seconds: Option<u64>,
}

fn thirty() -> u64 {
    30
}

/// What becomes of a container that has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum RestartPolicy {
    /// It is started again.
    #[default]
    Always,
    /// It is started again unless it went well.
    OnFailure,
    /// That was it.
    Never,
}

/// Whom the processes run as.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSecurity {
    /// The user.
    pub run_as_user: Option<u32>,
    /// The group.
    pub run_as_group: Option<u32>,
}

/// A container.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Its name in the pod.
    pub name: String,
    /// What it is made of.
    pub image: String,
    /// In the place of the image's entry point: ours has nothing else to run, so it must be absent.
    #[serde(default)]
    pub command: Vec<String>,
    /// The words after the entry point.
    #[serde(default)]
    pub args: Vec<String>,
    /// Variables.
    #[serde(default)]
    pub env: Vec<Variable>,
    /// Whole sets of variables.
    #[serde(default)]
    pub env_from: Vec<VariablesFrom>,
    /// What it listens on.
    #[serde(default)]
    pub ports: Vec<ContainerPort>,
    /// Where volumes are seen.
    #[serde(default)]
    pub volume_mounts: Vec<Mount>,
    /// Whether it has come up.
    pub startup_probe: Option<Probe>,
    /// Whether it serves.
    pub readiness_probe: Option<Probe>,
    /// Whether it lives.
    pub liveness_probe: Option<Probe>,
    /// What happens before it is asked to end.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// What it may.
    #[serde(default)]
    pub security_context: Security,
    /// Only init containers that go on have one.
    pub restart_policy: Option<RestartPolicy>,
}

/// What a container may.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Security {
    /// Whether it cannot write where no volume is.
    #[serde(default)]
    pub read_only_root_filesystem: bool,
    /// In the place of the pod's.
    pub run_as_user: Option<u32>,
    /// In the place of the pod's.
    pub run_as_group: Option<u32>,
}

/// A port of a container.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPort {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its number.
    pub container_port: u16,
}

/// A variable.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, in which `$(OTHER)` is filled in.
    pub value: Option<String>,
    /// Or where it comes from.
    pub value_from: Option<Source>,
}

/// Where a variable comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Source {
    /// A key of a Secret.
    SecretKeyRef(KeyRef),
    /// A key of a ConfigMap.
    ConfigMapKeyRef(KeyRef),
    /// Something about the pod.
    FieldRef(FieldRef),
}

/// A key of a Secret or a ConfigMap.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRef {
    /// The object.
    pub name: String,
    /// The key.
    pub key: String,
    /// Whether it may be missing.
    #[serde(default)]
    pub optional: bool,
}

/// Something about the pod.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldRef {
    /// Like `status.podIP`.
    pub field_path: String,
    /// `v1`.
    pub api_version: Option<String>,
}

/// A set of variables.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VariablesFrom {
    /// Before each name.
    #[serde(default)]
    pub prefix: String,
    /// All keys of a Secret.
    pub secret_ref: Option<ObjectRef>,
    /// All keys of a ConfigMap.
    pub config_map_ref: Option<ObjectRef>,
}

/// An object by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectRef {
    /// The object.
    pub name: String,
    /// Whether it may be missing.
    #[serde(default)]
    pub optional: bool,
}

/// Where a volume is seen.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// The volume.
    pub name: String,
    /// Where.
    pub mount_path: String,
    /// Whether it cannot be written there.
    #[serde(default)]
    pub read_only: bool,
}

/// A folder with files; exactly one of its kinds.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Volume {
    /// Its name in the pod.
    pub name: String,
    /// A ConfigMap's keys.
    pub config_map: Option<Keys>,
    /// A Secret's keys.
    pub secret: Option<Keys>,
    /// Of several.
    pub projected: Option<Projected>,
    /// Empty at first, and gone with the pod.
    pub empty_dir: Option<Value>,
    /// A folder that stays.
    pub persistent_volume_claim: Option<ClaimRef>,
}

/// Files of several objects.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Projected {
    /// Whose.
    pub sources: Vec<ProjectedSource>,
    /// Their rights.
    pub default_mode: Option<u32>,
}

/// Files of one of several objects.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ProjectedSource {
    /// A Secret's keys.
    Secret(Keys),
    /// A ConfigMap's keys.
    ConfigMap(Keys),
}

/// Keys of an object as files.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Keys {
    /// The object; Secrets of a volume of their own call it otherwise.
    #[serde(alias = "secretName")]
    pub name: String,
    /// Which keys, under which paths; all, under their own names, if absent.
    pub items: Option<Vec<KeyPath>>,
    /// Their rights.
    pub default_mode: Option<u32>,
    /// Whether the object or a key may be missing.
    #[serde(default)]
    pub optional: bool,
}

/// A key as a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPath {
    /// The key.
    pub key: String,
    /// The file, below the volume.
    pub path: String,
    /// Its rights.
    pub mode: Option<u32>,
}

/// A claim by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimRef {
    /// The claim.
    pub claim_name: String,
}

/// How a container is asked how it is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// By HTTP.
    pub http_get: HttpGet,
    /// Before the first time.
    #[serde(default)]
    pub initial_delay_seconds: u64,
    /// How often.
    #[serde(default = "ten")]
    pub period_seconds: u64,
    /// How long an answer may take.
    #[serde(default = "one")]
    pub timeout_seconds: u64,
    /// So many bad answers in a row count.
    #[serde(default = "three")]
    pub failure_threshold: u64,
    /// So many good answers in a row count.
    #[serde(default = "one")]
    pub success_threshold: u64,
}

fn one() -> u64 {
    1
}

fn three() -> u64 {
    3
}

fn ten() -> u64 {
    10
}

/// What is asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGet {
    /// The path.
    pub path: String,
    /// The port.
    pub port: PortRef,
}

/// What happens around a container's life.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lifecycle {
    /// Before it is asked to end.
    pub pre_stop: Option<PreStop>,
}

/// Before a container is asked to end.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreStop {
    /// Wait.
    pub sleep: Sleep,
}

/// A pause.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sleep {
    /// So long.
    pub seconds: u64,
}
