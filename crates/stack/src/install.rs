//! Gets PostgreSQL and Redis where they are missing, from Debian's packages: root installs them, anybody else unpacks
//! them into the project's cache.
//!
//! Architecture invariant: installing starts nothing and enables nothing; the machine's own servers are its owner's
//! affair.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Result, StackError};
use crate::process::{Process, Spec};
use crate::programs::{POSTGRES_MAJOR, PostgresPrograms, REDIS_MAJOR, RedisProgram, on_path, unpacked};
use crate::project::Project;
use crate::say::say;

/// A package list that cannot be fetched is an error, which apt otherwise only mentions.
const STRICT: [&str; 2] = ["-o", "APT::Update::Error-Mode=any"];

/// Which servers are to be run.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// PostgreSQL 15 or newer.
    pub postgres: bool,
    /// Redis 7 or newer.
    pub redis: bool,
}

/// The servers that were wanted and found.
#[derive(Debug, Clone)]
pub struct Programs {
    /// PostgreSQL, if it was wanted.
    pub postgres: Option<PostgresPrograms>,
    /// Redis, if it was wanted.
    pub redis: Option<RedisProgram>,
}

/// Finds the servers, getting those that are missing.
///
/// # Errors
///
/// [`StackError::Unavailable`] with what to install when a server cannot be had, [`StackError::Usage`] when an override
/// names no usable one, [`StackError::NotWritable`] when the cache cannot be written.
pub async fn programs(project: &Project, wanted: Wanted) -> Result<Programs> {
    let found = find(project, wanted).await?;
    let missing = found.missing(wanted);
    if missing.is_empty() {
        return Ok(found);
    }
    let got = get(project, &missing).await;
    let found = find(project, wanted).await?;
    let missing = found.missing(wanted);
    if missing.is_empty() {
        return Ok(found);
    }
    let what = missing.into_iter().map(|missing| missing.what).collect::<Vec<_>>().join(" and ");
    let detail = got.err().map_or("it was installed, and cannot be run".into(), |error| error.to_string());
    Err(StackError::Unavailable { what, detail, install: advice() })
}

async fn find(project: &Project, wanted: Wanted) -> Result<Programs> {
    Ok(Programs {
        postgres: if wanted.postgres { PostgresPrograms::find(project).await? } else { None },
        redis: if wanted.redis { RedisProgram::find(project).await? } else { None },
    })
}

impl Programs {
    fn missing(&self, wanted: Wanted) -> Vec<Missing> {
        let mut missing = Vec::new();
        if wanted.postgres && self.postgres.is_none() {
            missing.push(Missing { what: format!("PostgreSQL {POSTGRES_MAJOR}"), package: "postgresql-15" });
        }
        if wanted.redis && self.redis.is_none() {
            missing.push(Missing { what: format!("Redis {REDIS_MAJOR}"), package: "redis-server" });
        }
        missing
    }
}

struct Missing {
    what: String,
    package: &'static str,
}

async fn get(project: &Project, missing: &[Missing]) -> Result<()> {
    let whats: Vec<&str> = missing.iter().map(|missing| missing.what.as_str()).collect();
    let whats = format!("{} {}", whats.join(" and "), if whats.len() == 1 { "is" } else { "are" });
    let packages: Vec<&str> = missing.iter().map(|missing| missing.package).collect();
    if !is_debian() {
        return Err(StackError::Usage(format!("{whats} missing, and this is no Debian to install it on")));
    }
    if can_install() {
        say(format!("{whats} missing: installing Debian's {} …", packages.join(" and ")));
        match install(project, &packages).await {
            Ok(()) => return Ok(()),
            Err(error) => {
                let text = error.to_string();
                let why = text.lines().find_map(|line| line.trim().strip_prefix("E: ")).unwrap_or(&text);
                say(format!("  that did not work ({why}); unpacking into the project's cache instead"));
            }
        }
    } else {
        say(format!("{whats} missing: unpacking Debian's {} into the project's cache …", packages.join(" and ")));
    }
    unpack(project, &packages, Path::new("/var/lib/dpkg/status")).await
}

fn is_debian() -> bool {
    on_path("apt-get").is_some() && on_path("dpkg").is_some()
}

/// Whether packages can be installed: on a Debian, as root.
pub(crate) fn can_install() -> bool {
    is_debian() && rustix::process::geteuid().is_root()
}

