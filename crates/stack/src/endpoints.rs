//! How to reach a running stack: a file that holdctl, the demo and people read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Result, StackError};
use crate::project::{Project, write_private};

/// Where everything listens, with the administrators' passwords: the file is its owner's alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// The process that runs the stack.
    pub pid: u32,
    /// gRPC of catalog: `http://127.0.0.1:port`.
    pub catalog: String,
    /// gRPC of reservation.
    pub reservation: String,
    /// gRPC of vendor-sync.
    pub vendor_sync: String,
    /// Health and metrics by service: `http://127.0.0.1:port`.
    pub admin: BTreeMap<String, String>,
    /// The administrator's address of each service's database, for `psql`.
    pub postgres: BTreeMap<String, String>,
    /// The administrator's address of Redis, for `redis-cli -u`.
    pub redis: String,
}

impl Endpoints {
    /// Writes them down for this project.
    ///
    /// # Errors
    ///
    /// [`StackError::NotWritable`] or [`StackError::DiskFull`].
    pub fn write(&self, project: &Project) -> Result<()> {
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|error| StackError::io("writing down the endpoints", error.into()))?;
        write_private(&project.endpoints(), &format!("{text}\n"))
    }

    /// Those of the stack that runs now.
    ///
    /// # Errors
    ///
    /// [`StackError::NotRunning`] when none runs, or one that is still starting.
    pub fn read(project: &Project) -> Result<Self> {
        let pid = project.holder().ok_or(StackError::NotRunning)?;
        let text = std::fs::read_to_string(project.endpoints()).map_err(|_absent| StackError::NotRunning)?;
        let endpoints: Self = serde_json::from_str(&text).map_err(|_older_form| StackError::NotRunning)?;
        if endpoints.pid == pid { Ok(endpoints) } else { Err(StackError::NotRunning) }
    }
}
