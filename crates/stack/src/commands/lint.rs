//! `./dev lint`: every check that needs no running Holdfast.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::checks::metadata::Metadata;
use crate::checks::supply::Deny;
use crate::checks::{arrows, migrations, supply, tidy};
use crate::error::{Result, StackError};
use crate::process::{Process, Spec};
use crate::programs::on_path;
use crate::project::Project;
use crate::python::{self, on_build_machine};
use crate::say::{complain, say};

/// The version of buf, from whichever registry this machine reaches.
const BUF: &str = "1.75.0";

/// How a check ended.
enum Outcome {
    Passed,
    Failed,
    /// It could not run here, and why.
    Skipped(String),
}

/// Runs all checks, also after one has failed, so that one run shows everything.
pub(crate) async fn run(project: &Project) -> Result<ExitCode> {
    let mut failed = Vec::new();
    let mut note = |name: &'static str, outcome: Result<Outcome>| match outcome {
        Ok(Outcome::Passed) => say(format!("ok       {name}")),
        Ok(Outcome::Skipped(why)) if !on_build_machine() => say(format!("skipped  {name}: {why}")),
        Ok(Outcome::Skipped(why)) => {
            say(format!("FAILED   {name}: {why}, and a build machine leaves nothing out"));
            failed.push(name);
        }
        Ok(Outcome::Failed) => {
            say(format!("FAILED   {name}"));
            failed.push(name);
        }
        Err(error) => {
            complain(&error);
            failed.push(name);
        }
    };
    let root = project.root();
    note("rustfmt", cargo(project, &["fmt", "--all", "--check"]).await);
    note("arrows between crates", Metadata::read(root).map(|metadata| report(&arrows::check(&metadata))));
    note("licences, bans and sources", supply_chain(project).await);
    note("tidy code", tidy::check(root).map(|findings| report(&findings)));
    note("migrations expand", migrations::check(root).map(|findings| report(&findings)));
    note("protos", protos(project).await);
    note("clippy", cargo(project, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).await);
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(StackError::Found(format!("lint found something: {}", failed.join(", "))))
}

fn report(findings: &[String]) -> Outcome {
    if findings.is_empty() {
        return Outcome::Passed;
    }
    findings.iter().for_each(|finding| say(format!("  {finding}")));
    Outcome::Failed
}

async fn cargo(project: &Project, words: &[&str]) -> Result<Outcome> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run_tool(Spec::new("cargo", cargo).args(words).cwd(project.root())).await
}

async fn run_tool(spec: Spec) -> Result<Outcome> {
    let status = Process::run(&spec).await?;
    Ok(if status.success() { Outcome::Passed } else { Outcome::Failed })
}

/// Our own reading of deny.toml always, and cargo-deny's where it is installed.
async fn supply_chain(project: &Project) -> Result<Outcome> {
    let root = project.root();
    let findings = supply::check(&Metadata::read(root)?, &Deny::read(root)?);
    if on_path("cargo-deny").is_none() || !findings.is_empty() {
        return Ok(report(&findings));
    }
    cargo(project, &["deny", "--all-features", "check", "bans", "licenses", "sources"]).await
}

async fn protos(project: &Project) -> Result<Outcome> {
    let buf = match buf(project).await {
        Ok(buf) => buf,
        Err(error) => return Ok(Outcome::Skipped(format!("buf {BUF} is not to be had ({error})"))),
    };
    let folder = project.root().join("proto");
    let lint = run_tool(Spec::new("buf lint", &buf).arg("lint").arg(&folder)).await?;
    let format = run_tool(Spec::new("buf format", &buf).args(["format", "--diff", "--exit-code"]).arg(&folder)).await?;
    Ok(match (lint, format) {
        (Outcome::Passed, Outcome::Passed) => Outcome::Passed,
        _ => Outcome::Failed,
    })
}

/// buf, from npm where that is installed, else from Python's index, into the project's cache.
async fn buf(project: &Project) -> Result<PathBuf> {
    let home = project.cache().join(format!("buf-{BUF}"));
    let from_npm = home.join("node_modules/.bin/buf");
    if from_npm.exists() {
        return Ok(from_npm);
    }
    if on_path("npm").is_some() {
        say("Getting buf into the project's cache …");
        project.make(&home)?;
        let install = Spec::new("npm install", "npm")
            .args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"])
            .arg(&home)
            .arg(format!("@bufbuild/buf@{BUF}"));
        if Process::output(&install).await.is_ok() && from_npm.exists() {
            return Ok(from_npm);
        }
    }
    let home = python::environment(project, "buf", &format!("buf-bin=={BUF}\n")).await?;
    Ok(home.join("bin/buf"))
}
