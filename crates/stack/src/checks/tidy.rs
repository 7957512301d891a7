//! The habits of this code base that can be read off its text.

use std::path::{Path, PathBuf};

use crate::error::{Result, StackError};

const FILE_LINES_MAX: usize = 600;
const MAIN_LINES_MAX: usize = 40;

/// Folders that are not ours to tidy.
const SKIPPED: [&str; 4] = ["target", ".holdfast", ".git", "node_modules"];

/// What is allowed all the same, by file and word, and why.
const EXCEPTIONS: [(&str, &str, &str); 4] = [
    (
        "services/reservation/tests/service/races.rs",
        "sleep_until(",
        "aims at the very end of a hold, and does not wait for it",
    ),
    ("tests/tests/cluster/lives.rs", "sleep_until(", "aims at a moment in the middle of orders, to kill at it"),
    ("tests/tests/cluster/story.rs", "sleep_until(", "chooses the moment of a kill: any will do"),
    ("tests/tests/cluster/load.rs", "sleep_until(", "paces buyers, as a busy service asks of them"),
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
    Ok(files.iter().flat_map(check_file).chain(needless_exceptions(&files)).collect())
}

/// Exceptions that nothing makes use of any more.
fn needless_exceptions(files: &[File]) -> Vec<String> {
    let used = |path: &str, word: &str| files.iter().any(|file| file.path == path && file.text.contains(word));
    let needless = EXCEPTIONS.iter().filter(|(path, word, _why)| !used(path, word));
    needless.map(|(path, word, _why)| format!("{path} needs no exception for {word} any more")).collect()
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
    let tests_begin = tests_begin(path, text);
    for (number, line) in text.lines().enumerate() {
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        for (word, instead) in forbidden(path, number >= tests_begin) {
            let excepted = EXCEPTIONS.iter().any(|(file, allowed, _why)| file == path && *allowed == word);
            if stands(code, word) && !excepted {
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

/// The line with which a file's tests begin: the first, that of a module of tests at its end, or none.
fn tests_begin(path: &str, text: &str) -> usize {
    if path.contains("/tests/") || path.starts_with("tests/") || path.ends_with("tests.rs") {
        return 0;
    }
    let lines: Vec<&str> = text.lines().collect();
    let opens = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
    lines.windows(2).position(opens).unwrap_or(usize::MAX)
}

/// Words that may not stand in the code of a file, or of its tests, and what to do instead.
fn forbidden(path: &str, in_tests: bool) -> Vec<(&'static str, &'static str)> {
    let mut words = vec![
        ("#[ignore", "hides a test: make it run, or remove it"),
        ("todo!(", "is a promise: keep it before it is committed"),
        ("unimplemented!(", "is a promise: keep it before it is committed"),
    ];
    if in_tests {
        for word in ["sleep(", "sleep_until("] {
            words.push((word, "guesses how long something takes: wait for it (testkit's eventually)"));
        }
    } else {
        words.push(("std::thread::sleep(", "blocks a thread for a guess: wait for the condition"));
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

/// Whether the word stands in the code: not as the end of a longer one, and not in a string, as it does in this file.
fn stands(code: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = &code[..at];
        let longer = word.starts_with(part_of_name) && before.ends_with(part_of_name);
        let quoted = !word.starts_with('"') && before.matches('"').count() % 2 == 1;
        !longer && !quoted
    })
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
        for line in ["tokio::time::sleep(a).await;", "sleep(a).await", "std::thread::sleep(a);", "sleep_until(now + a)"]
        {
            assert_eq!(findings("crates/x/tests/a.rs", line), 1, "{line}");
            assert_eq!(findings("tests/tests/a.rs", line), 1, "{line}");
            let inline = format!("//! A.\nfn a() {{}}\n\n#[cfg(test)]\nmod tests {{\n    {line}\n}}\n");
            assert_eq!(findings("crates/x/src/a.rs", &inline), 1, "{line}");
        }
        assert_eq!(findings("crates/x/src/a.rs", "//! A.\ntokio::time::sleep(a).await;\n"), 0);
        assert_eq!(findings("crates/x/src/a.rs", "//! A.\n#[cfg(test)]\nmod tests;\nsleep(a).await;\n"), 0);
        assert_eq!(findings("crates/x/src/a.rs", "//! A.\nstd::thread::sleep(a);\n"), 1);
        for line in ["query(\"SELECT pg_sleep(1)\")", "fell_asleep(a)", "// sleep(a)"] {
            assert_eq!(findings("crates/x/tests/a.rs", line), 0, "{line}");
        }
    }

    #[test]
    fn an_exception_that_nothing_needs_is_found() {
        assert_eq!(needless_exceptions(&[]).len(), EXCEPTIONS.len());
        let files = EXCEPTIONS.map(|(path, word, _)| File { path: path.into(), text: word.into() });
        assert_eq!(needless_exceptions(&files), [""; 0]);
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
