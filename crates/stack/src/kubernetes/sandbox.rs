//! A container: one process in namespaces of its own, that sees a root of its own and is process number 1 in it.
//!
//! `holdfast-stack container FILE` is the runtime between the kubelet and the process: it makes the namespaces, which a program can only do to itself while it
//! has one thread, starts the process, hands SIGTERM on to it and ends as it ends. When it is killed, so is the process.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::mount::{MountFlags, MountPropagationFlags, mount_bind_recursive, mount_change, mount_remount};
use rustix::process::{Signal, chroot, getegid, geteuid};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde::{Deserialize, Serialize};

use crate::error::{Result, StackError};
use crate::process::{Process, Spec};
use crate::say::complain;
use crate::signals::Interrupts;

/// How the runtime ends when it could not do its part; the process never ran then.
pub const EXIT_RUNTIME: u8 = 125;

/// What a container is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sandbox {
    /// Its host's name, which is its pod's.
    pub host: String,
    /// The folder that it sees as its root.
    pub root: PathBuf,
    /// Whether it cannot write there.
    pub read_only: bool,
    /// What else it sees.
    pub binds: Vec<Bind>,
    /// Whom it runs as.
    pub user: u32,
    /// With which group.
    pub group: u32,
    /// The program, as it sees it, and its words.
    pub command: Vec<String>,
    /// All of its variables.
    pub env: Vec<(String, String)>,
}

/// A file or folder of the machine that a container sees.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bind {
    /// Where it is.
    pub from: PathBuf,
    /// Where the container sees it. It must be there below the root, as a file or a folder.
    pub to: PathBuf,
    /// Whether the container cannot write it.
    pub read_only: bool,
}

/// Runs the container that the file describes, to its end; the exit code is its process's, 128 and more for a signal.
pub fn main(file: &Path) -> ExitCode {
    run(file).unwrap_or_else(|error| {
        complain(&error);
        ExitCode::from(EXIT_RUNTIME)
    })
}

fn run(file: &Path) -> Result<ExitCode> {
    let reading = |error| StackError::io(format!("reading {}", file.display()), error);
    let text = std::fs::read_to_string(file).map_err(reading)?;
    let sandbox: Sandbox = serde_json::from_str(&text).map_err(|error| reading(error.into()))?;
    enter(&sandbox)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| StackError::io("starting", error))?.block_on(supervise(&sandbox))
}

async fn supervise(sandbox: &Sandbox) -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    let (program, words) =
        sandbox.command.split_first().ok_or_else(|| StackError::Usage("a container without a program".into()))?;
    let spec = Spec::new(&sandbox.host, program).args(words).only_env(sandbox.env.clone()).first_of_its_namespace();
    let mut process = Process::spawn(&spec).await?;
    let ended = loop {
        tokio::select! {
            ended = process.wait() => break ended?,
            () = interrupts.next() => process.signal(Signal::TERM),
        }
    };
    let signal = std::os::unix::process::ExitStatusExt::signal(&ended);
    let code = ended.code().or_else(|| signal.map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Moves this program, which must have no other thread, into the container; what it starts from now on is in there.
fn enter(sandbox: &Sandbox) -> Result<()> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    namespaces().map_err(|error| StackError::io("making namespaces for a container", error.into()))?;
    // Whoever may not choose groups may map his own.
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{} {user} 1", sandbox.user)),
        ("gid_map", format!("{} {group} 1", sandbox.group)),
    ] {
        let path = format!("/proc/self/{file}");
        std::fs::write(&path, text).map_err(|error| StackError::io(format!("writing {path}"), error))?;
    }
    rustix::system::sethostname(sandbox.host.as_bytes())
        .map_err(|error| StackError::io("naming a container's host", error.into()))?;
    let mounting = |path: &Path| {
        let doing = format!("mounting {}", path.display());
        move |error: rustix::io::Errno| StackError::io(doing, error.into())
    };
    let root = &sandbox.root;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).map_err(mounting("/".as_ref()))?;
    mount_bind_recursive(root, root).map_err(mounting(root))?;
    for bind in &sandbox.binds {
        let to = root.join(bind.to.strip_prefix("/").unwrap_or(&bind.to));
        mount_bind_recursive(&bind.from, &to).map_err(mounting(&bind.from))?;
        if bind.read_only {
            protect(&to).map_err(mounting(&to))?;
        }
    }
    if sandbox.read_only {
        protect(root).map_err(mounting(root))?;
    }
    chroot(root).and_then(|()| rustix::process::chdir("/")).map_err(mounting(root))
}

fn protect(path: &Path) -> rustix::io::Result<()> {
    mount_remount(path, MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV, "")
}

#[expect(unsafe_code, reason = "the flag that would be unsafe is not among these")]
fn namespaces() -> rustix::io::Result<()> {
    let flags = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWIPC;
    // SAFETY: the table of open files stays shared with this program's other threads, of which there are none.
    unsafe { unshare_unsafe(flags) }
}

/// Why containers cannot be had on this machine, if they cannot: many containers forbid namespaces within.
pub async fn forbidden() -> Option<String> {
    let words = ["--user", "--map-root-user", "--mount", "--pid", "--uts", "--ipc", "--fork", "--", "true"];
    let probe = Spec::new("unshare", "unshare").args(words);
    Process::output(&probe).await.err().map(|error| error.to_string())
}
