//! The dependency graph, as cargo tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::error::{Result, StackError};

/// What of `cargo metadata` the checks read.
#[derive(Debug, Clone, Deserialize)]
pub struct Metadata {
    /// All packages, ours and others'.
    pub packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

/// A package.
#[derive(Debug, Clone, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence, as an SPDX expression.
    pub license: Option<String>,
    /// Where it comes from; none for ours.
    pub source: Option<String>,
    /// What its manifest names.
    pub dependencies: Vec<Dependency>,
    id: String,
}

/// A dependency, as the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// `dev`, `build`, or none for a usual one.
    pub kind: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

impl Metadata {
    /// Asks cargo about the workspace at `root`, for the platform that Holdfast runs on.
    ///
    /// # Errors
    ///
    /// [`StackError::Command`] with what cargo said, for example that the lock file does not fit the manifests.
    pub fn read(root: &Path) -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let asked = Command::new(cargo)
            .args(["metadata", "--format-version=1", "--locked", "--filter-platform=x86_64-unknown-linux-gnu"])
            .current_dir(root)
            .output();
        let output = asked.map_err(|error| StackError::io("running cargo metadata", error))?;
        let failed = |text: String| StackError::Command {
            command: "cargo metadata".into(),
            status: output.status.to_string(),
            output: text,
        };
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
    }

    /// Our own packages.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// What a package depends on, of every kind, as far as it is resolved for this platform.
    pub fn dependencies_of(&self, package: &Package) -> impl Iterator<Item = &Package> {
        let node = self.resolve.nodes.iter().find(|node| node.id == package.id);
        let ids = node.map(|node| node.dependencies.as_slice()).unwrap_or_default();
        self.packages.iter().filter(move |other| ids.contains(&other.id))
    }

    /// Other people's packages that are really built, into a binary or a test.
    pub fn foreign(&self) -> Vec<&Package> {
        let nodes: BTreeMap<&str, &Node> = self.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let mut reached: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = self.workspace_members.iter().map(String::as_str).collect();
        while let Some(id) = open.pop() {
            if reached.insert(id) {
                open.extend(nodes.get(id).into_iter().flat_map(|node| node.dependencies.iter().map(String::as_str)));
            }
        }
        let built = |package: &&Package| reached.contains(package.id.as_str()) && package.source.is_some();
        self.packages.iter().filter(built).collect()
    }
}
