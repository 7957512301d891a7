//! What can go wrong when processes are run, named by what the person at the keyboard does next.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why something could not be found, started, kept running or stopped.
///
/// [`StackError::next_step`] says what to do about it; the command line prints both.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A program that the stack runs is neither installed nor to be had from Debian's packages.
    #[error("{what}: not here, and not to be had: {detail}")]
    Unavailable {
        /// The program, for example "PostgreSQL 15".
        what: String,
        /// What was tried and how it ended.
        detail: String,
        /// The command that installs it on this machine, or where to look.
        install: String,
    },
    /// Somebody else listens on a port that was asked for by number.
    #[error("port {port} on 127.0.0.1 is in use, {what} cannot listen there")]
    PortInUse {
        /// Which part wanted the port.
        what: String,
        /// The port.
        port: u16,
    },
    /// The file system has no room for the data folder.
    #[error("the disk that holds {} is full ({free_mib} MiB free, {wanted_mib} MiB are needed)", path.display())]
    DiskFull {
        /// The folder that was to be written.
        path: PathBuf,
        /// What is free now.
        free_mib: u64,
        /// What the stores need to start.
        wanted_mib: u64,
    },
    /// The data folder was written by another major version of PostgreSQL.
    #[error("{} was written by PostgreSQL {found}, and the programs found are version {wanted}", path.display())]
    OtherVersion {
        /// The data folder.
        path: PathBuf,
        /// The version that wrote it.
        found: String,
        /// The version that was found to run.
        wanted: u32,
    },
    /// Another `./dev` holds this project's data folder.
    #[error("another ./dev runs in this folder (process {pid})")]
    AlreadyRunning {
        /// Its process id, as its lock file tells.
        pid: String,
    },
    /// Nothing runs that could be stopped or used.
    #[error("no ./dev runs in this folder")]
    NotRunning,
    /// The project's state folder, or something in it, cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    NotWritable {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A child process ended by itself.
    #[error("{name} ended by itself ({status}){}", Tail(tail))]
    Died {
        /// The child.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// Where it wrote its log.
        log: PathBuf,
        /// The last lines of that log.
        tail: String,
    },
    /// A child process runs but does not answer.
    #[error("{name} did not get ready within {} s: {detail}", waited.as_secs())]
    NotReady {
        /// The child.
        name: String,
        /// For how long it was waited.
        waited: Duration,
        /// What the last attempt to reach it said.
        detail: String,
        /// Where it writes its log.
        log: PathBuf,
    },
    /// A command that should have ended well did not.
    #[error("{command} failed ({status}){}", Tail(output))]
    Command {
        /// The command line, without secrets.
        command: String,
        /// How it ended.
        status: String,
        /// The last lines that it wrote.
        output: String,
    },
    /// A store that runs refused what was asked of it.
    #[error("{doing}: {detail}")]
    Store {
        /// What was being done.
        doing: String,
        /// What the store said.
        detail: String,
    },
    /// An environment variable or a flag has a value that cannot be used.
    #[error("{0}")]
    Usage(String),
    /// The system refused something that has no name of its own above.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A check of `./dev lint` or a test run found something.
    #[error("{0}")]
    Found(String),
}

/// The usual result of this crate.
pub type Result<T, E = StackError> = std::result::Result<T, E>;

impl StackError {
    /// Wraps an error of the system, turning a full disk into [`StackError::DiskFull`].
    pub fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { doing: doing.into(), source }
    }

    /// An error for `path` that could not be written.
    pub fn unwritable(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        let path = path.into();
        if source.kind() == std::io::ErrorKind::StorageFull {
            return Self::DiskFull { path, free_mib: 0, wanted_mib: crate::disk::WANTED_MIB };
        }
        Self::NotWritable { path, source }
    }

    /// What the person at the keyboard can do about it, as a sentence; empty when the message says it all.
    pub fn next_step(&self) -> String {
        match self {
            Self::Unavailable { install, .. } => install.clone(),
            Self::PortInUse { .. } => {
                "Leave the port's flag out (a free port is taken then), or stop the program that listens there.".into()
            }
            Self::DiskFull { path, .. } => format!(
                "Make room, or let the data live elsewhere: HOLDFAST_STATE_DIR=/some/folder ./dev … ({} stays as it is).",
                path.display()
            ),
            Self::OtherVersion { path, found, .. } => format!(
                "Either run it with that version (HOLDFAST_POSTGRES_BIN=/usr/lib/postgresql/{found}/bin ./dev …), or \
                 throw the data away with ./dev reset, which removes {}.",
                path.display()
            ),
            Self::AlreadyRunning { .. } => "Use the one that runs, or end it with ./dev down.".into(),
            Self::NotRunning => "Start it with ./dev up.".into(),
            Self::NotWritable { path, .. } => format!(
                "Somebody else, perhaps root, made it: give it to yourself (chown -R), or remove {}.",
                path.display()
            ),
            Self::Died { log, .. } | Self::NotReady { log, .. } => format!("Its log tells more: {}", log.display()),
            Self::Command { .. } | Self::Store { .. } | Self::Usage(_) | Self::Io { .. } | Self::Found(_) => {
                String::new()
            }
        }
    }
}

/// Log lines below a message, indented, or nothing.
struct Tail<'a>(&'a str);

impl fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.lines().filter(|line| !line.trim().is_empty()).try_for_each(|line| write!(f, "\n    {line}"))
    }
}
