//! Migrations expand: what a replica of the release before uses stays, until a later migration takes it away and says whom it still serves.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Result, StackError};

/// The latest migrations that were released before there was this rule. Files up to these are as they are.
const BEFORE: [(&str, i64); 3] = [("catalog", 5), ("reservation", 9), ("vendor-sync", 6)];

/// Words that take something away from programs that use it. `…` stands for one or more names.
const CONTRACTING: [&[&str]; 17] = [
    &["DROP", "TABLE"],
    &["DROP", "COLUMN"],
    &["DROP", "FUNCTION"],
    &["DROP", "PROCEDURE"],
    &["DROP", "ROUTINE"],
    &["DROP", "TYPE"],
    &["DROP", "DOMAIN"],
    &["DROP", "VIEW"],
    &["DROP", "MATERIALIZED"],
    &["DROP", "SCHEMA"],
    &["DROP", "SEQUENCE"],
    &["DROP", "DEFAULT"],
    &["DROP", "OWNED"],
    &["RENAME"],
    &["REVOKE"],
    &["SET", "NOT", "NULL"],
    &["SET", "SCHEMA"],
];

/// What is wrong with the services' migrations below `root`, one sentence each.
///
/// # Errors
///
/// [`StackError::Io`] when a file cannot be read.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for (service, before) in BEFORE {
        let folder = root.join("services").join(service).join("migrations");
        let reading = |error| StackError::io(format!("reading {}", folder.display()), error);
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(&folder).map_err(reading)? {
            let path = entry.map_err(reading)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let version = name.split('_').next().and_then(|digits| digits.parse::<i64>().ok());
            match version {
                Some(version) if name.ends_with(".sql") => {
                    let text = std::fs::read_to_string(&path).map_err(reading)?;
                    if let Some((other, _)) = files.insert(version, (name.clone(), text)) {
                        findings.push(format!("{service}: {other} and {name} have the same number"));
                    }
                }
                _ => findings.push(format!("{service}: migrations/{name} is not called NUMBER_name.sql")),
            }
        }
        findings.extend(check_service(service, before, &files));
    }
    Ok(findings)
}

/// The files of a service by their numbers, with their names and texts.
fn check_service(service: &str, before: i64, files: &BTreeMap<i64, (String, String)>) -> Vec<String> {
    let mut findings = Vec::new();
    let mut floor = 0;
    for (version, (name, text)) in files.range(before + 1..) {
        let path = format!("services/{service}/migrations/{name}");
        if text.starts_with("-- no-transaction") {
            findings.push(format!("{path} asks for no transaction: cut off in the middle, it could not be run again"));
        }
        let words = words(text);
        let raised = raised_to(&words);
        if let Some(raised) = raised {
            if raised <= floor {
                findings.push(format!("{path} sets schema_serves to {raised}, which is not above {floor}"));
            }
            // The first one makes the table: there is no program before it that asks.
            if raised >= *version && floor > 0 {
                findings.push(format!(
                    "{path} sets schema_serves to {raised}: the programs of the release before must still be served, or a rollout stops the shop"
                ));
            }
            floor = raised;
        }
        if raised.is_none()
            && let Some(what) = contraction(&words)
        {
            findings.push(format!(
                "{path} has `{what}`, which programs of the release before may not survive: expand only; to contract in a later release, raise \
                 schema_serves in the same file (CONTRIBUTING.md, \"Migrations\")"
            ));
        }
    }
    findings
}

/// The words of the statements, in capitals; comments and what stands in quotes left out. Numbers and names are words, other signs stand alone.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = if let Some(comment) = rest.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, rest)| rest)
        } else if let Some(quoted) = rest.strip_prefix('\'') {
            quoted.split_once('\'').map_or("", |(_, rest)| rest)
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            words.push(rest[..end].to_uppercase());
            &rest[end..]
        } else {
            if !first.is_whitespace() && first != '"' {
                words.push(first.into());
            }
            &rest[first.len_utf8()..]
        };
    }
    words
}

/// What the file sets `schema_serves` to, when it makes it or raises it.
fn raised_to(words: &[String]) -> Option<i64> {
    let is = |at: &[String], pattern: &[&str]| at.iter().map(String::as_str).eq(pattern.iter().copied());
    let value = |pattern: &[&str]| {
        let at = words.windows(pattern.len()).position(|window| is(window, pattern))? + pattern.len();
        words.get(at)?.parse().ok()
    };
    value(&["UPDATE", "SCHEMA_SERVES", "SET", "OLDEST", "="])
        .or_else(|| value(&["INSERT", "INTO", "SCHEMA_SERVES", "(", "OLDEST", ")", "VALUES", "("]))
}

/// The first words that take something away.
fn contraction(words: &[String]) -> Option<String> {
    for pattern in CONTRACTING {
        let found =
            words.windows(pattern.len()).any(|window| window.iter().map(String::as_str).eq(pattern.iter().copied()));
        if found {
            return Some(pattern.join(" "));
        }
    }
    words.split(|word| word == ";").find_map(|statement| {
        let clauses: Vec<&[String]> = clauses(statement);
        clauses.iter().find_map(|clause| contracting_clause(clause))
    })
}

/// A statement's clauses: what its commas outside of brackets part.
fn clauses(statement: &[String]) -> Vec<&[String]> {
    let mut depth = 0_i32;
    statement
        .split(move |word| {
            match word.as_str() {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => {}
            }
            word == "," && depth == 0
        })
        .collect()
}

