//! From sources to an image: the program, static; the files around it; the image, the same one every time.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::checks::metadata::Metadata;
use crate::error::{Result, StackError};
use crate::process::{Process, Spec};
use crate::project::Project;
use crate::say::say;

use super::podman::Podman;
use super::{Image, folder, sbom};

/// What it is built for.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The certificates that Debian believes; TLS of the image believes the same.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Where the list of parts lies in the image.
const SBOM: &str = "usr/share/holdfast/sbom.cdx.json";

/// Which commit an image is made of.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// The commit, with `-dirty` behind it when there is more in the folder.
    pub(super) revision: String,
    /// When it was made, in seconds since 1970. Nothing in the image is newer.
    pub(super) time: i64,
    /// The workspace's version.
    pub(super) version: String,
}

/// Builds program and image, and writes the archive.
pub(super) async fn build(project: &Project, podman: &Podman, program: Option<PathBuf>) -> Result<Image> {
    let metadata = Metadata::read(project.root())?;
    let source = source(project, &metadata).await?;
    say(format!("Holdfast {} of {}", source.version, source.revision));
    let program = match program {
        Some(program) => program,
        None => compile(project, &source).await?,
    };
    check_static(&program)?;
    let parts = sbom::write(project, &metadata, &source).await?;
    let context = lay_out(project, &program, &parts)?;
    let name = format!("localhost/holdfast:{}", source.version);
    let first = assemble(project, podman, &context, &name, &source).await?;
    let again = assemble(project, podman, &context, &name, &source).await?;
    if first.digest != again.digest {
        let words = format!("built twice, the image is not the same: {} and {}", first.digest, again.digest);
        return Err(StackError::Found(words));
    }
    let unpacked = size(&context.join("rootfs"))?;
    say(format!("  {} (the same when built again)", first.digest));
    say(format!("  {} unpacked, {} compressed", mib(unpacked), mib(size(&first.archive)?)));
    Ok(Image { name, archive: first.archive })
}

async fn source(project: &Project, metadata: &Metadata) -> Result<Source> {
    let git = |words: &'static [&'static str]| {
        let spec = Spec::new(format!("git {}", words.join(" ")), "git").args(words).cwd(project.root());
        async move { Process::output(&spec).await.map(|text| text.trim().to_owned()) }
    };
    let commit = git(&["rev-parse", "HEAD"]).await?;
    let time = git(&["log", "-1", "--format=%ct"]).await?;
    let time = time.parse().map_err(|_no_number| StackError::Found(format!("git says {time:?} for a time")))?;
    let clean = git(&["status", "--porcelain", "--untracked-files=normal"]).await?.is_empty();
    let version = metadata.members().find(|package| package.name == "holdfast").map(|package| package.version.clone());
    let version = version.ok_or_else(|| StackError::Found("there is no package holdfast".to_owned()))?;
    Ok(Source { revision: if clean { commit } else { format!("{commit}-dirty") }, time, version })
}

/// Compiles the program with everything in it, the C library too, and without a path of this machine in it.
async fn compile(project: &Project, source: &Source) -> Result<PathBuf> {
    let root = project.root();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |path| root.join(path));
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
        .unwrap_or_default();
    let mut flags = OsString::from("-Ctarget-feature=+crt-static");
    for (from, to) in [(root, "/holdfast"), (home.as_path(), "/cargo")] {
        flags.push("\u{1f}--remap-path-prefix=");
        flags.push(from);
        flags.push(format!("={to}"));
    }
    say("Compiling the program, static; the first time takes many minutes …");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let spec = Spec::new("cargo build", cargo)
        .args(["build", "--locked", "--package", "holdfast", "--profile", "image", "--target", TARGET])
        .arg("--target-dir")
        .arg(&target)
        .cwd(root)
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env("HOLDFAST_REVISION", &source.revision);
    let status = Process::run(&spec).await?;
    if !status.success() {
        return Err(StackError::Found(format!("the program could not be compiled ({status})")));
    }
    Ok(target.join(TARGET).join("image/holdfast"))
}

