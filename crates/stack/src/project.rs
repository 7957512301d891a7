//! Where things lie: the project's root and its state folder, and the lock that keeps two stacks apart.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Result, StackError};

/// The project's folders.
#[derive(Debug, Clone)]
pub struct Project {
    root: PathBuf,
    state: PathBuf,
}

impl Project {
    /// The project that this program was built from, or the one named by `HOLDFAST_ROOT`; its state lies in
    /// `.holdfast` there, or in `HOLDFAST_STATE_DIR`.
    pub fn locate() -> Self {
        let root = std::env::var_os("HOLDFAST_ROOT").map_or_else(built_from, PathBuf::from);
        match std::env::var_os("HOLDFAST_STATE_DIR") {
            Some(state) => Self { root, state: state.into() },
            None => Self { state: root.join(".holdfast"), root },
        }
    }

    /// A project with its state in `state`: for tests.
    pub fn with_state(state: impl Into<PathBuf>) -> Self {
        Self { root: built_from(), state: state.into() }
    }

    /// The folder that holds the workspace's `Cargo.toml`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder for everything that running leaves behind: data, logs, secrets, caches. Ignored by git.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Downloads that survive `./dev reset`.
    pub fn cache(&self) -> PathBuf {
        self.state.join("cache")
    }

    /// Logs of the stores and the services, one file each.
    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// Files that only mean something while a stack runs: tokens, configurations, announced addresses.
    pub fn run(&self) -> PathBuf {
        self.state.join("run")
    }

    /// Where a running stack says how to reach it; see [`crate::endpoints::Endpoints`].
    pub fn endpoints(&self) -> PathBuf {
        self.state.join("endpoints.json")
    }

    /// Makes the state folder and one folder below it.
    ///
    /// # Errors
    ///
    /// [`StackError::NotWritable`] or [`StackError::DiskFull`].
    pub fn make(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|error| StackError::unwritable(folder, error))
    }

    /// Takes the project's lock for as long as the answer lives, so that two stacks never share a data folder.
    ///
    /// # Errors
    ///
    /// [`StackError::AlreadyRunning`] when another process holds it, [`StackError::NotWritable`] when the lock file
    /// cannot be made.
    pub fn lock(&self) -> Result<Lock> {
        self.make(&self.state)?;
        let path = self.state.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&path)
            .map_err(|error| StackError::unwritable(&path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).map_err(|error| StackError::io("reading the lock file", error))?;
                return Err(StackError::AlreadyRunning { pid: pid.trim().into() });
            }
            Err(TryLockError::Error(error)) => return Err(StackError::io("locking the state folder", error)),
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()));
        written.map_err(|error| StackError::unwritable(&path, error))?;
        Ok(Lock { _file: file })
    }

    /// The process that holds the project's lock, if one does.
    pub fn holder(&self) -> Option<u32> {
        let mut file = File::open(self.state.join("lock")).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).ok()?;
                pid.trim().parse().ok()
            }
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }
}

/// The project's lock; the system frees it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Writes a file that only its owner may read, replacing what was there in one step.
///
/// # Errors
///
/// [`StackError::NotWritable`] or [`StackError::DiskFull`]; a reader never sees half a file.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    let unwritable = |error| StackError::unwritable(path, error);
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft).map_err(unwritable)?;
    file.write_all(text.as_bytes()).map_err(unwritable)?;
    std::fs::rename(&draft, path).map_err(unwritable)
}

fn built_from() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}
