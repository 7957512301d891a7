//! docs/errors.md says of every reason what it means: a test reads it, so that it cannot rot.

use std::path::Path;

use holdfast_kit::{ErrorReason, code, reason_name};

fn reasons() -> Vec<ErrorReason> {
    (1..100).filter_map(|number| ErrorReason::try_from(number).ok()).collect()
}

fn text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_reason_has_a_paragraph_with_its_code() {
    let text = text();
    for reason in reasons() {
        let name = reason_name(reason);
        let heading = format!("\n### {name} · {:?}\n", code(reason));
        let at = text.find(&heading).unwrap_or_else(|| panic!("docs/errors.md has no heading {heading:?}"));
        let paragraph = text[at + heading.len()..].split("\n#").next().unwrap().trim();
        for part in ["Means:", "Effect:", "Next:"] {
            assert!(paragraph.contains(part), "{name} does not say {part}");
        }
    }
}

#[test]
fn every_paragraph_is_of_a_reason() {
    let names: Vec<_> = reasons().into_iter().map(reason_name).collect();
    assert!(names.len() >= 36);
    for heading in text().lines().filter_map(|line| line.strip_prefix("### ")) {
        let name = heading.split(' ').next().unwrap();
        assert!(names.contains(&name), "{name} is no reason");
    }
}
