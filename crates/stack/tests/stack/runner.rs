//! Runs holdfast-stack in a folder of a test's own and knows all processes that come of it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const READY_WITHIN: Duration = Duration::from_secs(120);
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// As whom a command is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// As the tests themselves.
    Ours,
    /// As Debian's `nobody`; only root can.
    Nobody,
}

/// The users as whom a test can run things: an ordinary user only as himself, root as root and as an ordinary user.
pub(crate) fn users() -> Vec<User> {
    if rustix::process::geteuid().is_root() { vec![User::Ours, User::Nobody] } else { vec![User::Ours] }
}

/// A folder for the state of one stack, and the binaries that whoever runs it may read.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    user: User,
}

impl Place {
    pub(crate) fn new(user: User) -> Self {
        let folder = tempfile::Builder::new().prefix("holdfast-stack-").tempdir().unwrap();
        let place = Self { folder, user };
        std::fs::create_dir(place.state()).unwrap();
        if user == User::Nobody {
            place.open_to_nobody();
        }
        place
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// holdfast-stack with these words.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        // A test that is killed takes what it started with it.
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig=KILL");
        match self.user {
            User::Ours => command.arg("--").arg(env!("CARGO_BIN_EXE_holdfast-stack")),
            User::Nobody => command
                .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
                .arg(self.folder.path().join("bin/holdfast-stack")),
        };
        command.args(words).env("HOLDFAST_STATE_DIR", self.state()).env("HOME", self.folder.path());
        command.env_remove("HOLDFAST_POSTGRES_ADMIN_URL").env_remove("HOLDFAST_REDIS_URL");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end: its status, and what it wrote.
    pub(crate) fn run(&self, words: &[&str]) -> (ExitStatus, String) {
        let output = self.command(words).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status, text)
    }

    /// Starts `up` and waits until it says that everything runs.
    pub(crate) fn up(&self, flags: &[&str]) -> Running {
        self.up_with(flags, &[])
    }

    /// The same with environment variables.
    pub(crate) fn up_with(&self, flags: &[&str], variables: &[(&str, String)]) -> Running {
        let words: Vec<&str> = std::iter::once("up").chain(flags.iter().copied()).collect();
        let variables = variables.iter().map(|(name, value)| (name, value));
        let mut child = self.command(&words).envs(variables).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = String::new();
        let start = Instant::now();
        while !said.contains("Holdfast runs.") {
            assert!(start.elapsed() < READY_WITHIN, "not ready in time: {said}");
            let Some(line) = lines.next() else {
                let mut errors = String::new();
                child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
                child.wait().unwrap();
                panic!("it ended: {said}\n{errors}");
            };
            said.push_str(&line.unwrap());
            said.push('\n');
        }
        // Somebody must go on reading, or it would meet a closed pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let processes = family(child.id());
        Running { child, processes, state: self.state() }
    }

    fn open_to_nobody(&self) {
        let bin = self.folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let built = Path::new(env!("CARGO_BIN_EXE_holdfast-stack")).parent().unwrap();
        for name in ["holdfast-stack", "holdfast-catalog", "holdfast-reservation", "holdfast-vendor-sync"] {
            std::fs::copy(built.join(name), bin.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        std::fs::set_permissions(self.folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let nobody = (Some(rustix::fs::Uid::from_raw(65534)), Some(rustix::fs::Gid::from_raw(65534)));
        rustix::fs::chown(self.state(), nobody.0, nobody.1).unwrap();
    }
}

/// A stack that runs. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    processes: BTreeSet<Process>,
    state: PathBuf,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All processes that belong to it, itself among them.
    pub(crate) fn processes(&self) -> &BTreeSet<Process> {
        &self.processes
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap(), signal).unwrap();
    }

    /// Waits until it has ended, and until none of its processes is left.
    pub(crate) fn ended(self) -> ExitStatus {
        self.ended_with_errors().0
    }

    /// The same, with what it complained of.
    pub(crate) fn ended_with_errors(mut self) -> (ExitStatus, String) {
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        let status = self.child.wait().unwrap();
        let start = Instant::now();
        loop {
            let left: Vec<Process> = everybody()
                .into_iter()
                .filter(|process| self.processes.contains(process) || belongs_to(process.pid, &self.state))
                .collect();
            if left.is_empty() {
                return (status, errors);
            }
            assert!(start.elapsed() < GONE_WITHIN, "left behind: {:?}", left.iter().map(describe).collect::<Vec<_>>());
            std::thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped_already = self.child.wait();
    }
}

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    started: u64,
    parent: u32,
}

/// All processes of this machine that run; a dead one that waits for its parent to notice does not.
fn everybody() -> BTreeSet<Process> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| process(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn process(pid: u32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    if matches!(fields[0], "Z" | "X") {
        return None;
    }
    Some(Process { pid, started: fields.get(19)?.parse().ok()?, parent: fields.get(1)?.parse().ok()? })
}

/// A process and all that come of it.
fn family(pid: u32) -> BTreeSet<Process> {
    let all = everybody();
    let mut found: BTreeSet<Process> = all.iter().copied().filter(|process| process.pid == pid).collect();
    loop {
        let more: Vec<Process> = all
            .iter()
            .copied()
            .filter(|process| !found.contains(process) && found.iter().any(|parent| parent.pid == process.parent))
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// Whether a process was started for this state folder, whoever its parent is by now.
fn belongs_to(pid: u32, state: &Path) -> bool {
    let state = state.to_str().unwrap();
    let runs_in = std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder.starts_with(state));
    let mentions = |file: &str| {
        std::fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|text| String::from_utf8_lossy(&text).contains(state))
    };
    pid != std::process::id() && (runs_in || mentions("cmdline") || mentions("environ"))
}

pub(crate) fn describe(process: &Process) -> String {
    let command = std::fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
    format!("{} {}", process.pid, String::from_utf8_lossy(&command).replace('\0', " "))
}
