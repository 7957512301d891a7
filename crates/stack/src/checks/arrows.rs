//! Which crate may use which: the one table, and the check against what cargo knows.

use crate::checks::metadata::{Metadata, Package};

/// What a crate of ours may depend on.
struct Row {
    name: &'static str,
    /// Crates of ours.
    ours: &'static [&'static str],
    /// Crates of others: only these, or any.
    foreign: Foreign,
}

enum Foreign {
    Any,
    Only(&'static [&'static str]),
}

/// Arrows point one way: services → kit, client, api; reservation → stock; vendor-sync → feeds; api → prost and tonic
/// only; nothing → services but the scenarios. `stock` and `feeds` do no I/O, so they have nothing to do it with.
const ARROWS: &[Row] = &[
    Row { name: "holdfast-stock", ours: &[], foreign: Foreign::Only(&["thiserror"]) },
    Row { name: "holdfast-feeds", ours: &[], foreign: Foreign::Only(&["thiserror"]) },
    Row {
        name: "holdfast-api",
        ours: &[],
        foreign: Foreign::Only(&["prost", "prost-types", "protox", "tonic", "tonic-prost", "tonic-prost-build"]),
    },
    Row { name: "holdfast-kit", ours: &["holdfast-api"], foreign: Foreign::Any },
    Row { name: "holdfast-client", ours: &["holdfast-api"], foreign: Foreign::Any },
    Row { name: "holdfast-ctl", ours: &["holdfast-api", "holdfast-client"], foreign: Foreign::Any },
    Row { name: "holdfast-loadgen", ours: &["holdfast-api", "holdfast-client", "holdfast-ctl"], foreign: Foreign::Any },
    Row { name: "holdfast-stack", ours: &["holdfast-loadgen"], foreign: Foreign::Any },
    Row { name: "holdfast-testkit", ours: &["holdfast-stack"], foreign: Foreign::Any },
    Row { name: "holdfast-catalog", ours: &["holdfast-api", "holdfast-client", "holdfast-kit"], foreign: Foreign::Any },
    Row {
        name: "holdfast-reservation",
        ours: &["holdfast-api", "holdfast-client", "holdfast-kit", "holdfast-stock"],
        foreign: Foreign::Any,
    },
    Row {
        name: "holdfast-vendor-sync",
        ours: &["holdfast-api", "holdfast-client", "holdfast-feeds", "holdfast-kit"],
        foreign: Foreign::Any,
    },
    Row {
        name: "holdfast",
        ours: &["holdfast-catalog", "holdfast-ctl", "holdfast-kit", "holdfast-reservation", "holdfast-vendor-sync"],
        foreign: Foreign::Only(&[]),
    },
    Row {
        name: "holdfast-tests",
        ours: &[
            "holdfast-api",
            "holdfast-catalog",
            "holdfast-client",
            "holdfast-ctl",
            "holdfast-feeds",
            "holdfast-kit",
            "holdfast-loadgen",
            "holdfast-reservation",
            "holdfast-stack",
            "holdfast-stock",
            "holdfast-testkit",
            "holdfast-vendor-sync",
        ],
        foreign: Foreign::Any,
    },
];

/// What tests of any crate may use besides; never a service, which would turn an arrow round.
const FOR_TESTS: &[&str] = &["holdfast-api", "holdfast-client", "holdfast-stack", "holdfast-testkit"];

/// Crates of others that only these crates of ours may use: SQL is known to stores and those who watch them, Redis to the
/// gate.
const RESERVED: &[(&str, &[&str])] = &[
    (
        "sqlx",
        &[
            "holdfast-catalog",
            "holdfast-kit",
            "holdfast-loadgen",
            "holdfast-reservation",
            "holdfast-stack",
            "holdfast-testkit",
            "holdfast-tests",
            "holdfast-vendor-sync",
        ],
    ),
    ("redis", &["holdfast-reservation", "holdfast-stack", "holdfast-testkit", "holdfast-tests"]),
];

/// What goes the wrong way, one sentence each.
pub fn check(metadata: &Metadata) -> Vec<String> {
    let mut findings: Vec<String> = metadata.members().flat_map(check_package).collect();
    for row in ARROWS {
        if !metadata.members().any(|package| package.name == row.name) {
            findings.push(format!("{} has a row in the table of arrows, but does not exist", row.name));
        }
    }
    findings
}

fn check_package(package: &Package) -> Vec<String> {
    let name = package.name.as_str();
    let Some(row) = ARROWS.iter().find(|row| row.name == name) else {
        return vec![format!("{name} has no row in the table of arrows (crates/stack/src/checks/arrows.rs)")];
    };
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let (other, for_tests) = (dependency.name.as_str(), dependency.kind.as_deref() == Some("dev"));
        if other == "holdfast" || other.starts_with("holdfast-") {
            let allowed = row.ours.contains(&other) || (for_tests && FOR_TESTS.contains(&other));
            if !allowed && other != name {
                findings.push(format!("{name} may not depend on {other}: arrows point one way (DESIGN, layout)"));
            }
            continue;
        }
        if let Foreign::Only(only) = row.foreign
            && !for_tests
            && !only.contains(&other)
        {
            findings.push(format!("{name} may not depend on {other}: only on {}", only.join(", ")));
        }
        if let Some((_, users)) = RESERVED.iter().find(|(reserved, _)| *reserved == other)
            && !for_tests
            && !users.contains(&name)
        {
            findings.push(format!("{name} may not depend on {other}: only {} may", users.join(", ")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependencies: Vec<_> =
            dependencies.iter().map(|(name, kind)| serde_json::json!({ "name": name, "kind": kind })).collect();
        serde_json::from_value(serde_json::json!({
            "name": name, "version": "0.1.0", "license": null, "source": null, "dependencies": dependencies, "id": name,
        }))
        .unwrap()
    }

    #[test]
    fn a_reversed_arrow_is_found() {
        let reversed = package("holdfast-kit", &[("holdfast-reservation", None)]);
        assert_eq!(check_package(&reversed).len(), 1);
        let in_tests_too = package("holdfast-stock", &[("holdfast-reservation", Some("dev"))]);
        assert_eq!(check_package(&in_tests_too).len(), 1);
    }

    #[test]
    fn nothing_uses_the_one_program_and_it_brings_nothing_of_its_own() {
        assert_eq!(check_package(&package("holdfast-tests", &[("holdfast", Some("dev"))])).len(), 1);
        assert_eq!(check_package(&package("holdfast", &[("holdfast-ctl", None)])), Vec::<String>::new());
        assert_eq!(check_package(&package("holdfast", &[("tokio", None)])).len(), 1);
    }

    #[test]
    fn a_pure_crate_may_not_learn_to_do_io() {
        assert_eq!(check_package(&package("holdfast-feeds", &[("tokio", None)])).len(), 1);
        assert_eq!(check_package(&package("holdfast-feeds", &[("proptest", Some("dev"))])), Vec::<String>::new());
    }

    #[test]
    fn only_reservation_knows_redis() {
        assert_eq!(check_package(&package("holdfast-catalog", &[("redis", None)])).len(), 1);
        assert_eq!(check_package(&package("holdfast-reservation", &[("redis", None)])), Vec::<String>::new());
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        assert_eq!(check_package(&package("holdfast-new", &[])).len(), 1);
    }
}
