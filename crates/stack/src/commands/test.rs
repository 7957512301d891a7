//! `./dev test`: all tests, with the stores that they need.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};

use clap::Args;
use rustix::process::Signal;
use serde::Deserialize;

use crate::error::Result;
use crate::kubernetes::helm;
use crate::process::{Process, Spec};
use crate::programs::on_path;
use crate::project::Project;
use crate::python;
use crate::say::say;
use crate::signals::Interrupts;
use crate::teststores::TestStores;

/// Words of `test`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Passed on to `cargo nextest run`: `-p holdfast-stock`, a part of a test's name, `--no-capture` …
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Starts the stores, runs the tests, and ends with their exit code.
pub(crate) async fn run(project: &Project, options: Options) -> Result<ExitCode> {
    run_with(project, options.words, Vec::new()).await
}

/// The same with further variables.
pub(crate) async fn run_with(
    project: &Project,
    given: Vec<String>,
    mut variables: Vec<(String, String)>,
) -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    let stores = TestStores::start(project).await?;
    variables.extend(stores.info.variables().map(|(name, value)| (name.to_owned(), value)));
    if let Some(python) = python::provide(project).await? {
        variables.push((python::VARIABLE.into(), python.display().to_string()));
    }
    if let Some(python) = python::provide_chart(project).await? {
        variables.push((helm::PYTHON.into(), python.display().to_string()));
    }
    let all = given.is_empty();
    let words = with_scope(given);
    let mut ended = if on_path("cargo-nextest").is_some() {
        let tests = cargo(project, &variables).args(["nextest", "run"]).args(&words);
        // nextest hands a SIGTERM on to its tests, which a plain kill would leave behind.
        run_to_end(&tests.death_signal(Signal::TERM), &mut interrupts).await?
    } else {
        say("cargo-nextest is not installed: running the tests with cargo, which is slower.");
        cargo_test(project, &words, &variables, &mut interrupts).await?
    };
    if all && ended.success() {
        // nextest knows nothing of the examples in comments.
        let examples = cargo(project, &variables).args(["test", "--quiet", "--workspace", "--doc"]);
        ended = run_to_end(&examples, &mut interrupts).await?;
    }
    stores.stop().await?;
    Ok(ended.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn cargo(project: &Project, variables: &[(String, String)]) -> Spec {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let spec = Spec::new("cargo", cargo).cwd(project.root());
    variables.iter().fold(spec, |spec, (name, value)| spec.env(name, value))
}

/// The whole workspace, unless the words name packages.
fn with_scope(words: Vec<String>) -> Vec<String> {
    let is_scope =
        |word: &String| ["-p", "--package", "--workspace"].contains(&word.as_str()) || word.starts_with("--package=");
    if words.iter().any(is_scope) { words } else { std::iter::once("--workspace".to_owned()).chain(words).collect() }
}

/// Runs a child to its end, handing on the signals that ask us to end.
async fn run_to_end(spec: &Spec, interrupts: &mut Interrupts) -> Result<ExitStatus> {
    let mut process = Process::spawn(spec).await?;
    tokio::select! {
        ended = process.wait() => return ended,
        () = interrupts.next() => process.signal(Signal::TERM),
    }
    // Tests get some seconds to end in order; a second signal does not wait for them.
    tokio::select! {
        ended = process.wait() => ended,
        () = interrupts.next() => {
            process.kill().await?;
            process.wait().await
        }
    }
}

/// A test binary, as cargo tells of it.
#[derive(Debug, Deserialize)]
struct Artifact {
    #[serde(default)]
    executable: Option<PathBuf>,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    profile: ArtifactProfile,
}

#[derive(Debug, Default, Deserialize)]
struct ArtifactProfile {
    test: bool,
}

/// Builds the test binaries with cargo and runs them one after the other: as children of ours, because cargo would leave
/// them behind when it is killed.
async fn cargo_test(
    project: &Project,
    words: &[String],
    variables: &[(String, String)],
    interrupts: &mut Interrupts,
) -> Result<ExitStatus> {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let (build, run) = words.split_at(end);
    let (build, filters) = split_filters(build);
    let tests =
        cargo(project, variables).args(["test", "--no-run", "--message-format=json-render-diagnostics"]).args(build);
    let (status, messages) = Process::answer(&tests).await?;
    if !status.success() {
        return Ok(status);
    }
    let binaries = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let mut worst = status;
    for artifact in binaries.filter(|artifact| artifact.profile.test) {
        let Some(executable) = artifact.executable else { continue };
        let folder = artifact.manifest_path.parent().unwrap_or(Path::new("."));
        say(format!("\n{}", executable.file_name().unwrap_or_default().display()));
        let spec = Spec::new("a test binary", &executable).cwd(folder).env("CARGO_MANIFEST_DIR", folder);
        let spec = variables.iter().fold(spec, |spec, (name, value)| spec.env(name, value));
        // As nextest's group for the whole cluster: one at a time.
        let alone = (folder == project.root().join("tests")).then_some("--test-threads=1");
        let spec = spec.args(alone).args(&filters).args(run.iter().skip(1));
        let ended = run_to_end(&spec, interrupts).await?;
        if ended.code().is_none() {
            return Ok(ended);
        }
        if !ended.success() {
            worst = ended;
        }
    }
    Ok(worst)
}

/// Parts cargo's own words from the names of tests, which only the binaries understand.
fn split_filters(words: &[String]) -> (Vec<String>, Vec<String>) {
    const WITH_VALUE: [&str; 7] = ["-p", "--package", "--test", "--bin", "--exclude", "--features", "-F"];
    let (mut flags, mut filters) = (Vec::new(), Vec::new());
    let mut value_follows = false;
    for word in words {
        let is_flag = value_follows || word.starts_with('-');
        value_follows = WITH_VALUE.contains(&word.as_str());
        if is_flag { flags.push(word.clone()) } else { filters.push(word.clone()) }
    }
    (flags, filters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn without_a_package_all_packages_are_tested() {
        assert_eq!(with_scope(words("a_name --no-capture")), words("--workspace a_name --no-capture"));
        assert_eq!(with_scope(words("-p holdfast-stock a_name")), words("-p holdfast-stock a_name"));
    }

    #[test]
    fn names_of_tests_reach_the_binaries_and_flags_reach_cargo() {
        let (flags, filters) = split_filters(&words("--workspace -p holdfast-stock a_name --lib"));
        assert_eq!((flags, filters), (words("--workspace -p holdfast-stock --lib"), words("a_name")));
    }
}
