//! `./dev image`: one small image for all roles, built without a container engine's daemon, and every role started from it.

mod build;
mod podman;
mod roles;
mod sbom;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::error::{Result, StackError};
use crate::install;
use crate::programs::on_path;
use crate::project::Project;
use crate::say::say;
use crate::signals::Interrupts;

/// What builds the image and what runs it, as programs and as Debian's packages of the same names.
const TOOLS: [&str; 4] = ["buildah", "podman", "runc", "conmon"];

/// Flags of `image`.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Only build the image; start nothing from it.
    #[arg(long)]
    build_only: bool,
    /// Make the image of this program, which was compiled before, instead of compiling it.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// How often each role is started and its start measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    starts: u32,
}

/// An image that was built.
struct Image {
    /// Its name in the project's own storage.
    name: String,
    /// The archive that can be pushed or loaded.
    archive: PathBuf,
}

/// Builds the image, then starts every role from it and ends everything again.
pub(crate) async fn run(project: &Project, flags: Flags) -> Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        let words = "./dev image has to be root: containers without it need ranges of users that only root sets up";
        return Err(StackError::Usage(words.to_owned()));
    }
    let mut interrupts = Interrupts::listen()?;
    let _lock = lock(project)?;
    tools(project).await?;
    let podman = podman::Podman::new(project)?;
    // What an earlier run left that was killed: containers, and the secrets that they were given.
    podman.remove_everything().await?;
    let run = run_folder(project);
    if run.exists() {
        std::fs::remove_dir_all(&run).map_err(|error| StackError::unwritable(&run, error))?;
    }
    let work = async {
        let image = build::build(project, &podman, flags.program).await?;
        if !flags.build_only {
            roles::start_all(project, &podman, &image, flags.starts).await?;
        }
        say(format!("\nThe image: {}", image.archive.display()));
        Ok(ExitCode::SUCCESS)
    };
    let ended = tokio::select! {
        () = interrupts.next() => Ok(ExitCode::from(130)),
        ended = work => ended,
    };
    podman.remove_everything().await?;
    ended
}

/// One run at a time: they would take each other's containers for leftovers.
fn lock(project: &Project) -> Result<std::fs::File> {
    let folder = folder(project);
    project.make(&folder)?;
    let path = folder.join("lock");
    let file = std::fs::File::create(&path).map_err(|error| StackError::unwritable(&path, error))?;
    file.try_lock().map_err(|_held| StackError::Usage("another ./dev image runs in this folder".into()))?;
    Ok(file)
}

/// Where everything about the image lies.
fn folder(project: &Project) -> PathBuf {
    project.state().join("image")
}

/// What lies there only while roles run from the image.
fn run_folder(project: &Project) -> PathBuf {
    folder(project).join("run")
}

/// Gets what is missing of the tools.
async fn tools(project: &Project) -> Result<()> {
    let missing = || TOOLS.into_iter().filter(|tool| on_path(tool).is_none()).collect::<Vec<_>>();
    let wanted = missing();
    if wanted.is_empty() {
        return Ok(());
    }
    let tried = if install::can_install() {
        say(format!("Installing Debian's {} …", wanted.join(", ")));
        install::install(project, &wanted).await.err().map(|error| error.to_string())
    } else {
        Some("only root can install them, on a Debian".to_owned())
    };
    if missing().is_empty() {
        return Ok(());
    }
    Err(StackError::Unavailable {
        what: missing().join(", "),
        detail: tried.unwrap_or_else(|| "they were installed, and are not there".into()),
        install: format!("As root: apt-get install --no-install-recommends {}.", TOOLS.join(" ")),
    })
}
