//! Laying one layer of configuration over another, with the defaults as the list of what there is.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::{COMMON_DEFAULTS, ConfigError, ServiceConfig};

/// In lists of tables there are no defaults that could say what is a secret, so names do.
const SECRET_NAMES: &[&str] = &["token", "secret", "password", "url"];

/// The configuration before secrets are read from files.
pub(super) struct Merged {
    pub(super) effective: Table,
}

pub(super) fn merged<C: ServiceConfig>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Merged, ConfigError> {
    let defaults = defaults(C::DEFAULTS)?;
    let mut effective = defaults.clone();
    let mut problems = Vec::new();
    if let Some(path) = file {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
        let layer: Table = text.parse().map_err(|error| not_toml(path, &text, &error))?;
        Layer { defaults: &defaults, source: path.display().to_string(), problems: &mut problems }.lay(
            &mut effective,
            layer,
            &defaults,
            "",
        );
    }
    let layer = from_environment(C::ENV_PREFIX, &defaults, environment, &mut problems);
    Layer { defaults: &defaults, source: String::from("the environment"), problems: &mut problems }.lay(
        &mut effective,
        layer,
        &defaults,
        "",
    );
    if problems.is_empty() { Ok(Merged { effective }) } else { Err(ConfigError::Refused(problems)) }
}

/// What is wrong with a file, and where: its own words stay out of the log, for one of them may be a password.
fn not_toml(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map_or(text.len(), |span| span.start.min(text.len()));
    let before = text.as_bytes()[..at].iter();
    let (line, column) = (
        1 + before.clone().filter(|byte| **byte == b'\n').count(),
        1 + before.rev().take_while(|byte| **byte != b'\n').count(),
    );
    ConfigError::NotToml { path: path.into(), message: format!("line {line}, column {column}: {}", error.message()) }
}

/// The common defaults with the service's laid over them.
pub(super) fn defaults(service: &str) -> Result<Table, ConfigError> {
    let parse = |text: &str| text.parse::<Table>().map_err(|error| ConfigError::Defaults(error.to_string()));
    let mut all = parse(COMMON_DEFAULTS)?;
    for (section, value) in parse(service)? {
        match (all.get_mut(&section), value) {
            (Some(Value::Table(common)), Value::Table(own)) => {
                for (key, value) in own {
                    let known = common.get(&key).is_some_and(|default| default.same_type(&value));
                    if !known {
                        return Err(ConfigError::Defaults(format!(
                            "[{section}] {key}: a service may override keys of a common section, not add any or change their type"
                        )));
                    }
                    common.insert(key, value);
                }
            }
            (Some(_), _) => return Err(ConfigError::Defaults(format!("{section} is a common section"))),
            (None, value) => {
                all.insert(section, value);
            }
        }
    }
    Ok(all)
}

/// One layer while it is laid over those below.
struct Layer<'a> {
    defaults: &'a Table,
    source: String,
    problems: &'a mut Vec<String>,
}

impl Layer<'_> {
    fn lay(&mut self, below: &mut Table, above: Table, known: &Table, path: &str) {
        self.one_form_of_each_secret(below, &above, known, path);
        for (key, value) in above {
            let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match (known.get(&key), value) {
                (None, _) => {
                    let hint = nearest(&full, self.defaults);
                    self.problems.push(format!("{}: there is no key {full}; did you mean {hint}?", self.source));
                }
                (Some(Value::Table(known)), Value::Table(above)) if !known.is_empty() => {
                    if let Some(Value::Table(below)) = below.get_mut(&key) {
                        self.lay(below, above, known, &full);
                    }
                }
                (Some(default), value) => match of_type(default, value) {
                    Ok(value) => {
                        below.insert(key, value);
                    }
                    Err(value) => self.problems.push(format!(
                        "{}: {full} must be of type {}, is {}",
                        self.source,
                        default.type_str(),
                        value.type_str()
                    )),
                },
            }
        }
    }

    /// A layer that gives a secret in one form takes back the other form from the layers below.
    fn one_form_of_each_secret(&mut self, below: &mut Table, above: &Table, known: &Table, path: &str) {
        let given = |key: &str| above.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        for file_key in known.keys() {
            let Some(key) = secret_of(file_key, known) else { continue };
            match (given(key), given(file_key)) {
                (true, true) => {
                    self.problems.push(format!(
                        "{}: {path}.{key} and {path}.{file_key} are both given: choose one",
                        self.source
                    ));
                }
                (true, false) => drop(below.insert(file_key.clone(), Value::String(String::new()))),
                (false, true) => drop(below.insert(key.to_owned(), Value::String(String::new()))),
                (false, false) => {}
            }
        }
    }
}

/// The secret's key, if this is the key of its file: `url` for `url_file` where the defaults have both.
pub(super) fn secret_of<'a>(file_key: &'a str, known: &Table) -> Option<&'a str> {
    let key = file_key.strip_suffix("_file")?;
    known.contains_key(key).then_some(key)
}

