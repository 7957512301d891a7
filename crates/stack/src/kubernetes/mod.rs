//! As much of Kubernetes as running the chart on this machine takes: a kubelet, Deployments that roll, Jobs, Services, `helm install` and `helm test`.
//!
//! The chart's objects are taken as Helm renders them. Each container is a process in namespaces of its own ([`sandbox`]): it sees the rendered paths, a root
//! that cannot be written, the rendered variables and nothing else, runs as the rendered user and is process number 1. The network is the machine's own: each
//! pod has an address of its own in 127.0.0.0/8, and Services have theirs.
//!
//! Architecture invariants: a kind of object, volume, probe or source of a variable that this cannot give is an error, never left out; nothing of an object is changed on its
//! way to the process. What only a cluster enforces is not looked at: limits of memory and processor, capabilities, seccomp, groups, where pods are placed.

pub mod cluster;
pub mod helm;
pub mod objects;
pub mod podspec;
pub mod sandbox;

mod deployment;
mod environment;
mod files;
mod job;
mod kubelet;
mod network;
mod pod;
mod probe;

pub use cluster::{Cluster, Fault};
pub use helm::{Release, Rendered};
pub use job::Outcome;
