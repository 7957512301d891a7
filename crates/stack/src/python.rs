//! Python environments in the project's cache: one with a gRPC client that is not ours, for the tests that look at
//! Holdfast as a stranger does, and one for a tool that comes by the same way.

use std::path::{Path, PathBuf};

use crate::error::{Result, StackError};
use crate::install;
use crate::process::{Process, Spec};
use crate::programs::on_path;
use crate::project::Project;
use crate::say::say;

/// The variable by which tests find the interpreter.
pub(crate) const VARIABLE: &str = "HOLDFAST_TEST_PYTHON";

/// What is installed, with every version fixed.
const REQUIREMENTS: &str = include_str!("../python-requirements.txt");

/// Makes a virtual environment in the project's cache, once for each list of requirements. `None`, with a word about it,
/// when it cannot be had here; on a build machine (`CI=true`) that is an error, so that no test is left out unseen.
///
/// # Errors
///
/// [`StackError::Unavailable`] on a build machine.
pub(crate) async fn provide(project: &Project) -> Result<Option<PathBuf>> {
    if let Some(given) = std::env::var_os(VARIABLE) {
        return Ok(Some(given.into()));
    }
    match environment(project, "python", REQUIREMENTS).await {
        Ok(home) => Ok(Some(home.join("bin/python"))),
        Err(error) if !on_build_machine() => {
            say(format!("Python's gRPC client is not to be had, so its tests are left out: {error}"));
            Ok(None)
        }
        Err(error) => Err(StackError::Unavailable {
            what: "Python's gRPC client".into(),
            detail: error.to_string(),
            install: format!("Install python3 with venv, or set {VARIABLE} to an interpreter that has grpcio."),
        }),
    }
}

/// As [`provide`], the interpreter that has Helm.
///
/// # Errors
///
/// [`StackError::Unavailable`] on a build machine.
pub(crate) async fn provide_chart(project: &Project) -> Result<Option<PathBuf>> {
    match chart(project).await {
        Ok(python) => Ok(Some(python)),
        Err(error) if !on_build_machine() => {
            say(format!("Helm is not to be had, so the tests that run the chart will fail: {error}"));
            Ok(None)
        }
        Err(error) => Err(StackError::Unavailable {
            what: "Helm for Python".into(),
            detail: error.to_string(),
            install: "Install python3 with venv, and see k8s/checks/requirements.txt.".into(),
        }),
    }
}

/// An interpreter that has Helm, for the chart. It is the checks' own.
///
/// # Errors
///
/// As [`environment`], and [`StackError::Io`] when the list of what the checks need is not there.
pub(crate) async fn chart(project: &Project) -> Result<PathBuf> {
    let list = project.root().join("k8s/checks/requirements.txt");
    let requirements = std::fs::read_to_string(&list);
    let requirements = requirements.map_err(|error| StackError::io(format!("reading {}", list.display()), error))?;
    Ok(environment(project, "chart-checks", &requirements).await?.join("bin/python"))
}

/// Whether this is a build machine, where a check that cannot run must not pass.
pub(crate) fn on_build_machine() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "false" | "0"))
}

/// Makes the virtual environment `name` with what `requirements` list, unless it is there already; its folder.
///
/// # Errors
///
/// [`StackError::Command`] when Python or its package index is not to be had.
pub(crate) async fn environment(project: &Project, name: &str, requirements: &str) -> Result<PathBuf> {
    let home = project.cache().join(name);
    let done = home.join("requirements.txt");
    if std::fs::read_to_string(&done).is_ok_and(|text| text == requirements) {
        return Ok(home);
    }
    project.make(&project.cache())?;
    say(format!("Getting {name} into the project's cache …"));
    let draft = project.cache().join(format!("{name}.requirements.txt"));
    std::fs::write(&draft, requirements).map_err(|error| StackError::unwritable(&draft, error))?;
    let mut made = fill(&home, &draft).await;
    if made.is_err() && install::can_install() && install::install(project, &["python3-venv"]).await.is_ok() {
        made = fill(&home, &draft).await;
    }
    made?;
    std::fs::rename(&draft, &done).map_err(|error| StackError::unwritable(&done, error))?;
    Ok(home)
}

async fn fill(home: &Path, requirements: &Path) -> Result<()> {
    let mut last = StackError::Usage("python3 is not installed".into());
    // A python3 of the user's own may lack venv where the system's has it, and the other way round.
    for python in on_path("python3").into_iter().chain([PathBuf::from("/usr/bin/python3")]) {
        let make = Spec::new("python3 -m venv", python).args(["-m", "venv", "--clear"]).arg(home);
        let install = Spec::new("pip install", home.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "-r"])
            .arg(requirements);
        let made = match Process::output(&make).await {
            Ok(_) => Process::output(&install).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}
