//! Which PostgreSQL and Redis are run: an override, Debian's folder, the project's cache, or the PATH.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::{Result, StackError};
use crate::process::{Process, Spec};
use crate::project::Project;

/// The oldest PostgreSQL that the services are written for, and the one that is installed.
pub const POSTGRES_MAJOR: u32 = 15;
/// The oldest Redis that the scripts are written for.
pub const REDIS_MAJOR: u32 = 7;

/// Where PostgreSQL 15 lies when Debian's package was unpacked below `root`.
pub(crate) fn debian_postgres(root: &Path) -> PathBuf {
    root.join(format!("usr/lib/postgresql/{POSTGRES_MAJOR}/bin"))
}

/// Where newer versions lie on newer systems, oldest first.
fn other_debian_versions() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path().join("bin")).collect();
    folders.sort();
    folders
}

/// PostgreSQL's programs.
#[derive(Debug, Clone)]
pub struct PostgresPrograms {
    /// The folder with `postgres` and `initdb`.
    pub bin: PathBuf,
    /// The major version.
    pub major: u32,
    libraries: Option<OsString>,
}

/// Redis's server.
#[derive(Debug, Clone)]
pub struct RedisProgram {
    /// The program `redis-server`.
    pub server: PathBuf,
    libraries: Option<OsString>,
}

impl PostgresPrograms {
    /// Looks for PostgreSQL: `HOLDFAST_POSTGRES_BIN`, Debian's folder for version 15, the project's cache, the PATH.
    /// `None` when there is none of a version that will do.
    ///
    /// # Errors
    ///
    /// [`StackError::Usage`] when `HOLDFAST_POSTGRES_BIN` names a folder without a usable PostgreSQL.
    pub async fn find(project: &Project) -> Result<Option<Self>> {
        if let Some(folder) = std::env::var_os("HOLDFAST_POSTGRES_BIN") {
            let found = Self::at(Path::new(&folder), None).await;
            return found.map(Some).ok_or_else(|| {
                StackError::Usage(format!(
                    "HOLDFAST_POSTGRES_BIN={} has no PostgreSQL {POSTGRES_MAJOR} or newer (postgres and initdb)",
                    folder.display()
                ))
            });
        }
        let unpacked = unpacked(project);
        let mut places = vec![(debian_postgres(Path::new("/")), None)];
        places.push((debian_postgres(&unpacked), Some(library_path(&unpacked))));
        places.extend(other_debian_versions().into_iter().map(|folder| (folder, None)));
        places.extend(path_folders().into_iter().map(|folder| (folder, None)));
        for (folder, libraries) in places {
            if let Some(found) = Self::at(&folder, libraries).await {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn at(bin: &Path, libraries: Option<OsString>) -> Option<Self> {
        if !bin.join("initdb").is_file() {
            return None;
        }
        let version = with_libraries(Spec::new("postgres --version", bin.join("postgres")), libraries.as_ref());
        let major = major(&version).await.filter(|major| *major >= POSTGRES_MAJOR)?;
        Some(Self { bin: bin.into(), major, libraries })
    }

    /// Where its libraries are, when they are not the system's: for `LD_LIBRARY_PATH` of whoever runs its programs.
    pub fn library_path(&self) -> Option<&std::ffi::OsStr> {
        self.libraries.as_deref()
    }

    /// A spec for one of its programs.
    pub(crate) fn spec(&self, name: &str, program: &str) -> Spec {
        with_libraries(Spec::new(name, self.bin.join(program)), self.libraries.as_ref()).env("LC_ALL", "C")
    }
}

impl RedisProgram {
    /// Looks for Redis: `HOLDFAST_REDIS_SERVER`, the PATH, the project's cache. `None` when there is none of version 7
    /// or newer.
    ///
    /// # Errors
    ///
    /// [`StackError::Usage`] when `HOLDFAST_REDIS_SERVER` names a program that is no usable Redis.
    pub async fn find(project: &Project) -> Result<Option<Self>> {
        if let Some(server) = std::env::var_os("HOLDFAST_REDIS_SERVER") {
            let found = Self::at(Path::new(&server), None).await;
            return found.map(Some).ok_or_else(|| {
                let server = server.display();
                StackError::Usage(format!("HOLDFAST_REDIS_SERVER={server} is no Redis {REDIS_MAJOR} or newer"))
            });
        }
        for folder in path_folders() {
            if let Some(found) = Self::at(&folder.join("redis-server"), None).await {
                return Ok(Some(found));
            }
        }
        let unpacked = unpacked(project);
        Ok(Self::at(&unpacked.join("usr/bin/redis-server"), Some(library_path(&unpacked))).await)
    }

    async fn at(server: &Path, libraries: Option<OsString>) -> Option<Self> {
        if !server.is_file() {
            return None;
        }
        let version = with_libraries(Spec::new("redis-server --version", server), libraries.as_ref());
        major(&version).await.filter(|major| *major >= REDIS_MAJOR)?;
        Some(Self { server: server.into(), libraries })
    }

    /// A spec for the server.
    pub(crate) fn spec(&self, name: &str) -> Spec {
        with_libraries(Spec::new(name, &self.server), self.libraries.as_ref())
    }
}

/// The folder of the cache into which Debian's packages are unpacked.
pub(crate) fn unpacked(project: &Project) -> PathBuf {
    project.cache().join("debian/root")
}

fn with_libraries(spec: Spec, libraries: Option<&OsString>) -> Spec {
    match libraries {
        Some(path) => spec.env("LD_LIBRARY_PATH", path),
        None => spec,
    }
}

fn library_path(root: &Path) -> OsString {
    let arch = format!("{}-linux-gnu", std::env::consts::ARCH);
    let folders = ["usr/lib", "lib"].map(|folder| root.join(folder).join(&arch));
    std::env::join_paths(folders).unwrap_or_default()
}

/// The folders in which programs are looked for; the ones for administrators too, which ordinary users often lack.
pub(crate) fn path_folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    folders.extend(["/usr/bin", "/usr/local/bin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    folders
}

/// A program on the PATH.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    path_folders().into_iter().map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Asks a server for its version; `None` when it does not even start, for example for want of a library.
async fn major(spec: &Spec) -> Option<u32> {
    major_in(&Process::output(&spec.clone().arg("--version")).await.ok()?)
}

/// The first number of the first version in a text like `postgres (PostgreSQL) 15.18` or `Redis server v=7.0.15 sha=…`.
fn major_in(text: &str) -> Option<u32> {
    let word = text.split_whitespace().map(|word| word.trim_start_matches("v="));
    word.filter(|word| word.starts_with(|first: char| first.is_ascii_digit()))
        .find_map(|word| word.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_what_the_servers_say() {
        assert_eq!(major_in("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major_in("postgres (PostgreSQL) 17beta1"), Some(17));
        assert_eq!(major_in("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64 build=1"), Some(7));
        assert_eq!(major_in("error while loading shared libraries: libpq.so"), None);
    }
}