/// Whether a key within a list of tables is a secret.
pub(super) fn is_secret_name(key: &str) -> bool {
    SECRET_NAMES.iter().any(|name| key == *name || key.strip_suffix(name).is_some_and(|rest| rest.ends_with('_')))
}

/// The value, if it can stand where the default stands.
fn of_type(default: &Value, value: Value) -> Result<Value, Value> {
    match (default, value) {
        #[expect(clippy::cast_precision_loss, reason = "a whole number typed for a fraction is small")]
        (Value::Float(_), Value::Integer(whole)) => Ok(Value::Float(whole as f64)),
        (default, value) if default.same_type(&value) => Ok(value),
        (_, value) => Err(value),
    }
}

/// What the environment's variables `PREFIX__SECTION__KEY` say, as a table. One underscore is not enough to be ours: Kubernetes sets
/// `HOLDFAST_RESERVATION_PORT` and the like for every Service.
fn from_environment(
    prefix: &str,
    defaults: &Table,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Vec<String>,
) -> Table {
    let mut layer = Table::new();
    for (name, value) in environment {
        let Some(path) = name.to_str().and_then(|name| name.strip_prefix(prefix)?.strip_prefix("__")) else { continue };
        let Ok(text) = value.into_string() else {
            problems.push(format!("the environment: {prefix}__{path} is not UTF-8"));
            continue;
        };
        let keys: Vec<String> = path.split("__").map(str::to_lowercase).collect();
        let default = keys.iter().try_fold(None, |at: Option<&Value>, key| match at {
            None => defaults.get(key).map(Some),
            Some(value) => value.get(key).map(Some),
        });
        let value = value_of(&text, default.flatten());
        let Some((last, sections)) = keys.split_last() else { continue };
        let table = sections.iter().try_fold(&mut layer, |table, section| {
            table.entry(section.clone()).or_insert_with(|| Value::Table(Table::new())).as_table_mut()
        });
        match table {
            Some(table) => drop(table.insert(last.clone(), value)),
            None => problems.push(format!("the environment: {prefix}__{path} lies within a key that is no section")),
        }
    }
    layer
}

/// The text as TOML where that has the default's type, else as the string that it is.
fn value_of(text: &str, default: Option<&Value>) -> Value {
    let parsed = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    match (parsed, default) {
        (Some(value), Some(default)) => of_type(default, value).unwrap_or_else(|_| Value::String(text.to_owned())),
        _ => Value::String(text.to_owned()),
    }
}

/// The section whose files are read again while the service runs, so that their names stay; and what only `migrate` needs of them need not be there for others.
const KEPT: &str = "postgres.";

/// A secret without the line end that editors add.
pub(crate) fn without_line_end(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

/// Replaces each `x_file` by the file's content under `x`. Those of [`KEPT`] and in `kept` stay beside it.
pub(super) fn read_secret_files(table: &mut Table, kept: &[&str]) -> Result<(), Vec<String>> {
    let mut problems = Vec::new();
    read_secrets_of(table, "", (false, kept), &mut problems);
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn read_secrets_of(table: &mut Table, path: &str, (listed, kept): (bool, &[&str]), problems: &mut Vec<String>) {
    let file_keys: Vec<String> = table.keys().filter(|key| key.ends_with("_file")).cloned().collect();
    for file_key in file_keys {
        let key = file_key.trim_end_matches("_file").to_owned();
        let secret = if listed { is_secret_name(&key) } else { table.contains_key(&key) };
        if !secret {
            continue;
        }
        if path == KEPT && key.starts_with("migrate_") {
            continue;
        }
        let is_kept = path == KEPT || kept.contains(&format!("{path}{file_key}").as_str());
        let value = if is_kept { table.get(&file_key).cloned() } else { table.remove(&file_key) };
        let file = value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
        if file.is_empty() {
            continue;
        }
        match fs::read_to_string(&file) {
            Ok(text) => drop(table.insert(key, Value::String(without_line_end(&text).to_owned()))),
            Err(error) => problems.push(format!("{path}{file_key}: cannot read {file}: {error}")),
        }
    }
    for (key, value) in table.iter_mut() {
        match value {
            Value::Table(inner) => read_secrets_of(inner, &format!("{path}{key}."), (listed, kept), problems),
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    if let Value::Table(inner) = item {
                        read_secrets_of(inner, &format!("{path}{key}[{index}]."), (true, kept), problems);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The known key that looks most like this one.
fn nearest(key: &str, defaults: &Table) -> String {
    let mut keys = Vec::new();
    list_keys(defaults, "", &mut keys);
    keys.into_iter().min_by_key(|known| distance(known, key)).unwrap_or_default()
}

fn list_keys(table: &Table, path: &str, into: &mut Vec<String>) {
    for (key, value) in table {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Table(inner) => list_keys(inner, &full, into),
            _ => into.push(full),
        }
    }
}

/// How many characters must be added, removed or replaced to make one of the other (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[right.len()]
}
