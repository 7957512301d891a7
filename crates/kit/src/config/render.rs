//! Prints the effective configuration in the shape of the defaults: their order and their comments, the values that hold.

use toml::{Table, Value};

use super::COMMON_DEFAULTS;
use super::layers::{is_secret_name, secret_of};

/// What stands in place of a secret.
const MASK: &str = "********";

/// One key of a text of defaults with the comment above it.
struct Entry<'a> {
    section: String,
    key: String,
    /// Comment and blank lines above.
    above: Vec<&'a str>,
}

/// A text of defaults, taken apart.
struct Defaults<'a> {
    /// Sections in their order, with the comment above each.
    sections: Vec<(String, Vec<&'a str>)>,
    entries: Vec<Entry<'a>>,
}

/// The effective configuration as text. Keys of common sections that the service's defaults override have the service's comment.
pub(super) fn text(service: &str, effective: &Table) -> String {
    let common = parse(COMMON_DEFAULTS);
    let own = parse(service);
    let mut out = String::new();
    for (section, above) in &common.sections {
        heading(&mut out, section, above);
        for entry in common.entries.iter().filter(|entry| entry.section == *section) {
            let overriding = own.entries.iter().find(|other| other.section == *section && other.key == entry.key);
            line(&mut out, overriding.unwrap_or(entry), effective);
        }
    }
    for (section, above) in &own.sections {
        if common.sections.iter().any(|(other, _)| other == section) {
            continue;
        }
        heading(&mut out, section, above);
        for entry in own.entries.iter().filter(|entry| entry.section == *section) {
            line(&mut out, entry, effective);
        }
    }
    out.trim_start().to_owned()
}

fn heading(out: &mut String, section: &str, above: &[&str]) {
    if !section.is_empty() && above.first().is_none_or(|first| !first.is_empty()) {
        out.push('\n');
    }
    for comment in above {
        out.push_str(comment);
        out.push('\n');
    }
    if !section.is_empty() {
        out.push_str(&format!("[{section}]\n"));
    }
}

fn line(out: &mut String, entry: &Entry<'_>, effective: &Table) {
    for comment in &entry.above {
        out.push_str(comment);
        out.push('\n');
    }
    let table = entry
        .section
        .split('.')
        .filter(|part| !part.is_empty())
        .try_fold(effective, |table, part| table.get(part).and_then(Value::as_table));
    if let Some((table, value)) = table.and_then(|table| Some((table, table.get(&entry.key)?))) {
        let secret = secret_of(&format!("{}_file", entry.key), table).is_some()
            && table.contains_key(&format!("{}_file", entry.key));
        out.push_str(&format!("{} = {}\n", entry.key, masked(value, secret)));
    }
}

/// The value with what is secret in it masked.
fn masked(value: &Value, secret: bool) -> Value {
    match value {
        Value::String(text) => Value::String(shown(text, secret)),
        Value::Array(items) => Value::Array(items.iter().map(|item| masked(item, secret)).collect()),
        Value::Table(table) => {
            Value::Table(table.iter().map(|(key, value)| (key.clone(), masked(value, is_secret_name(key)))).collect())
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => value.clone(),
    }
}

/// Text as it may be shown. URLs, one or several with commas between them, are shown without their passwords if it is plain which part of them is one; a secret that is
/// anything else, and what looks like a URL with a password in a place that cannot be told, is not shown at all.
fn shown(text: &str, secret: bool) -> String {
    let urls: Option<Vec<String>> = text.split(',').map(without_password).collect();
    match urls {
        Some(urls) => urls.join(","),
        None if text.is_empty() => String::new(),
        None if secret || (text.contains("://") && text.contains('@')) => MASK.to_owned(),
        None => text.to_owned(),
    }
}

/// A URL with the password between its `:` and `@` masked, and those in its query; `None` if it is no URL, or one in which something stands where it cannot stand, as
/// an unescaped `/` in a password makes it.
fn without_password(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    // What follows the host's name, or the closing bracket of an address, is a port.
    let port = host[host.rfind(']').unwrap_or(0)..].split_once(':').map_or("", |(_, port)| port);
    if tail.contains('@') || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let user = match user.map(|user| user.split_once(':')) {
        None => String::new(),
        Some(None) => format!("{}@", user.unwrap_or_default()),
        Some(Some((name, _))) => format!("{name}:{MASK}@"),
    };
    let (path, query) = tail.split_once('?').map_or((tail, None), |(path, query)| (path, Some(query)));
    let query = query.map(|query| {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((key, _)) if is_secret_parameter(&key.to_lowercase()) => format!("{key}={MASK}"),
            _ => pair.to_owned(),
        });
        format!("?{}", pairs.collect::<Vec<_>>().join("&"))
    });
    Some(format!("{scheme}://{user}{host}{path}{}", query.unwrap_or_default()))
}

/// Whether a parameter of a URL is a secret: `password` of Postgres's, `pass` of Redis's.
fn is_secret_parameter(key: &str) -> bool {
    is_secret_name(key) || key.contains("pass")
}

/// Takes a text of defaults apart. A value may go over several lines: lines are added until it parses.
fn parse(text: &str) -> Defaults<'_> {
    let mut parsed = Defaults { sections: Vec::new(), entries: Vec::new() };
    let mut section = String::new();
    let mut above = Vec::new();
    let mut lines = text.lines();
    while let Some(first) = lines.next() {
        let trimmed = first.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            above.push(first);
        } else if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
            parsed.sections.push((section.clone(), std::mem::take(&mut above)));
        } else {
            if section.is_empty() && parsed.sections.is_empty() {
                parsed.sections.push((String::new(), Vec::new()));
            }
            let mut whole = first.to_owned();
            while whole.parse::<Table>().is_err() {
                let Some(next) = lines.next() else { break };
                whole.push('\n');
                whole.push_str(next);
            }
            let key = trimmed.split('=').next().unwrap_or_default().trim().to_owned();
            parsed.entries.push(Entry { section: section.clone(), key, above: std::mem::take(&mut above) });
        }
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_their_passwords() {
        for (url, told) in [
            ("redis://r:6379/0", "redis://r:6379/0"),
            ("redis://[::1]:6379", "redis://[::1]:6379"),
            (
                "redis://u:hunter2@a:7000,redis://u:hunter2@b:7001",
                "redis://u:********@a:7000,redis://u:********@b:7001",
            ),
            ("postgres://u:hunt@er2@db/x", "postgres://u:********@db/x"),
            (
                "postgres://u@db/x?password=hunter2&sslmode=require",
                "postgres://u@db/x?password=********&sslmode=require",
            ),
            ("redis+unix:///run/r.sock?user=u&pass=hunter2", "redis+unix:///run/r.sock?user=u&pass=********"),
            ("postgres://u:********@db", "postgres://u:********@db"),
        ] {
            assert_eq!(shown(url, true), told);
            assert_eq!(shown(url, false), told);
        }
    }

    #[test]
    fn what_may_have_a_password_somewhere_is_not_shown_at_all() {
        for odd in [
            "postgres://x:hun/ter2@db/x",
            "postgres://x:hun?ter2@db/x",
            "redis://u:hunter2,more@a:7000",
            "redis://u:1234,56@a:7000",
            "redis://u:hunter2",
        ] {
            assert_eq!(shown(odd, true), MASK, "{odd}");
        }
        for odd in ["hunter2", "a b c", ","] {
            assert_eq!((shown(odd, true).as_str(), shown(odd, false).as_str()), (MASK, odd));
        }
        assert_eq!(shown("postgres://x:hun/ter2@db/x", false), MASK);
        assert_eq!(shown("", true), "");
    }
}
