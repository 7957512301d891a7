//! `./dev chart`: everything that is checked of the Helm chart, by `k8s/checks`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::chart_run;
use crate::error::{Result, StackError};
use crate::install;
use crate::process::{Process, Spec};
use crate::programs::on_path;
use crate::project::Project;
use crate::python;
use crate::say::say;

/// What the check may do besides looking.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Write what is made from other files: the values' schema, README's table, the golden files.
    #[arg(long)]
    write: bool,
    /// Do not check but run: the smallest example as pods, on private stores, to `helm test`, a rollout and the end.
    #[arg(long, conflicts_with = "write")]
    run: bool,
    /// With --run: the folder with the programs, an image's or a release's. Absent: what is built here.
    #[arg(long, value_name = "FOLDER", requires = "run")]
    programs: Option<PathBuf>,
}

/// Gets the tools that are missing, then runs all checks; they need no network and no cluster.
pub(crate) async fn run(project: &Project, options: &Options) -> Result<ExitCode> {
    if options.run {
        let own = std::env::current_exe().map_err(|error| StackError::io("looking for the built programs", error))?;
        let built = own.parent().unwrap_or(Path::new("."));
        chart_run::run(project, options.programs.as_deref().unwrap_or(built)).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let checks = project.root().join("k8s/checks");
    let tools = python::environment(project, "chart-checks", &read(&checks.join("requirements.txt"))?).await?;
    // checkov brings a hundred packages, and none of them shall choose the versions of ours.
    let checkov = python::environment(project, "checkov", &read(&checks.join("checkov-requirements.txt"))?).await?;
    let own = std::env::current_exe().map_err(|error| StackError::io("looking for the built programs", error))?;
    let mut check = Spec::new("the checks of the chart", tools.join("bin/python"))
        .arg(checks.join("main.py"))
        .arg("--root")
        .arg(project.root())
        .arg("--programs")
        .arg(own.parent().unwrap_or(Path::new(".")))
        .arg("--checkov")
        .arg(checkov.join("bin/checkov"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    match promtool(project).await {
        Ok(promtool) => check = check.arg("--promtool").arg(promtool),
        // What needs it fails by itself, and says how to get it.
        Err(error) => say(format!("promtool is not to be had: {error}")),
    }
    if options.write {
        check = check.arg("--write");
    }
    let status = Process::run(&check).await?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| StackError::io(format!("reading {}", path.display()), error))
}

/// Prometheus' tool for rules: the machine's, or out of Debian's package, of which it is the only part that is used.
async fn promtool(project: &Project) -> Result<PathBuf> {
    match on_path("promtool") {
        Some(found) => Ok(found),
        None => Ok(install::unpack_alone(project, "prometheus").await?.join("usr/bin/promtool")),
    }
}
