//! PostgreSQL refuses to run as root; this is how root runs it all the same.

use std::ffi::OsString;
use std::path::Path;

use rustix::fs::{Gid, Uid};
use rustix::process::geteuid;

use crate::error::{Result, StackError};
use crate::process::{Process, Spec};

/// Debian's `nobody`.
const NOBODY: u32 = 65534;

/// What is put before PostgreSQL's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unprivileged {
    /// Nothing: we are an ordinary user already.
    AsWeAre,
    /// A user namespace in which root has another number: files stay root's, any path can be reached.
    Namespace,
    /// Another user, with root's power over files as its only privilege: where namespaces are forbidden, as in many
    /// containers.
    OtherUser,
}

impl Unprivileged {
    /// Finds out which of them this process needs and may use.
    pub(crate) async fn choose() -> Self {
        if !geteuid().is_root() {
            return Self::AsWeAre;
        }
        let probe = Spec::new("unshare", "true").wrapped(&Self::Namespace.wrapper());
        if Process::output(&probe).await.is_ok() { Self::Namespace } else { Self::OtherUser }
    }

    /// The command to put before a program.
    pub(crate) fn wrapper(&self) -> Vec<OsString> {
        let words: &[&str] = match self {
            Self::AsWeAre => &[],
            Self::Namespace => &["unshare", "--user", "--map-user=65534", "--map-group=65534", "--"],
            // Changing the user clears the parent-death signal, so setpriv sets it again.
            Self::OtherUser => &[
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "--inh-caps=-all,+dac_override",
                "--ambient-caps=-all,+dac_override",
                "--bounding-set=-all,+dac_override",
                "--pdeathsig=KILL",
                "--",
            ],
        };
        words.iter().map(OsString::from).collect()
    }

    /// Gives `folder` and all that lies in it to the user that PostgreSQL will run as.
    ///
    /// # Errors
    ///
    /// [`StackError::NotWritable`]; part of the folder may have changed hands.
    pub(crate) fn own(&self, folder: &Path) -> Result<()> {
        let owner = match self {
            Self::AsWeAre => return Ok(()),
            Self::Namespace => 0,
            Self::OtherUser => NOBODY,
        };
        let is = rustix::fs::stat(folder).map_err(|error| StackError::unwritable(folder, error.into()))?.st_uid;
        if is == owner {
            return Ok(());
        }
        give(folder, Uid::from_raw(owner), Gid::from_raw(owner))
    }
}

fn give(path: &Path, user: Uid, group: Gid) -> Result<()> {
    let unwritable = |error: std::io::Error| StackError::unwritable(path, error);
    // What is inside changes hands first: a walk that is cut off is taken up again, because the folder tells.
    if path.symlink_metadata().map_err(unwritable)?.is_dir() {
        for entry in std::fs::read_dir(path).map_err(unwritable)? {
            give(&entry.map_err(unwritable)?.path(), user, group)?;
        }
    }
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(rustix::fs::CWD, path, Some(user), Some(group), flags).map_err(|error| unwritable(error.into()))
}
