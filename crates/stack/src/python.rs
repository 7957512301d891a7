//! A Python with a gRPC client that is not ours, for the tests that look at Holdfast as a stranger does.

use std::path::PathBuf;

use crate::error::{Result, StackError};
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
    match make(project).await {
        Ok(python) => Ok(Some(python)),
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

/// Whether this is a build machine, where a check that cannot run must not pass.
pub(crate) fn on_build_machine() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "false" | "0"))
}

async fn make(project: &Project) -> Result<PathBuf> {
    let home = project.cache().join("python");
    let (python, done) = (home.join("bin/python"), home.join("requirements.txt"));
    if python.exists() && std::fs::read_to_string(&done).is_ok_and(|text| text == REQUIREMENTS) {
        return Ok(python);
    }
    project.make(&project.cache())?;
    say("Getting Python's gRPC client into the project's cache …");
    let draft = project.cache().join("python-requirements.txt");
    std::fs::write(&draft, REQUIREMENTS).map_err(|error| StackError::unwritable(&draft, error))?;
    let mut last = StackError::Usage("python3 is not installed".into());
    // A python3 of the user's own may lack venv where the system's has it, and the other way round.
    let mut candidates: Vec<PathBuf> = on_path("python3").into_iter().collect();
    candidates.push("/usr/bin/python3".into());
    for candidate in candidates {
        let make = Spec::new("python3 -m venv", candidate).args(["-m", "venv", "--clear"]).arg(&home);
        let made = match Process::output(&make).await {
            Ok(_) => install(&python, &draft).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(()) => {
                std::fs::rename(&draft, &done).map_err(|error| StackError::unwritable(&done, error))?;
                return Ok(python);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn install(python: &std::path::Path, requirements: &std::path::Path) -> Result<()> {
    let pip = Spec::new("pip install", python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "-r"])
        .arg(requirements);
    Process::output(&pip).await.map(|_output| ())
}