/// What may be dropped without taking anything away from programs.
const HARMLESS_TO_DROP: [&str; 9] =
    ["NOT", "CONSTRAINT", "INDEX", "TRIGGER", "EXPRESSION", "IDENTITY", "POLICY", "STATISTICS", "RULE"];

/// A clause that takes something away in more than fixed words.
fn contracting_clause(clause: &[String]) -> Option<String> {
    let clause: Vec<&str> = clause.iter().map(String::as_str).collect();
    let position = |word: &str| clause.iter().position(|other| *other == word);
    if let Some(at) = position("TYPE") {
        let before = &clause[..at];
        let before = before.strip_suffix(&["SET", "DATA"]).unwrap_or(before);
        // Not ALTER TYPE …, and not a column that is called type.
        if matches!(before, [.., "ALTER", "COLUMN", _]) || matches!(before, [.., "ALTER", name] if *name != "TABLE") {
            return Some("ALTER COLUMN … TYPE".into());
        }
    }
    let has_not_null = clause.windows(2).any(|pair| pair == ["NOT", "NULL"]);
    let has_a_value = ["GENERATED", "DEFAULT", "CHECK"].iter().any(|word| position(word).is_some());
    if position("ADD").is_some() && has_not_null && !has_a_value {
        return Some("ADD COLUMN … NOT NULL without DEFAULT".into());
    }
    // DROP name is short for DROP COLUMN name.
    let drop = position("DROP")?;
    let next = *clause.get(drop + 1)?;
    let is_a_clause = drop == 0 || clause[0] == "ALTER";
    (is_a_clause && !HARMLESS_TO_DROP.contains(&next)).then(|| format!("DROP {next}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(texts: &[&str]) -> Vec<String> {
        let first = "CREATE TABLE schema_serves (oldest bigint); INSERT INTO schema_serves (oldest) VALUES (10);";
        let all = std::iter::once(&first).chain(texts);
        let files =
            (10..).zip(all).map(|(version, text)| (version, (format!("{version:04}_x.sql"), (*text).to_owned())));
        check_service("reservation", 9, &files.collect())
    }

    #[test]
    fn what_takes_something_away_is_found_however_it_is_written() {
        for text in [
            "DROP TABLE stock;",
            "drop  table\n if exists stock;",
            "DROP /* once */ FUNCTION commit_fast(uuid[]);",
            "DROP TYPE state;",
            "ALTER TABLE stock DROP COLUMN safety;",
            "ALTER TABLE stock DROP safety;",
            "ALTER TABLE stock ADD COLUMN note text, DROP safety;",
            "ALTER TABLE stock RENAME COLUMN safety TO safe;",
            "ALTER TABLE stock RENAME TO stocks;",
            "ALTER TABLE stock ALTER COLUMN safety TYPE int;",
            "ALTER TABLE stock ALTER safety SET DATA TYPE int;",
            "ALTER TABLE stock ALTER COLUMN note SET NOT NULL;",
            "ALTER TABLE stock ALTER COLUMN note DROP DEFAULT;",
            "ALTER TABLE stock ADD COLUMN note text NOT NULL;",
            "ALTER TABLE stock DROP COLUMN IF EXISTS safety;",
            "REVOKE SELECT ON stock FROM holdfast_reservation;",
            "SELECT 'it''s'; DROP VIEW due_allocation;",
        ] {
            assert_eq!(findings(&[text]).len(), 1, "{text}: {:?}", findings(&[text]));
        }
    }

    #[test]
    fn what_only_adds_is_not_found() {
        for text in [
            "CREATE TABLE note (id bigint NOT NULL, text text NOT NULL);",
            "ALTER TABLE stock ADD COLUMN note text;",
            "ALTER TABLE stock ADD COLUMN units bigint NOT NULL DEFAULT 0;",
            "ALTER TABLE stock ALTER COLUMN note DROP NOT NULL, DROP CONSTRAINT stock_small;",
            "ALTER TABLE stock ADD CONSTRAINT stock_note_there CHECK (note IS NOT NULL) NOT VALID;",
            "-- DROP TABLE stock; RENAME\nSELECT 1;",
            "/* DROP TABLE stock */ COMMENT ON TABLE stock IS 'never DROP TABLE stock';",
            "DROP INDEX stock_by_note; DROP TRIGGER at_risk ON stock;",
            "ALTER TABLE feed ADD COLUMN type text, ADD COLUMN kind text;",
            "ALTER TYPE state ADD VALUE 'PARKED';",
            "CREATE FUNCTION f(a int, b int) RETURNS int LANGUAGE sql AS $$ SELECT a + b $$;",
        ] {
            assert_eq!(findings(&[text]), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn who_contracts_says_whom_the_schema_still_serves() {
        let contract = "ALTER TABLE stock DROP COLUMN safety; UPDATE schema_serves SET oldest = 11;";
        assert_eq!(findings(&["-- Nothing uses safety any more.", contract]), Vec::<String>::new());
        let lowered = "UPDATE schema_serves SET oldest = 9;";
        assert!(findings(&[lowered])[0].contains("not above 10"));
        let lonely = "DROP TABLE note; UPDATE schema_serves SET oldest = 11;";
        assert!(
            findings(&[lonely])[0].contains("the release before must still be served"),
            "{:?}",
            findings(&[lonely])
        );
    }

    #[test]
    fn a_file_that_cannot_be_taken_back_is_found() {
        assert_eq!(findings(&["-- no-transaction\nCREATE INDEX CONCURRENTLY i ON stock (sku);"]).len(), 1);
    }
}
