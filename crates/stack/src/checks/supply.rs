//! Licences, bans and sources of dependencies, by the same `deny.toml` that cargo-deny reads; for machines where
//! cargo-deny is not installed.

use std::path::Path;

use serde::Deserialize;

use crate::checks::metadata::{Metadata, Package};
use crate::error::{Result, StackError};

/// The part of `deny.toml` that is read here.
#[derive(Debug, Clone, Deserialize)]
pub struct Deny {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Debug, Clone, Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Debug, Clone, Deserialize)]
struct Ban {
    name: String,
}

impl Deny {
    /// Reads `deny.toml` at `root`.
    ///
    /// # Errors
    ///
    /// [`StackError::Io`] when it cannot be read, [`StackError::Usage`] when it is not what is expected.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join("deny.toml");
        let text = std::fs::read_to_string(&path).map_err(|error| StackError::io("reading deny.toml", error))?;
        toml::from_str(&text).map_err(|error| StackError::Usage(format!("deny.toml: {error}")))
    }
}

/// What may not be depended on, one sentence each.
pub fn check(metadata: &Metadata, deny: &Deny) -> Vec<String> {
    metadata.foreign().into_iter().flat_map(|package| check_package(package, deny)).collect()
}

fn check_package(package: &Package, deny: &Deny) -> Vec<String> {
    let Package { name, version, license, source, .. } = package;
    let mut findings = Vec::new();
    match license {
        None => findings.push(format!("{name} {version} names no licence")),
        Some(expression) if !allowed(expression, &deny.licenses.allow) => {
            findings.push(format!("{name} {version} is licensed {expression}, which deny.toml does not allow"));
        }
        Some(_) => {}
    }
    if deny.bans.deny.iter().any(|ban| ban.name == *name) {
        findings.push(format!("{name} {version} is banned by deny.toml"));
    }
    if !source.as_deref().is_some_and(from_the_registry) {
        findings.push(format!("{name} {version} does not come from the usual registry"));
    }
    findings
}

/// Whether a source is the registry that everybody uses, rather than a repository or a registry of somebody's own.
fn from_the_registry(source: &str) -> bool {
    source.starts_with("registry+") && source.ends_with("/crates.io-index")
}

/// Whether an SPDX expression can be met with allowed licences alone. The old notation `MIT/Apache-2.0` means OR.
fn allowed(expression: &str, allow: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = either(&mut rest, allow);
    met && rest.is_empty()
}

fn either(words: &mut &[&str], allow: &[String]) -> bool {
    let mut met = both(words, allow);
    while let [word, rest @ ..] = *words
        && *word == "OR"
    {
        *words = rest;
        met |= both(words, allow);
    }
    met
}

fn both(words: &mut &[&str], allow: &[String]) -> bool {
    let mut met = one(words, allow);
    while let [word, rest @ ..] = *words
        && *word == "AND"
    {
        *words = rest;
        met &= one(words, allow);
    }
    met
}

fn one(words: &mut &[&str], allow: &[String]) -> bool {
    let [first, rest @ ..] = *words else { return false };
    *words = rest;
    if *first == "(" {
        let met = either(words, allow);
        let [")", rest @ ..] = *words else { return false };
        *words = rest;
        return met;
    }
    // An exception only ever permits more than its licence does.
    if let ["WITH", _exception, rest @ ..] = *words {
        *words = rest;
    }
    allow.iter().any(|allowed| allowed == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(expression: &str) -> bool {
        allowed(expression, &["MIT".into(), "Apache-2.0".into(), "Unicode-3.0".into()])
    }

    #[test]
    fn an_expression_is_met_by_allowed_licences_alone() {
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0 OR MIT",
            "MIT/GPL-3.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        ] {
            assert!(met(good), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-3.0", "", "(MIT", "MIT Apache-2.0"] {
            assert!(!met(bad), "{bad}");
        }
    }

    #[test]
    fn a_package_from_elsewhere_or_under_a_ban_is_found() {
        let deny: Deny =
            toml::from_str("[licenses]\nallow = [\"MIT\"]\n[bans]\ndeny = [{ name = \"openssl-sys\" }]\n").unwrap();
        let registry = "registry+https://example.com/crates.io-index";
        let package = |name: &str, source: &str, license: &str| -> Package {
            serde_json::from_value(serde_json::json!({
                "name": name, "version": "1.0.0", "license": license, "source": source, "dependencies": [], "id": "",
            }))
            .unwrap()
        };
        assert_eq!(check_package(&package("fine", registry, "MIT"), &deny), Vec::<String>::new());
        assert_eq!(check_package(&package("openssl-sys", registry, "MIT"), &deny).len(), 1);
        assert_eq!(check_package(&package("fork", "git+https://example.com/fork", "MIT"), &deny).len(), 1);
        assert_eq!(check_package(&package("copyleft", registry, "GPL-3.0"), &deny).len(), 1);
    }
}
