//! docs/errors.md says of every reason what it means, docs/rollouts.md has a service config: tests read them, so that they cannot rot.

use std::path::Path;

use holdfast_kit::{ErrorReason, code, reason_name};

fn reasons() -> Vec<ErrorReason> {
    (1..100).filter_map(|number| ErrorReason::try_from(number).ok()).collect()
}

fn text() -> String {
    doc("errors.md")
}

fn doc(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
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

#[test]
fn the_service_config_names_services_that_exist_and_retries_what_is_unknown_only() {
    let text = doc("rollouts.md");
    let json = text.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a service config");
    let config: serde_json::Value = serde_json::from_str(json).unwrap();
    for method in config["methodConfig"].as_array().unwrap() {
        let retry = &method["retryPolicy"];
        assert_eq!(retry["retryableStatusCodes"], serde_json::json!(["UNAVAILABLE"]));
        assert!((2..=5).contains(&retry["maxAttempts"].as_u64().unwrap()), "gRPC takes at most 5");
        assert!(method.get("hedgingPolicy").is_none());
        for name in method["name"].as_array().unwrap() {
            let service = name["service"].as_str().unwrap();
            let prefix = format!("/{service}/");
            assert!(holdfast_api::METHODS.iter().any(|path| path.starts_with(&prefix)), "there is no {service}");
        }
    }
}
