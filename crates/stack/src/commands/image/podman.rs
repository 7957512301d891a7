//! buildah and podman, with storage of the project's own: nothing of the machine's images and containers is seen or touched.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::error::{Result, StackError};
use crate::process::{Process, Spec};
use crate::project::Project;

use super::folder;

/// How long the kernel may take from a container's start to the program's first instruction.
const EXEC_WITHIN: Duration = Duration::from_secs(20);
/// Limits of a container: within what this process may hand on, which podman's own defaults may not be.
const LIMITS: [&str; 2] = ["nofile=8192:8192", "nproc=4096:4096"];

/// The programs and their storage.
pub(super) struct Podman {
    storage: PathBuf,
    state: PathBuf,
}

/// What a container may see of this machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Container {
    /// Folders of ours, and where they lie in it; nothing can be written there.
    pub(super) mounts: Vec<(PathBuf, String)>,
    /// Environment variables.
    pub(super) env: Vec<(String, String)>,
    /// What follows the image's entry point.
    pub(super) args: Vec<String>,
}

/// How a container stands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    pid: u32,
    exit_code: i32,
}

impl Podman {
    pub(super) fn new(project: &Project) -> Result<Self> {
        let (storage, state) = (folder(project).join("storage"), folder(project).join("containers"));
        for folder in [&storage, &state] {
            project.make(folder)?;
        }
        Ok(Self { storage, state })
    }

    /// A command of buildah's.
    pub(super) fn buildah(&self, command: &str) -> Spec {
        self.with_storage(Spec::new(format!("buildah {command}"), "buildah")).arg(command)
    }

    fn podman(&self, command: &str) -> Spec {
        self.with_storage(Spec::new(format!("podman {command}"), "podman"))
            .args(["--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none"])
            .arg(command)
    }

    fn with_storage(&self, spec: Spec) -> Spec {
        spec.arg("--root").arg(&self.storage).arg("--runroot").arg(&self.state).args(["--storage-driver", "vfs"])
    }

    /// A container, locked up as a cluster that is careful would: another user, nothing to write, no privileges and none to be had.
    fn locked_up(&self, spec: Spec, image: &str, container: &Container) -> Spec {
        let spec = spec
            .args(["--network", "host", "--read-only", "--read-only-tmpfs=false", "--user", "65532:65532"])
            .args(["--cap-drop", "all", "--security-opt", "no-new-privileges", "--log-driver", "k8s-file"])
            .args(LIMITS.iter().flat_map(|limit| ["--ulimit", limit]));
        let spec = container.mounts.iter().fold(spec, |spec, (from, to)| {
            let mut volume = OsString::from(from);
            volume.push(format!(":{to}:ro"));
            spec.arg("--volume").arg(volume)
        });
        let spec =
            container.env.iter().fold(spec, |spec, (key, value)| spec.arg("--env").arg(format!("{key}={value}")));
        spec.arg(image).args(&container.args)
    }

    /// Runs a container to its end; what it said.
    pub(super) async fn run(&self, image: &str, container: &Container) -> Result<String> {
        let spec = self.locked_up(self.podman("run").arg("--rm"), image, container);
        Process::output(&spec).await
    }

    /// Makes a container that does not run yet.
    pub(super) async fn create(&self, name: &str, image: &str, container: &Container) -> Result<()> {
        let spec = self.locked_up(self.podman("create").args(["--name", name]), image, container);
        Process::output(&spec).await.map(|_id| ())
    }

    /// Starts a container; its process, and the moment at which the program began in it.
    pub(super) async fn start(&self, name: &str) -> Result<(u32, Instant)> {
        // Everything is set up, and a process waits in it for the word.
        Process::output(&self.podman("init").arg(name)).await?;
        let pid = self.state(name).await?.pid;
        let start = self.podman("start").arg(name);
        let (started, began) = tokio::join!(Process::output(&start), began(pid));
        started?;
        Ok((pid, began?))
    }

    /// Asks a container to end with SIGTERM; its exit code, and how long it took.
    pub(super) async fn stop(&self, name: &str, within: Duration) -> Result<(i32, Duration)> {
        let asked = Instant::now();
        let kill = self.podman("kill").args(["--signal", "TERM", name]);
        Process::output(&kill).await?;
        loop {
            let state = self.state(name).await?;
            if state.status == "exited" {
                return Ok((state.exit_code, asked.elapsed()));
            }
            if asked.elapsed() > within {
                let log = self.log(name).await;
                return Err(StackError::Found(format!("{name} does not end within {} s\n{log}", within.as_secs())));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The last lines that a container wrote.
    pub(super) async fn log(&self, name: &str) -> String {
        let logs = self.podman("logs").args(["--tail", "12", name]);
        Process::output(&logs).await.unwrap_or_else(|error| error.to_string())
    }

    /// Ends and removes every container; images stay until they are replaced.
    ///
    /// # Errors
    ///
    /// [`StackError::Command`] when podman cannot; then a container may still run.
    pub(super) async fn remove_everything(&self) -> Result<()> {
        Process::output(&self.podman("rm").args(["--all", "--force", "--time", "1"])).await?;
        // Images that have lost their name to a newer one.
        Process::output(&self.podman("image").args(["prune", "--force"])).await.map(|_removed| ())
    }

    async fn state(&self, name: &str) -> Result<State> {
        let said = Process::output(&self.podman("inspect").args(["--format", "{{json .State}}", name])).await?;
        serde_json::from_str(said.trim())
            .map_err(|error| StackError::Found(format!("podman says {said:?} of {name}: {error}")))
    }
}

/// Waits until the process is the program, and no longer what prepared its container.
async fn began(pid: u32) -> Result<Instant> {
    let path = PathBuf::from(format!("/proc/{pid}/comm"));
    let asked = Instant::now();
    while name_of(&path)?.starts_with("runc") {
        if asked.elapsed() > EXEC_WITHIN {
            return Err(StackError::Found(format!("process {pid} has not become the program")));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(Instant::now())
}

fn name_of(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| StackError::io("looking at the container's process", error))
}
