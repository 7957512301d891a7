//! A pod: what it is made of, how it is, and the folders that its containers see.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, watch};

use super::cluster::Shared;
use super::environment::{self, Lookup, expand};
use super::files::{Content, content, lay};
use super::objects::Texts;
use super::podspec::{Container, PodSpec, Volume};
use super::sandbox::{Bind, Sandbox};

/// Whom processes run as for whom nobody says it: what the image says.
const IMAGE_USER: u32 = 65532;
/// Devices that every container has.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
/// Where a program that is not static finds its libraries.
const LIBRARIES: [&str; 3] = ["/lib", "/lib64", "/usr/lib"];

/// A pod that is there.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) labels: Texts,
    pub(super) address: Ipv4Addr,
    /// The Deployment or Job that made it, or nobody.
    pub(super) owner: String,
    /// Which version of its template it was made of.
    pub(super) revision: String,
    pub(super) spec: PodSpec,
    /// Below which everything of it lies.
    pub(super) folder: PathBuf,
    pub(super) stop: watch::Sender<bool>,
    pub(super) kill: Notify,
    status: Mutex<Status>,
}

/// How a pod is.
#[derive(Debug, Clone, Default)]
pub(super) struct Status {
    pub(super) phase: Phase,
    ready: BTreeSet<String>,
    /// How often its containers were started again.
    pub(super) restarts: usize,
    /// What it waits for, for people.
    pub(super) waits_for: String,
}

/// Where a pod is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its init containers run, or something is missing.
    #[default]
    Pending,
    /// Its containers run.
    Running,
    /// All its containers have ended well.
    Succeeded,
    /// They have ended, not all of them well.
    Failed,
}

impl Pod {
    pub(super) fn new(
        shared: &Shared,
        owner: &str,
        revision: &str,
        name: String,
        labels: Texts,
        spec: PodSpec,
    ) -> crate::Result<Self> {
        Ok(Self {
            address: shared.network.address()?,
            folder: shared.folder.join("pods").join(&name),
            name,
            labels,
            owner: owner.to_owned(),
            revision: revision.to_owned(),
            spec,
            stop: watch::Sender::new(false),
            kill: Notify::new(),
            status: Mutex::default(),
        })
    }

