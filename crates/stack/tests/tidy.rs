//! The checks of `./dev lint` that need no tool, over this very workspace.

use holdfast_stack::checks::metadata::Metadata;
use holdfast_stack::checks::supply::Deny;
use holdfast_stack::checks::{arrows, migrations, supply, tidy};
use holdfast_stack::project::Project;

#[track_caller]
fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn no_crate_uses_another_that_it_may_not_use() {
    assert_none(&arrows::check(&Metadata::read(Project::locate().root()).unwrap()));
}

#[test]
fn all_dependencies_are_licensed_sourced_and_wanted() {
    let root = Project::locate().root().to_path_buf();
    assert_none(&supply::check(&Metadata::read(&root).unwrap(), &Deny::read(&root).unwrap()));
}

#[test]
fn the_code_is_tidy() {
    assert_none(&tidy::check(Project::locate().root()).unwrap());
}

#[test]
fn migrations_leave_what_the_release_before_uses() {
    assert_none(&migrations::check(Project::locate().root()).unwrap());
}
