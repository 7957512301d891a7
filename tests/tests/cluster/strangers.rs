//! A caller who has nothing of ours but the address: Python's gRPC library, reflection, and the standard error details.

use std::path::PathBuf;

use holdfast_stack::process::{Process, Spec};
use holdfast_stack::project::Project;

use crate::world::{Options, scenario};

/// Set by `./dev test`.
const PYTHON: &str = "HOLDFAST_TEST_PYTHON";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/checkout.py");

#[test]
fn a_python_client_that_knows_only_reflection_buys_and_reads_every_error() {
    let Some(python) = python() else {
        // On a build machine ./dev test would have failed before.
        eprintln!("left out: no Python with grpcio here; ./dev test gets one into the project's cache");
        return;
    };
    scenario(Options::reservation(1), async |cluster| {
        let target = cluster.reservation[0].grpc().to_string();
        let spec = Spec::new("checkout.py", python).args(["-B", SCRIPT, &target]);
        let said = Process::output(&spec).await.unwrap_or_else(|error| panic!("{error}"));
        eprintln!("{said}");
        assert!(said.ends_with("all is well\n"), "{said}");
    });
}

/// The interpreter that `./dev test` names, or the one that an earlier `./dev test` left in the cache.
fn python() -> Option<PathBuf> {
    let given = std::env::var_os(PYTHON).map(PathBuf::from);
    given.or_else(|| Some(Project::locate().cache().join("python/bin/python")).filter(|python| python.is_file()))
}