/// Refuses a program that would look for a loader or for libraries which the image has not.
fn check_static(program: &Path) -> Result<()> {
    let bytes = std::fs::read(program).map_err(|error| StackError::io("reading the program", error))?;
    match asks_for_a_loader(&bytes) {
        Some(false) => Ok(()),
        Some(true) => Err(StackError::Found("the program is not static: it asks for a loader".to_owned())),
        None => Err(StackError::Found("the program is no 64-bit ELF file".to_owned())),
    }
}

/// Whether an ELF file has a program header of the kind INTERP; none if it is not one of 64 bits, little-endian.
fn asks_for_a_loader(file: &[u8]) -> Option<bool> {
    const INTERP: u32 = 3;
    if file.get(..6)? != [0x7f, b'E', b'L', b'F', 2, 1] {
        return None;
    }
    let number = |at: usize, bytes: usize| {
        let field = file.get(at..at + bytes)?;
        Some(field.iter().rev().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte)))
    };
    let (start, step, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
    for header in 0..count {
        let at = usize::try_from(start + header * step).ok()?;
        if number(at, 4)? == u64::from(INTERP) {
            return Some(true);
        }
    }
    Some(false)
}

/// Puts what the image is made of beside its recipe; whole, or the next run does it anew.
fn lay_out(project: &Project, program: &Path, parts: &Path) -> Result<PathBuf> {
    let context = folder(project).join("context");
    let root = context.join("rootfs");
    if context.exists() {
        std::fs::remove_dir_all(&context).map_err(|error| StackError::unwritable(&context, error))?;
    }
    let recipe = project.root().join("image/Containerfile");
    let text = std::fs::read(&recipe).map_err(|error| StackError::io("reading image/Containerfile", error))?;
    let read =
        |path: &Path| std::fs::read(path).map_err(|error| StackError::io(format!("reading {}", path.display()), error));
    for (path, content, mode) in [
        ("Containerfile", text, 0o644),
        ("rootfs/holdfast", read(program)?, 0o755),
        ("rootfs/etc/passwd", b"nonroot:x:65532:65532:Holdfast:/:/nonexistent\n".to_vec(), 0o644),
        ("rootfs/etc/group", b"nonroot:x:65532:\n".to_vec(), 0o644),
        // Without it the C library would ask for modules that it cannot load.
        ("rootfs/etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n".to_vec(), 0o644),
        ("rootfs/etc/ssl/certs/ca-certificates.crt", read(Path::new(CERTIFICATES))?, 0o644),
        (&format!("rootfs/{SBOM}"), read(parts)?, 0o644),
    ] {
        put(&context.join(path), &content, mode)?;
    }
    // Whatever this machine's umask is.
    for folder in ["", "etc", "etc/ssl", "etc/ssl/certs", "usr", "usr/share", "usr/share/holdfast"] {
        let path = root.join(folder);
        let set = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755));
        set.map_err(|error| StackError::unwritable(&path, error))?;
    }
    Ok(context)
}

fn put(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let unwritable = |error| StackError::unwritable(path, error);
    std::fs::create_dir_all(path.parent().unwrap_or(path)).map_err(unwritable)?;
    std::fs::write(path, content).map_err(unwritable)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(unwritable)
}

struct Assembled {
    archive: PathBuf,
    digest: String,
}