/// Installs packages as root.
///
/// # Errors
///
/// [`StackError::Command`] with what apt-get said; some of them may be installed then.
pub(crate) async fn install(project: &Project, packages: &[&str]) -> Result<()> {
    // apt gives the packages' scripts a PATH of its own.
    let mut path = OsString::from("DPkg::Path=");
    path.push(shims(project)?);
    path.push(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let apt = |name: &str| {
        Spec::new(name, "apt-get")
            .arg("-o")
            .arg(&path)
            .args(["-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0", "-qq"])
            .args(STRICT)
            .env("DEBIAN_FRONTEND", "noninteractive")
    };
    let install = apt("apt-get install").args(["install", "-y", "--no-install-recommends"]).args(packages);
    if Process::output(&install).await.is_ok() {
        return Ok(());
    }
    // A fresh machine has no package lists yet, an old one outdated lists.
    Process::output(&apt("apt-get update").arg("update")).await?;
    Process::output(&install).await.map(|_output| ())
}

/// Makes a folder of programs that stand before Debian's while packages are installed, so that their scripts neither
/// start nor enable a server, nor make PostgreSQL's default cluster.
fn shims(project: &Project) -> Result<PathBuf> {
    const NOTHING: &str = "#!/bin/sh\nexit 0\n";
    const NO_ENABLE: &str = "#!/bin/sh\n\
         for word in \"$@\"; do case $word in enable | defaults | was-enabled) exit 0 ;; esac; done\n\
         exec \"/usr/bin/${0##*/}\" \"$@\"\n";
    let folder = project.cache().join("debian/shims");
    project.make(&folder)?;
    for (name, text) in [
        ("invoke-rc.d", NOTHING),
        ("deb-systemd-invoke", NOTHING),
        ("pg_createcluster", NOTHING),
        ("deb-systemd-helper", NO_ENABLE),
        ("update-rc.d", &NO_ENABLE.replace("/usr/bin", "/usr/sbin")),
    ] {
        let path = folder.join(name);
        let written = std::fs::write(&path, text)
            .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)));
        written.map_err(|error| StackError::unwritable(&path, error))?;
    }
    Ok(folder)
}

/// Downloads packages with all that they need and this machine lacks, by the packages that `status` lists as installed,
/// and unpacks them into the cache.
async fn unpack(project: &Project, packages: &[&str], status: &Path) -> Result<()> {
    let apt = Apt::new(project, "debian", status)?;
    apt.update().await?;
    let plan = apt.spec("apt-get install").args(["--simulate", "install", "--no-install-recommends"]).args(packages);
    let plan = Process::output(&plan).await?;
    let needed = plan.lines().filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next());
    apt.download(needed.filter(|package| !is_ballast(package))).await?;
    apt.extract(&unpacked(project)).await
}

/// Downloads one package that runs without those that it depends on, and unpacks it into a folder of the cache, which is
/// the answer. Does nothing when it is there.
///
/// # Errors
///
/// [`StackError::Command`] with what apt-get said, or [`StackError::NotWritable`]; nothing is in the folder then.
pub(crate) async fn unpack_alone(project: &Project, package: &str) -> Result<PathBuf> {
    let home = format!("debian-{package}");
    let root = project.cache().join(&home).join("root");
    if !root.exists() {
        say(format!("Unpacking Debian's {package} into the project's cache …"));
        let apt = Apt::new(project, &home, Path::new("/var/lib/dpkg/status"))?;
        apt.update().await?;
        apt.download([package]).await?;
        apt.extract(&root).await?;
    }
    Ok(root)
}

/// apt-get with lists and archives of its own, so that nobody needs to be root.
struct Apt {
    state: PathBuf,
    archives: PathBuf,
    status: PathBuf,
}

impl Apt {
    /// Makes its folders below `home` in the cache; `status` lists what is installed.
    fn new(project: &Project, home: &str, status: &Path) -> Result<Self> {
        let home = project.cache().join(home);
        let apt = Self { state: home.join("apt"), archives: home.join("packages"), status: status.into() };
        for folder in [&apt.state.join("lists/partial"), &apt.state.join("archives/partial"), &apt.archives] {
            project.make(folder)?;
        }
        Ok(apt)
    }

    fn spec(&self, name: &str) -> Spec {
        let option = |key: &str, value: &Path| {
            let mut option = OsString::from(format!("{key}="));
            option.push(value);
            [OsString::from("-o"), option]
        };
        Spec::new(name, "apt-get")
            .args(option("Dir::State", &self.state))
            .args(option("Dir::State::status", &self.status))
            .args(option("Dir::Cache", &self.state))
            .args(["-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=true", "-qq"])
            .args(STRICT)
            .cwd(&self.archives)
            .env("LC_ALL", "C")
    }

