//! What a backup says of itself: a file beside the dumps that is written last.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;

/// Its name in the backup's folder.
pub(crate) const FILE: &str = "manifest.json";
/// The form of a manifest that this holdctl writes, and the only one it reads.
const FORM: u32 = 1;

/// All of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    form: u32,
    /// The version of the holdctl that wrote it.
    holdctl: String,
    /// The databases, each by itself: they were not dumped at one instant.
    pub(crate) databases: Vec<Kept>,
}

/// One service's database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Whose it is: catalog, reservation or vendor-sync.
    pub(crate) service: String,
    /// The dump, in the same folder.
    pub(crate) file: String,
    /// How long it is.
    pub(crate) bytes: u64,
    /// SHA-256 of it, in hexadecimal digits.
    pub(crate) sha256: String,
    /// By Postgres's clock: everything that was committed until then is in it.
    pub(crate) backup_time: String,
    /// The version of the newest migration.
    pub(crate) schema_version: i64,
    /// The server's major version.
    pub(crate) server_major: u32,
    /// What wrote the dump.
    pub(crate) pg_dump: String,
    /// How many rows each table has.
    pub(crate) rows: BTreeMap<String, u64>,
}

impl Manifest {
    pub(crate) fn of(databases: Vec<Kept>) -> Self {
        Self { form: FORM, holdctl: env!("CARGO_PKG_VERSION").to_owned(), databases }
    }

    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).expect("a manifest can be written as JSON");
        std::fs::write(folder.join(FILE), format!("{text}\n"))?;
        File::open(folder.join(FILE))?.sync_all()
    }

    /// Reads it and checks that every file is as it says.
    ///
    /// # Errors
    /// [`Failure::Usage`]: it is no backup. [`Failure::Refused`]: it is damaged.
    pub(crate) fn read(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(FILE);
        let no_backup = |why: &dyn std::fmt::Display| Failure::Usage(format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(&path).map_err(|error| no_backup(&error))?;
        let manifest: Self = serde_json::from_str(&text).map_err(|error| no_backup(&error))?;
        if manifest.form != FORM {
            let why = format!("its form is {}, and this holdctl reads {FORM}", manifest.form);
            return Err(no_backup(&why));
        }
        for kept in &manifest.databases {
            // A name with a path in it would lead elsewhere.
            if Path::new(&kept.file).file_name() != Some(kept.file.as_ref()) {
                return Err(no_backup(&format!("{:?} is no file of this folder", kept.file)));
            }
            let file = folder.join(&kept.file);
            let damaged = |why: &str| Failure::Refused(format!("{}: {why}; the backup is damaged", file.display()));
            let found = digest(&file).map_err(|error| damaged(&error.to_string()))?;
            if found != (kept.bytes, kept.sha256.clone()) {
                return Err(damaged("it is not what the manifest says"));
            }
        }
        Ok(manifest)
    }
}

/// How long a file is, and its SHA-256.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn digest(path: &Path) -> io::Result<(u64, String)> {
    let (mut file, mut hash, mut bytes) = (File::open(path)?, Sha256::new(), 0_u64);
    let mut piece = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            let digits = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok((bytes, digits));
        }
        hash.update(&piece[..read]);
        bytes += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> (tempfile::TempDir, Manifest) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("catalog.dump"), b"what was there").expect("a file");
        let (bytes, sha256) = digest(&folder.path().join("catalog.dump")).expect("it is there");
        let kept = Kept {
            service: "catalog".into(),
            file: "catalog.dump".into(),
            bytes,
            sha256,
            backup_time: "2026-01-01T00:00:00Z".into(),
            schema_version: 1,
            server_major: 15,
            pg_dump: "pg_dump (PostgreSQL) 15".into(),
            rows: BTreeMap::new(),
        };
        let manifest = Manifest::of(vec![kept]);
        manifest.write(folder.path()).expect("it can be written");
        (folder, manifest)
    }

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        let (folder, manifest) = backup();
        assert_eq!(Manifest::read(folder.path()).expect("a backup").databases, manifest.databases);
    }

    #[test]
    fn a_backup_with_a_file_that_is_not_what_it_was_is_refused() {
        let (folder, _) = backup();
        std::fs::write(folder.path().join("catalog.dump"), b"what was therE").expect("a file");
        assert!(matches!(Manifest::read(folder.path()), Err(Failure::Refused(why)) if why.contains("damaged")));
        std::fs::remove_file(folder.path().join("catalog.dump")).expect("it is gone");
        assert!(matches!(Manifest::read(folder.path()), Err(Failure::Refused(_))));
    }

    #[test]
    fn what_is_no_backup_or_leads_out_of_its_folder_is_not_taken_for_one() {
        let (folder, mut manifest) = backup();
        manifest.databases[0].file = "../catalog.dump".into();
        manifest.write(folder.path()).expect("it can be written");
        assert!(matches!(Manifest::read(folder.path()), Err(Failure::Usage(_))));
        std::fs::write(folder.path().join(FILE), "{}").expect("a file");
        assert!(matches!(Manifest::read(folder.path()), Err(Failure::Usage(_))));
        assert!(matches!(Manifest::read(&folder.path().join("nowhere")), Err(Failure::Usage(_))));
    }
}
