//! Room on the disk, looked at before stores are started rather than after they died.

use std::path::Path;

use crate::error::{Result, StackError};

/// What a fresh Postgres, its write-ahead log and the services' logs need to start, with some air.
pub(crate) const WANTED_MIB: u64 = 512;

/// Refuses to go on when less than [`WANTED_MIB`] is free where `folder` lies.
///
/// # Errors
///
/// [`StackError::DiskFull`]; nothing was written.
pub(crate) fn check_room(folder: &Path) -> Result<()> {
    let Ok(stat) = rustix::fs::statvfs(folder) else {
        return Ok(()); // A file system that does not tell is no reason to refuse.
    };
    let free_mib = stat.f_bavail.saturating_mul(stat.f_frsize) / (1024 * 1024);
    if free_mib < WANTED_MIB {
        return Err(StackError::DiskFull { path: folder.into(), free_mib, wanted_mib: WANTED_MIB });
    }
    Ok(())
}