    async fn update(&self) -> Result<()> {
        Process::output(&self.spec("apt-get update").arg("update")).await.map(|_output| ())
    }

    async fn download(&self, packages: impl IntoIterator<Item = &str>) -> Result<()> {
        let download = self.spec("apt-get download").arg("download").args(packages);
        Process::output(&download).await.map(|_output| ())
    }

    /// Unpacks what was downloaded; `root` gets its name when everything is in it.
    async fn extract(&self, root: &Path) -> Result<()> {
        let draft = root.with_extension("new");
        if draft.exists() {
            std::fs::remove_dir_all(&draft).map_err(|error| StackError::unwritable(&draft, error))?;
        }
        let unreadable = |error| StackError::io("reading the downloaded packages", error);
        for entry in std::fs::read_dir(&self.archives).map_err(unreadable)? {
            let deb = entry.map_err(unreadable)?.path();
            if deb.extension().is_some_and(|extension| extension == "deb") {
                Process::output(&Spec::new("dpkg --extract", "dpkg").arg("--extract").arg(&deb).arg(&draft)).await?;
            }
        }
        if root.exists() {
            std::fs::remove_dir_all(root).map_err(|error| StackError::unwritable(root, error))?;
        }
        std::fs::rename(&draft, root).map_err(|error| StackError::unwritable(root, error))?;
        std::fs::remove_dir_all(&self.archives).map_err(|error| StackError::unwritable(&self.archives, error))
    }
}

/// What Debian's packages depend on and our servers do not: Debian's own scripts around them, and the compiler that
/// PostgreSQL uses for statements larger than any of ours.
fn is_ballast(package: &str) -> bool {
    let begins = ["libllvm", "libz3", "perl", "libperl", "postgresql-common", "postgresql-client-common", "ssl-cert"];
    begins.iter().any(|begin| package.starts_with(begin)) || package.ends_with("-perl")
}

/// What a person types on this machine to install the servers.
fn advice() -> String {
    let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let install = install_command(&system).map_or_else(
        || {
            format!(
                "Install PostgreSQL {POSTGRES_MAJOR} and Redis {REDIS_MAJOR} (or newer), so that initdb and redis-server \
                 are on the PATH."
            )
        },
        |command| format!("As root: {command}."),
    );
    format!(
        "{install} Or say where they are: HOLDFAST_POSTGRES_BIN=/folder/with/initdb \
         HOLDFAST_REDIS_SERVER=/path/of/redis-server. Or use stores that run already: HOLDFAST_POSTGRES_ADMIN_URL=… \
         HOLDFAST_REDIS_URL=…"
    )
}

/// The command for the system that an `os-release` file describes, if it is one that we know.
fn install_command(system: &str) -> Option<&'static str> {
    let value = |key: &str| {
        let line = system.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map_or("", |value| value.trim_matches('"'))
    };
    let is = |name: &str| value("ID") == name || value("ID_LIKE").split_whitespace().any(|like| like == name);
    if value("ID") == "debian" && value("VERSION_ID") == "12" {
        Some("apt-get install --no-install-recommends postgresql-15 redis-server")
    } else if is("debian") {
        Some("apt-get install --no-install-recommends postgresql redis-server")
    } else if is("fedora") {
        Some("dnf install postgresql-server redis")
    } else if is("arch") {
        Some("pacman -S postgresql redis")
    } else if is("alpine") {
        Some("apk add postgresql15 redis")
    } else if is("suse") {
        Some("zypper install postgresql15-server redis")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_system_is_told_its_own_command() {
        let command = |system| install_command(system).unwrap_or("none");
        assert!(command("PRETTY_NAME=\"Debian\"\nVERSION_ID=\"12\"\nID=debian\n").contains(" postgresql-15 "));
        assert!(command("VERSION_ID=\"13\"\nID=debian\n").contains(" postgresql "));
        assert!(command("VERSION_ID=\"24.04\"\nID=ubuntu\nID_LIKE=debian\n").contains("apt-get"));
        assert!(command("ID=rocky\nID_LIKE=\"rhel centos fedora\"\n").starts_with("dnf"));
        assert_eq!(command("ID=plan9\n"), "none");
    }
}