/// Makes the image of what was laid out, and writes it into an archive.
async fn assemble(
    project: &Project,
    podman: &Podman,
    context: &Path,
    name: &str,
    source: &Source,
) -> Result<Assembled> {
    let created = sbom::instant(source.time);
    let labels = [
        ("title", "holdfast"),
        ("description", "The stock authority behind a shop's checkouts: every role in one program"),
        ("licenses", "Apache-2.0"),
        ("version", &source.version),
        ("revision", &source.revision),
        ("created", &created),
    ]
    .map(|(key, value)| format!("org.opencontainers.image.{key}={value}"));
    let each = |flag: &'static str| labels.iter().flat_map(move |label| [flag.to_owned(), label.clone()]);
    let bud = podman
        .buildah("bud")
        .args(["--isolation", "chroot", "--format", "oci", "--layers=false", "--no-cache", "--quiet"])
        .args(["--identity-label=false", "--timestamp", &source.time.to_string(), "--tag", name])
        .args(each("--label"))
        .args(each("--annotation"))
        .arg(context);
    Process::output(&bud).await?;
    let archive = folder(project).join(format!("holdfast-{}.oci.tar", source.version));
    let digest = folder(project).join("digest");
    for old in [&archive, &digest] {
        let _none_yet = std::fs::remove_file(old);
    }
    let push = podman.buildah("push").arg("--quiet").arg("--digestfile").arg(&digest).arg(name);
    Process::output(&push.arg(format!("oci-archive:{}:{}", archive.display(), source.version))).await?;
    let read = std::fs::read_to_string(&digest).map_err(|error| StackError::io("reading the image's digest", error))?;
    Ok(Assembled { archive, digest: read.trim().to_owned() })
}

/// Bytes of a file, or of all files below a folder.
fn size(path: &Path) -> Result<u64> {
    let reading = |error| StackError::io(format!("reading {}", path.display()), error);
    let meta = path.symlink_metadata().map_err(reading)?;
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    let entries = std::fs::read_dir(path).map_err(reading)?;
    entries.map(|entry| size(&entry.map_err(reading)?.path())).sum()
}

fn mib(bytes: u64) -> String {
    let tenths = bytes * 10 / (1024 * 1024);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with these kinds of program headers.
    fn elf(kinds: &[u32]) -> Vec<u8> {
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1];
        file.resize(0x40, 0);
        file[0x20] = 0x40;
        file[0x36] = 56;
        file[0x38] = u8::try_from(kinds.len()).unwrap();
        for kind in kinds {
            file.extend(kind.to_le_bytes());
            file.extend([0; 52]);
        }
        file
    }

    #[test]
    fn a_program_that_asks_for_a_loader_is_not_static() {
        assert_eq!(asks_for_a_loader(&elf(&[6, 1, 1])), Some(false));
        assert_eq!(asks_for_a_loader(&elf(&[6, 3, 1])), Some(true));
        assert_eq!(asks_for_a_loader(b"#!/bin/sh\n"), None);
        assert_eq!(asks_for_a_loader(&elf(&[6, 1, 1])[..0x50]), None, "cut off");
        // This very test is an ordinary program.
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(asks_for_a_loader(&own), Some(true));
    }

    #[test]
    fn the_recipe_runs_nothing_and_ends_as_what_is_deployed_expects() {
        let project = Project::locate();
        let text = std::fs::read_to_string(project.root().join("image/Containerfile")).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, ["FROM scratch", "COPY rootfs/ /", "USER 65532:65532", "ENTRYPOINT [\"/holdfast\"]"]);
    }

    #[test]
    fn the_layout_has_what_a_program_without_a_system_needs_and_no_more() {
        let state = tempfile::tempdir().unwrap();
        let project = Project::with_state(state.path());
        let (program, parts) = (state.path().join("program"), state.path().join("parts"));
        std::fs::write(&program, "program").unwrap();
        std::fs::write(&parts, "{}").unwrap();
        let context = lay_out(&project, &program, &parts).unwrap();
        let mode = |path: &str| context.join("rootfs").join(path).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("holdfast"), mode("etc/passwd"), mode("etc/ssl/certs")), (0o755, 0o644, 0o755));
        let certificates = std::fs::read_to_string(context.join("rootfs").join(&CERTIFICATES[1..])).unwrap();
        assert!(certificates.contains("BEGIN CERTIFICATE"));
        let mut top: Vec<_> =
            std::fs::read_dir(context.join("rootfs")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        top.sort();
        assert_eq!(top, ["etc", "holdfast", "usr"]);
    }

    #[test]
    fn sizes_are_read_in_mebibytes() {
        assert_eq!((mib(0), mib(1024 * 1024), mib(1_600_000)), ("0.0 MiB".into(), "1.0 MiB".into(), "1.5 MiB".into()));
    }
}
