//! What the image is made of, part by part, as CycloneDX: the crates that are really linked, and what comes from Debian and from Rust itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::checks::metadata::{Metadata, Package};
use crate::error::{Result, StackError};
use crate::process::{Process, Spec};
use crate::project::Project;
use crate::python;
use crate::say::say;

use super::build::Source;
use super::folder;

/// Files of Debian's packages that are linked into the program: the C library, and the compiler's runtime.
const LINKED: [&str; 2] = ["libc.a", "libgcc_eh.a"];
/// The package from which the certificates are copied.
const CERTIFICATES: &str = "ca-certificates";
/// What checks the list against CycloneDX's own schema.
const VALIDATOR: &str = "cyclonedx-python-lib[json-validation]==11.12.0\n";
const VALIDATE: &str = "\
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())
sys.exit(error and f'not CycloneDX 1.5: {error}')
";

/// A crate, as tools that look for weaknesses know it.
type Name = (String, String);

/// A part that is no crate.
struct Other {
    reference: String,
    name: String,
    version: String,
    licence: Option<&'static str>,
}

/// Writes the list, and says how many parts it has; the file.
pub(super) async fn write(project: &Project, metadata: &Metadata, source: &Source) -> Result<PathBuf> {
    let linked = linked(project).await?;
    let lock = std::fs::read_to_string(project.root().join("Cargo.lock"));
    let lock = lock.map_err(|error| StackError::io("reading Cargo.lock", error))?;
    let others = others().await?;
    let list = list(metadata, &linked, &checksums(&lock)?, &others, source);
    let path = folder(project).join("sbom.cdx.json");
    let text = format!("{list:#}\n");
    std::fs::write(&path, text).map_err(|error| StackError::unwritable(&path, error))?;
    let checked = match python::environment(project, "cyclonedx", VALIDATOR).await {
        Ok(home) => {
            let validate = Spec::new("checking the list of parts", home.join("bin/python"));
            Process::output(&validate.args(["-c", VALIDATE]).arg(&path)).await?;
            "valid CycloneDX 1.5"
        }
        Err(error) if !python::on_build_machine() => {
            say(format!("  CycloneDX's validator is not to be had: {error}"));
            "not validated"
        }
        Err(error) => return Err(error),
    };
    say(format!("  {} parts in {} ({checked})", linked.len() + others.len(), path.display()));
    Ok(path)
}

/// The crates that end in the program: no tests, no build scripts, no macros, only the features that it has.
async fn linked(project: &Project) -> Result<BTreeSet<Name>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let spec = Spec::new("cargo tree", cargo)
        .args(["tree", "--locked", "--quiet", "--package", "holdfast", "--edges", "normal,no-proc-macro"])
        .args(["--target", "x86_64-unknown-linux-gnu", "--prefix", "none", "--format", "{p}"])
        .cwd(project.root());
    let linked = tree(&Process::output(&spec).await?);
    if linked.is_empty() {
        return Err(StackError::Found("cargo tree names no crate".to_owned()));
    }
    Ok(linked)
}

/// The crates that `cargo tree` names: `tokio v1.54.0 (*)`.
fn tree(text: &str) -> BTreeSet<Name> {
    let name = |line: &str| {
        let (name, rest) = line.trim().split_once(" v")?;
        Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
    };
    text.lines().filter_map(name).collect()
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

fn checksums(lock: &str) -> Result<BTreeMap<Name, String>> {
    let lock: Lock = toml::from_str(lock).map_err(|error| StackError::Found(format!("Cargo.lock: {error}")))?;
    let sum = |locked: Locked| Some(((locked.name, locked.version), locked.checksum?));
    Ok(lock.package.into_iter().filter_map(sum).collect())
}

async fn others() -> Result<Vec<Other>> {
    let mut packages = vec![CERTIFICATES.to_owned()];
    for file in LINKED {
        packages.push(package_of(file).await?);
    }
    let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let release = system.lines().find_map(|line| line.strip_prefix("VERSION_ID=")).unwrap_or_default();
    let release = release.trim_matches('"');
    let mut others = Vec::new();
    for package in packages {
        let ask = Spec::new("dpkg-query", "dpkg-query").args([
            "--show",
            "--showformat",
            "${source:Package} ${source:Version}",
        ]);
        let said = Process::output(&ask.arg(&package)).await?;
        let (name, version) = said.trim().split_once(' ').unwrap_or((&package, ""));
        let quoted = version.replace('+', "%2B").replace(':', "%3A");
        let reference = format!("pkg:deb/debian/{name}@{quoted}?arch=source&distro=debian-{release}");
        others.push(Other { reference, name: name.to_owned(), version: version.to_owned(), licence: None });
    }
    let rust = Process::output(&Spec::new("rustc --version", "rustc").arg("--version")).await?;
    let version = rust.split(' ').nth(1).unwrap_or_default().to_owned();
    let reference = format!("pkg:generic/rust-std@{version}");
    others.push(Other { reference, name: "rust-std".into(), version, licence: Some("MIT OR Apache-2.0") });
    Ok(others)
}

/// The package of a file that the C compiler links.
async fn package_of(file: &str) -> Result<String> {
    let said = Process::output(&Spec::new("cc", "cc").arg(format!("-print-file-name={file}"))).await?;
    let path = std::fs::canonicalize(said.trim());
    let path = path.map_err(|error| StackError::io(format!("looking for the compiler's {file}"), error))?;
    let owner = Process::output(&Spec::new("dpkg-query", "dpkg-query").arg("--search").arg(&path)).await?;
    let package = owner.split(": ").next().unwrap_or_default();
    Ok(package.to_owned())
}

fn list(
    metadata: &Metadata,
    linked: &BTreeSet<Name>,
    sums: &BTreeMap<Name, String>,
    others: &[Other],
    source: &Source,
) -> Value {
    let is_linked = |package: &&Package| linked.contains(&(package.name.clone(), package.version.clone()));
    let is_root = |package: &Package| package.name == "holdfast";
    let packages: Vec<&Package> = metadata.packages.iter().filter(is_linked).collect();
    let mut components: Vec<Value> =
        packages.iter().filter(|package| !is_root(package)).map(|package| component(package, sums)).collect();
    let mut edges: Vec<Value> = packages
        .iter()
        .map(|package| {
            let mut on: Vec<String> = metadata.dependencies_of(package).filter(is_linked).map(reference).collect();
            if is_root(package) {
                on.extend(others.iter().map(|other| other.reference.clone()));
            }
            json!({ "ref": reference(package), "dependsOn": on })
        })
        .collect();
    for other in others {
        components.push(other.component());
        edges.push(json!({ "ref": other.reference, "dependsOn": [] }));
    }
    let version = &source.version;
    let root = format!("pkg:cargo/holdfast@{version}");
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": instant(source.time),
            "component": {
                "type": "application", "bom-ref": root, "name": "holdfast", "version": version, "purl": root,
                "licenses": [{ "expression": "Apache-2.0" }],
                "properties": [{ "name": "holdfast:revision", "value": source.revision }],
            },
        },
        "components": components,
        "dependencies": edges,
    })
}