    pub(super) fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes how it is.
    pub(super) fn now(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn set_ready(&self, container: &str, ready: bool) {
        self.now(|status| {
            if ready {
                status.ready.insert(container.to_owned());
            } else {
                status.ready.remove(container);
            }
        });
    }

    /// Whether it is asked to end.
    pub(super) fn terminating(&self) -> bool {
        *self.stop.borrow()
    }

    /// Whether Services lead to it.
    pub(super) fn ready(&self) -> bool {
        let status = self.status();
        let all = self.spec.containers.iter().all(|one| status.ready.contains(&one.name));
        status.phase == Phase::Running && all && !self.terminating()
    }

    /// Lays out the volumes; what is there already is brought up to date.
    pub(super) fn lay_volumes(&self, shared: &Shared) -> Result<(), String> {
        for volume in &self.spec.volumes {
            let folder = self.volume(shared, volume)?;
            std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            if let Content::Files(files) = content(volume, |name| shared.secret(name), |name| shared.config_map(name))?
            {
                lay(&folder, &files).map_err(|error| format!("{}: {error}", folder.display()))?;
            }
        }
        Ok(())
    }

    fn volume(&self, shared: &Shared, volume: &Volume) -> Result<PathBuf, String> {
        let Some(claim) = &volume.persistent_volume_claim else {
            return Ok(self.folder.join("volumes").join(&volume.name));
        };
        let there = shared.has_claim(&claim.claim_name);
        if there {
            Ok(shared.folder.join("claims").join(&claim.claim_name))
        } else {
            Err(format!("{} is not there", claim.claim_name))
        }
    }

    /// Makes what a container sees.
    pub(super) fn sandbox(&self, shared: &Shared, container: &Container) -> Result<Sandbox, String> {
        if !container.command.is_empty() {
            return Err(format!("{} has a command, but the image has one program only", container.name));
        }
        let variables = environment::variables(container, &About { pod: self, shared })?;
        let words: Vec<_> = container.args.iter().map(|word| expand(word, &variables)).collect();
        let (program, command) = shared.program(&container.image, &words)?;
        let root = self.folder.join("roots").join(&container.name);
        let mut binds = vec![
            Bind { from: program.clone(), to: "/holdfast".into(), read_only: true },
            Bind { from: shared.network.folder().into(), to: "/.names".into(), read_only: true },
            Bind { from: "/proc".into(), to: "/proc".into(), read_only: false },
        ];
        binds.extend(DEVICES.iter().map(|name| {
            let path = Path::new("/dev").join(name);
            Bind { from: path.clone(), to: path, read_only: false }
        }));
        if needs_libraries(&program) {
            let there = LIBRARIES.iter().filter(|path| Path::new(path).is_dir());
            binds.extend(there.map(|path| Bind { from: path.into(), to: path.into(), read_only: true }));
        }
        for mount in &container.volume_mounts {
            let volume = self.spec.volumes.iter().find(|volume| volume.name == mount.name);
            let volume = volume.ok_or_else(|| format!("{}: there is no volume {}", container.name, mount.name))?;
            let writable = volume.empty_dir.is_some() || volume.persistent_volume_claim.is_some();
            let from = self.volume(shared, volume)?;
            binds.push(Bind { from, to: (&mount.mount_path).into(), read_only: mount.read_only || !writable });
        }
        make_root(&root, &binds).map_err(|error| format!("{}: {error}", root.display()))?;
        let mut env = vec![
            ("HOSTNAME".to_owned(), self.name.clone()),
            ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("KUBERNETES_SERVICE_HOST".to_owned(), "127.0.0.1".to_owned()),
            ("KUBERNETES_SERVICE_PORT".to_owned(), "443".to_owned()),
        ];
        env.extend(variables);
        let (pods, own) = (&self.spec.security_context, &container.security_context);
        Ok(Sandbox {
            host: self.name.chars().take(63).collect(),
            root,
            read_only: own.read_only_root_filesystem,
            binds,
            user: own.run_as_user.or(pods.run_as_user).unwrap_or(IMAGE_USER),
            group: own.run_as_group.or(pods.run_as_group).unwrap_or(IMAGE_USER),
            command,
            env,
        })
    }
}

/// Makes a folder with a place for everything that is seen in it.
fn make_root(root: &Path, binds: &[Bind]) -> std::io::Result<()> {
    for bind in binds {
        let place = root.join(bind.to.strip_prefix("/").unwrap_or(&bind.to));
        if bind.from.is_dir() {
            std::fs::create_dir_all(&place)?;
        } else if !place.exists() {
            std::fs::create_dir_all(place.parent().unwrap_or(root))?;
            std::fs::write(&place, "")?;
        }
    }
    std::fs::create_dir_all(root.join("etc"))?;
    let hosts = root.join("etc/hosts");
    if hosts.symlink_metadata().is_err() {
        symlink("/.names/hosts", hosts)?;
    }
    Ok(())
}

/// Whether a program names a loader: that of the image is static and does not.
fn needs_libraries(program: &Path) -> bool {
    use std::io::Read as _;
    let mut head = Vec::new();
    let read = std::fs::File::open(program).and_then(|file| file.take(4096).read_to_end(&mut head));
    read.is_ok() && head.windows(4).any(|bytes| bytes == b"/ld-")
}

/// What variables may ask for.
struct About<'a> {
    pod: &'a Pod,
    shared: &'a Shared,
}

impl Lookup for About<'_> {
    fn secret(&self, name: &str) -> Option<Texts> {
        self.shared.secret(name)
    }

    fn config_map(&self, name: &str) -> Option<Texts> {
        self.shared.config_map(name)
    }

    fn field(&self, path: &str) -> Option<String> {
        if let Some(label) = path.strip_prefix("metadata.labels['").and_then(|rest| rest.strip_suffix("']")) {
            return Some(self.pod.labels.get(label).cloned().unwrap_or_default());
        }
        Some(match path {
            "metadata.name" => self.pod.name.clone(),
            "metadata.namespace" => self.shared.namespace.clone(),
            "status.podIP" => self.pod.address.to_string(),
            "status.hostIP" => Ipv4Addr::LOCALHOST.to_string(),
            "spec.nodeName" => "this-machine".to_owned(),
            "spec.serviceAccountName" => self.pod.spec.service_account_name.clone().unwrap_or_default(),
            _ => return None,
        })
    }
}
