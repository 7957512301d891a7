//! `./dev roll`: from an older version's programs and chart to these, under load, and back.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::test;
use crate::error::{Result, StackError};
use crate::process::{Process, Spec};
use crate::project::Project;
use crate::say::say;

/// The test that rolls.
const TEST: &str = "the_version_before_rolls_to_this_one_and_back_under_load";
/// What cargo is asked for: with the test what ./dev builds always, or it would compile everything anew for the test alone.
const TESTED: [&str; 7] = [
    "holdfast-tests",
    "holdfast-stack",
    "holdfast-ctl",
    "holdfast-catalog",
    "holdfast-reservation",
    "holdfast-vendor-sync",
    "holdfast",
];
/// The programs that an image is made of: one for all roles, or, before there was one, one for each.
const ONE: &[&str] = &["holdfast"];
const SINGLE: &[&str] = &["holdfast-ctl", "holdfast-catalog", "holdfast-reservation", "holdfast-vendor-sync"];

/// Words of `roll`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The version before: a commit, a tag, or a folder with built programs (holdfast, or one for each service, and holdctl).
    #[arg(long, value_name = "COMMIT|FOLDER")]
    from: String,
    /// The chart of the version before. Absent: that commit's, and with a folder of programs this one.
    #[arg(long, value_name = "FOLDER")]
    from_chart: Option<PathBuf>,
}

/// Builds the version before if it must, and rolls from it to this one and back.
pub(crate) async fn run(project: &Project, options: Options) -> Result<ExitCode> {
    let folder = PathBuf::from(&options.from);
    let (programs, chart) = if folder.is_dir() {
        let absolute = folder.canonicalize().map_err(|error| StackError::io("looking for the programs", error))?;
        (absolute, None)
    } else {
        build(project, &options.from).await?
    };
    let chart = options.from_chart.or(chart);
    let mut variables = vec![("HOLDFAST_ROLL_FROM".to_owned(), programs.display().to_string())];
    if let Some(chart) = chart {
        let chart = chart.canonicalize().map_err(|error| StackError::io("looking for the chart before", error))?;
        variables.push(("HOLDFAST_ROLL_FROM_CHART".to_owned(), chart.display().to_string()));
    }
    say(format!("Rolling from {} to what is built here, and back …", options.from));
    let packages = TESTED.iter().flat_map(|name| ["-p", name]);
    let words = packages.chain(["--test", "cluster", "--no-capture", TEST]).map(str::to_owned).collect();
    let ended = test::run_with(project, words, variables).await?;
    if ended != ExitCode::SUCCESS {
        say(
            "A rollback needs a schema that still serves the version before: see k8s/holdfast/UPGRADING.md, and the ends of the pods' logs above.",
        );
    }
    Ok(ended)
}

/// Builds a commit beside this one: its programs' folder and its chart, if it has one.
async fn build(project: &Project, commit: &str) -> Result<(PathBuf, Option<PathBuf>)> {
    let git = |words: &[&str]| Spec::new("git", "git").arg("-C").arg(project.root()).args(words.iter().copied());
    let name = format!("{commit}^{{commit}}");
    let found = Process::output(&git(&["rev-parse", "--verify", "--end-of-options", &name])).await;
    let sha = found.map_err(|_error| {
        StackError::Usage(format!("{commit} is neither a folder with programs nor a commit of this repository"))
    })?;
    let sha = sha.trim();
    let home = project.state().join("roll");
    project.make(&home)?;
    let tree = home.join(&sha[..12]);
    if !tree.join("Cargo.toml").is_file() {
        say(format!("Getting {sha} …"));
        Process::output(&git(&["worktree", "prune"])).await?;
        Process::output(&git(&["worktree", "add", "--detach", "--force"]).arg(&tree).arg(sha)).await?;
    }
    // One folder for all of them: what they have in common is built once.
    let target = home.join("target");
    let packages = if tree.join("crates/holdfast/Cargo.toml").is_file() { ONE } else { SINGLE };
    say(format!("Building {} …", packages.join(", ")));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = Spec::new("cargo build", cargo).arg("build").args(packages.iter().flat_map(|name| ["-p", name]));
    let status = Process::run(&build.env("CARGO_TARGET_DIR", &target).cwd(&tree)).await?;
    if !status.success() {
        return Err(StackError::Found(format!("{commit} does not build")));
    }
    let programs = home.join(format!("programs-{}", &sha[..12]));
    keep(&target.join("debug"), &programs, packages == ONE)?;
    let chart = tree.join("k8s/holdfast");
    Ok((programs, chart.join("Chart.yaml").is_file().then_some(chart)))
}

/// Keeps the built programs apart, because the next build replaces them.
fn keep(built: &Path, programs: &Path, one: bool) -> Result<()> {
    std::fs::create_dir_all(programs).map_err(|error| StackError::unwritable(programs, error))?;
    let single = ["holdctl", "holdfast-catalog", "holdfast-reservation", "holdfast-vendor-sync"];
    let names = if one { &["holdfast"][..] } else { &single };
    for name in names {
        let (from, to) = (built.join(name), programs.join(name));
        std::fs::copy(&from, &to).map_err(|error| StackError::unwritable(&to, error))?;
    }
    Ok(())
}
