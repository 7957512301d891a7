//! The habits of this code base that can be read off its text.

use std::path::{Path, PathBuf};

use crate::error::{Result, StackError};

const FILE_LINES_MAX: usize = 600;
const MAIN_LINES_MAX: usize = 40;

/// Folders that are not ours to tidy.
const SKIPPED: [&str; 4] = ["target", ".holdfast", ".git", "node_modules"];

/// What is allowed all the same, by file and word, and why.
const EXCEPTIONS: [(&str, &str, &str); 2] = [
    (
        "services/reservation/tests/service/races.rs",
        "time::sleep(",
        "aims at the very end of a hold, and does not wait for it",
    ),
    (
        "services/reservation/tests/gate/rush.rs",
        "std::thread::sleep(",
        "is the fault itself: a process that stands still",
    ),
];

/// A Rust file: its path below the root, with `/`, and its text.
struct File {
    path: String,
    text: String,
}

/// What is untidy below `root`, one sentence each.
///
/// # Errors
///
/// [`StackError::Io`] when a file cannot be read.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    collect(root, root, &mut files)?;
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files.iter().flat_map(check_file).collect())
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<File>) -> Result<()> {
    let reading = |path: &Path, error| StackError::io(format!("reading {}", path.display()), error);
    for entry in std::fs::read_dir(folder).map_err(|error| reading(folder, error))? {
        let path: PathBuf = entry.map_err(|error| reading(folder, error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !path.is_symlink() {
            if !SKIPPED.contains(&name) {
                collect(root, &path, files)?;
            }
        } else if name.ends_with(".rs") {
            let text = std::fs::read_to_string(&path).map_err(|error| reading(&path, error))?;
            let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            files.push(File { path, text });
        }
    }
    Ok(())
}

fn check_file(file: &File) -> Vec<String> {
    let File { path, text } = file;
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        findings.push(format!("{path} has {lines} lines, more than {FILE_LINES_MAX}: nobody reads it in a sitting"));
    }
    if path.ends_with("/src/main.rs") && lines > MAIN_LINES_MAX {
        findings.push(format!("{path} has {lines} lines, more than {MAIN_LINES_MAX}: it is a table of contents"));
    }
    if opens_a_module(path) && !text.trim_start().starts_with("//!") {
        findings.push(format!("{path} does not say in its first line what it is for (//! …)"));
    }
    for (number, line) in text.lines().enumerate() {
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        for (word, instead) in forbidden(path) {
            let excepted = EXCEPTIONS.iter().any(|(file, allowed, _why)| file == path && *allowed == word);
            if code.contains(word) && !is_quoted(code, word) && !excepted {
                findings.push(format!("{path}:{}: {word} {instead}", number + 1));
            }
        }
    }
    findings
}

/// Parts of a file's module that live in files of their own need no header; a module does.
fn opens_a_module(path: &str) -> bool {
    path.contains("/src/") && !path.ends_with("tests.rs") && !path.ends_with("_test.rs")
}

/// Words that may not stand in the code of a file, and what to do instead.
fn forbidden(path: &str) -> Vec<(&'static str, &'static str)> {
    let mut words = vec![
        ("#[ignore", "hides a test: make it run, or remove it"),
        ("todo!(", "is a promise: keep it before it is committed"),
        ("unimplemented!(", "is a promise: keep it before it is committed"),
        ("std::thread::sleep(", "blocks a thread for a guess: wait for the condition (testkit's eventually)"),
    ];
    let is_test = path.contains("/tests/") || path.starts_with("tests/") || path.ends_with("tests.rs");
    if is_test {
        words.push(("time::sleep(", "guesses how long something takes: wait for it (testkit's eventually)"));
    }
    let in_service = path.strip_prefix("services/").and_then(|rest| rest.split_once("/src/"));
    if let Some((service, file)) = in_service {
        let is_store = file.starts_with("store/") || file == "store.rs";
        if !is_store {
            for word in ["sqlx::query", "query_as(", "query_scalar(", "raw_sql("] {
                words.push((word, "is SQL, which only the service's store knows"));
            }
        }
        let is_gate = service == "reservation" && (file.starts_with("gate/") || file == "gate.rs");
        if !is_gate {
            words.push(("redis::", "is Redis, which only reservation's gate knows"));
            words.push(("\"hf:", "is a key of Redis, which only reservation's gate knows"));
        }
    }
    words
}

/// Whether the word stands in a string, as it does in this file.
fn is_quoted(code: &str, word: &str) -> bool {
    !word.starts_with('"') && code.find(word).is_some_and(|at| code[..at].matches('"').count() % 2 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        check_file(&File { path: path.into(), text: text.into() }).len()
    }

    #[test]
    fn promises_and_hidden_tests_are_found() {
        assert_eq!(findings("crates/x/src/a.rs", "//! A.\nfn a() { todo!() }\n"), 1);
        assert_eq!(findings("crates/x/tests/a.rs", "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n"), 1);
        assert_eq!(findings("crates/x/src/a.rs", "//! A.\n// todo!() is forbidden\n"), 0);
    }

    #[test]
    fn sleeping_in_a_test_is_found() {
        assert_eq!(findings("crates/x/tests/a.rs", "tokio::time::sleep(a).await;\n"), 1);
        assert_eq!(findings("crates/x/src/a.rs", "//! A.\ntokio::time::sleep(a).await;\n"), 0);
    }

    #[test]
    fn sql_and_redis_outside_of_their_place_are_found() {
        let (sql, redis) = ("//! A.\nsqlx::query(\"\")\n", "//! A.\nuse redis::Client;\n");
        assert_eq!(findings("services/catalog/src/grpc.rs", sql), 1);
        assert_eq!(findings("services/catalog/src/store/mod.rs", sql), 0);
        assert_eq!(findings("services/reservation/src/reserve.rs", redis), 1);
        assert_eq!(findings("services/reservation/src/gate/link.rs", redis), 0);
    }

    #[test]
    fn long_files_and_modules_without_a_purpose_are_found() {
        assert_eq!(findings("crates/x/src/a.rs", &format!("//! A.\n{}", "\n".repeat(FILE_LINES_MAX))), 1);
        assert_eq!(findings("crates/x/src/main.rs", &format!("//! A.\n{}", "\n".repeat(MAIN_LINES_MAX))), 1);
        assert_eq!(findings("crates/x/src/a.rs", "fn a() {}\n"), 1);
    }
}
