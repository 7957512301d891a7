//! The variables of a container, as the kubelet makes them out of its object.

use std::collections::BTreeMap;

use super::objects::Texts;
use super::podspec::{Container, KeyRef, Source, Variable, VariablesFrom};

/// Where variables come from.
pub(super) trait Lookup {
    /// All keys of a Secret.
    fn secret(&self, name: &str) -> Option<Texts>;
    /// All keys of a ConfigMap.
    fn config_map(&self, name: &str) -> Option<Texts>;
    /// Something about the pod, like `status.podIP`.
    fn field(&self, path: &str) -> Option<String>;
}

/// The variables of a container, or what keeps it from being started.
pub(super) fn variables(container: &Container, from: &impl Lookup) -> Result<BTreeMap<String, String>, String> {
    let mut all = BTreeMap::new();
    for set in &container.env_from {
        all.extend(whole_set(set, from)?);
    }
    for variable in &container.env {
        if let Some(value) = value(variable, &all, from)? {
            all.insert(variable.name.clone(), value);
        }
    }
    Ok(all)
}

fn whole_set(set: &VariablesFrom, from: &impl Lookup) -> Result<Texts, String> {
    let (reference, found) = match (&set.secret_ref, &set.config_map_ref) {
        (Some(reference), None) => (reference, from.secret(&reference.name)),
        (None, Some(reference)) => (reference, from.config_map(&reference.name)),
        _ => return Err("envFrom needs one of secretRef and configMapRef".to_owned()),
    };
    match found {
        Some(texts) => Ok(texts.into_iter().map(|(key, value)| (format!("{}{key}", set.prefix), value)).collect()),
        None if reference.optional => Ok(Texts::new()),
        None => Err(format!("{} is not there", reference.name)),
    }
}

fn value(variable: &Variable, before: &Texts, from: &impl Lookup) -> Result<Option<String>, String> {
    match (&variable.value, &variable.value_from) {
        (Some(value), None) => Ok(Some(expand(value, before))),
        (None, None) => Ok(Some(String::new())),
        (None, Some(Source::SecretKeyRef(key))) => key_of(key, from.secret(&key.name)),
        (None, Some(Source::ConfigMapKeyRef(key))) => key_of(key, from.config_map(&key.name)),
        (None, Some(Source::FieldRef(field))) => {
            let path = &field.field_path;
            from.field(path).map(Some).ok_or_else(|| format!("{}: there is no field {path}", variable.name))
        }
        (Some(_), Some(_)) => Err(format!("{} has both value and valueFrom", variable.name)),
    }
}

fn key_of(key: &KeyRef, texts: Option<Texts>) -> Result<Option<String>, String> {
    match texts.and_then(|mut texts| texts.remove(&key.key)) {
        None if !key.optional => Err(format!("{} has no key {}", key.name, key.key)),
        found => Ok(found),
    }
}

/// Fills in `$(NAME)`; what has no value stays as it is, and `$$` is a dollar.
pub(super) fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|name| name.split_once(')')) {
            match variables.get(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shop;

    impl Lookup for Shop {
        fn secret(&self, name: &str) -> Option<Texts> {
            (name == "keys").then(|| Texts::from([("token".into(), "t$(A)".into())]))
        }
        fn config_map(&self, name: &str) -> Option<Texts> {
            (name == "map").then(|| Texts::from([("A".into(), "from the map".into()), ("B".into(), "b".into())]))
        }
        fn field(&self, path: &str) -> Option<String> {
            (path == "status.podIP").then(|| "127.1.2.3".into())
        }
    }

    fn container(env: &serde_json::Value) -> Container {
        let text = serde_json::json!({"name": "c", "image": "i", "env": env, "envFrom": [{"configMapRef": {"name": "map"}, "prefix": "X_"}]});
        serde_json::from_value(text).expect("a container")
    }

    #[test]
    fn a_variable_sees_those_before_it_and_sets_and_secrets_are_not_filled_in() {
        let all = variables(
            &container(&serde_json::json!([
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "LISTEN", "value": "$(IP):1 $(X_B) $(LATER) $$(IP) $"},
                {"name": "LATER", "value": "l"},
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
                {"name": "MAYBE", "valueFrom": {"secretKeyRef": {"name": "none", "key": "token", "optional": true}}},
                {"name": "X_A"},
            ])),
            &Shop,
        );
        let all = all.expect("everything is there");
        assert_eq!(all["LISTEN"], "127.1.2.3:1 b $(LATER) $(IP) $");
        assert_eq!(all["TOKEN"], "t$(A)");
        assert_eq!((all["X_A"].as_str(), all["X_B"].as_str()), ("", "b"));
        assert!(!all.contains_key("MAYBE"));
    }

    #[test]
    fn what_is_missing_keeps_the_container_from_starting() {
        for env in [
            serde_json::json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k"}}}]),
            serde_json::json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}}]),
            serde_json::json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nothing"}}}]),
            serde_json::json!([{"name": "A", "value": "v", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]),
        ] {
            assert!(variables(&container(&env), &Shop).is_err(), "{env}");
        }
    }
}