fn reference(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version.replace('+', "%2B"))
}

fn component(package: &Package, sums: &BTreeMap<Name, String>) -> Value {
    let reference = reference(package);
    let mut component = json!({
        "type": "library", "bom-ref": reference, "name": package.name, "version": package.version, "purl": reference,
    });
    if let Some(licence) = &package.license {
        // The old notation for OR is no SPDX expression.
        component["licenses"] = json!([{ "expression": licence.replace('/', " OR ") }]);
    }
    if let Some(sum) = sums.get(&(package.name.clone(), package.version.clone())) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
    }
    component
}

impl Other {
    fn component(&self) -> Value {
        let Self { reference, name, version, licence } = self;
        let mut component = json!({
            "type": "library", "bom-ref": reference, "name": name, "version": version, "purl": reference,
        });
        if let Some(licence) = licence {
            component["licenses"] = json!([{ "expression": licence }]);
        }
        component
    }
}

/// Seconds since 1970 as an instant in UTC.
pub(super) fn instant(seconds: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    time.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_names_each_crate_once() {
        let text = "holdfast v0.1.0 (/somewhere/crates/holdfast)\ntokio v1.54.0\nring v0.17.14\ntokio v1.54.0 (*)\n\n";
        let name = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        let expected = [name("holdfast", "0.1.0"), name("ring", "0.17.14"), name("tokio", "1.54.0")];
        assert_eq!(tree(text), BTreeSet::from(expected));
    }

    #[tokio::test]
    async fn the_list_has_what_is_linked_with_licence_and_checksum_and_nothing_of_the_tests() {
        let project = Project::locate();
        let metadata = Metadata::read(project.root()).unwrap();
        let linked = linked(&project).await.unwrap();
        let lock = std::fs::read_to_string(project.root().join("Cargo.lock")).unwrap();
        let source = Source { revision: "abc".into(), time: 1_700_000_000, version: "0.1.0".into() };
        let glibc = Other {
            reference: "pkg:deb/debian/glibc@1".into(),
            name: "glibc".into(),
            version: "1".into(),
            licence: None,
        };
        let list = list(&metadata, &linked, &checksums(&lock).unwrap(), &[glibc], &source);

        assert_eq!(list["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
        let components = list["components"].as_array().unwrap();
        let named = |name: &str| components.iter().find(|one| one["name"] == name);
        for foreign in ["tokio", "ring", "sqlx-postgres", "clap"] {
            let one = named(foreign).unwrap_or_else(|| panic!("{foreign} is linked"));
            assert_eq!(one["hashes"][0]["content"].as_str().map(str::len), Some(64), "{one}");
            let licence = one["licenses"][0]["expression"].as_str().unwrap_or_default();
            assert!(!licence.is_empty() && !licence.contains('/'), "{one}");
        }
        assert!(named("holdfast-reservation").is_some_and(|ours| ours["hashes"].is_null()));
        for elsewhere in ["holdfast", "holdfast-stack", "proptest", "protox", "serde_derive"] {
            assert_eq!(named(elsewhere), None, "{elsewhere} is not in the program");
        }
        // Every reference is to something, so that the graph can be walked.
        let known: BTreeSet<&str> = components
            .iter()
            .chain([&list["metadata"]["component"]])
            .map(|one| one["bom-ref"].as_str().unwrap())
            .collect();
        let edges = list["dependencies"].as_array().unwrap();
        assert_eq!(edges.len(), known.len());
        for edge in edges {
            let on = edge["dependsOn"].as_array().unwrap().iter().chain([&edge["ref"]]);
            on.for_each(|end| assert!(known.contains(end.as_str().unwrap()), "{end}"));
        }
        let root = edges.iter().find(|edge| edge["ref"] == list["metadata"]["component"]["bom-ref"]).unwrap();
        assert!(root["dependsOn"].as_array().unwrap().contains(&json!("pkg:deb/debian/glibc@1")));
    }
}
