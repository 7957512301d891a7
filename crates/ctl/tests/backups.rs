//! Backups that cannot be taken or restored: what holdctl says, and that nothing is left half done. A stand-in speaks for PostgreSQL's programs; the real ones are in the scenario of
//! `docs/backup.md`.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

const DATABASE: &str = "postgres://owner:the-password@127.0.0.1:1/shop";

/// Answers as a server would that has what a backup asks for: each line of a question's own, in the order in which holdctl asks.
const PSQL: &str = r#"#!/bin/sh
case "$*" in *the-password*) echo 'the password is on the command line' >&2; exit 1 ;; esac
while read -r line; do
  case "$line" in
    *server_version_num*) echo 15 ;;
    *to_regclass*) echo t ;;
    *pg_export_snapshot*) echo '0001|2026-01-01T00:00:00.000000Z' ;;
    *'max(version)'*) echo 1 ;;
    *pg_stat_activity*) echo "${OTHERS:-0}" ;;
    *pg_proc*) echo "${THINGS:-0}" ;;
    *begin_incarnation*) if [ -n "$CUT" ]; then echo 'psql: error: the connection was lost' >&2; exit 1; fi ;;
    *clock_timestamp*) echo '2026-01-02T00:00:00.000000Z' ;;
    '\echo '*) echo '-- holdctl: that is all --' ;;
  esac
done
"#;
const PG_DUMP: &str = r#"#!/bin/sh
[ -n "$PGPASSWORD" ] || [ "$1" = --version ] || { echo 'no password' >&2; exit 1; }
case "$*" in *the-password*) echo 'the password is on the command line' >&2; exit 1 ;; esac
if [ -n "$BROKEN" ]; then echo 'pg_dump: error: the disk is full' >&2; exit 1; fi
for argument; do case "$argument" in --file=*) echo dumped > "${argument#--file=}" ;; --version) echo 'pg_dump (PostgreSQL) 15' ;; esac; done
"#;
const PG_RESTORE: &str = r#"#!/bin/sh
case "$*" in *the-password*) echo 'the password is on the command line' >&2; exit 1 ;; esac
if [ -n "$BROKEN" ] && [ "$1" != --list ]; then echo 'pg_restore: error: the disk is full' >&2; exit 1; fi
"#;

fn programs(folder: &Path) {
    for (name, script) in [("psql", PSQL), ("pg_dump", PG_DUMP), ("pg_restore", PG_RESTORE)] {
        std::fs::write(folder.join(name), script).unwrap();
        std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

async fn holdctl(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_holdctl"));
    command.current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.envs(environment.iter().copied()).args(arguments).args(["--postgres-bin", "."]).output().await.unwrap()
}

fn ended(output: &Output, code: i32, says: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(says), "{said}");
}

/// What lies in the folder beside the programs.
fn left(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.starts_with("p")).collect();
    names.sort();
    names
}

const OF_CATALOG: [(&str, &str); 1] = [("HOLDFAST_CATALOG_DATABASE", DATABASE)];

#[tokio::test]
async fn a_backup_is_whole_private_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    programs(folder.path());
    let taken = holdctl(folder.path(), &["-o", "json", "backup", "kept"], &OF_CATALOG).await;
    ended(&taken, 0, "");
    let printed: serde_json::Value = serde_json::from_slice(&taken.stdout).unwrap();
    assert_eq!(printed[0]["backup_time"], "2026-01-01T00:00:00.000000Z");
    assert!(!String::from_utf8_lossy(&taken.stdout).contains("password"));
    assert_eq!(left(folder.path()), ["kept"]);
    let kept = folder.path().join("kept");
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    ended(&holdctl(folder.path(), &["backup", "kept"], &OF_CATALOG).await, 1, "nothing is overwritten");
    ended(&holdctl(folder.path(), &["restore", "kept", "--check-only"], &OF_CATALOG).await, 0, "");
}

#[tokio::test]
async fn a_backup_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    programs(folder.path());
    let broken = [OF_CATALOG[0], ("BROKEN", "yes")];
    ended(&holdctl(folder.path(), &["backup", "kept"], &broken).await, 1, "the disk is full");
    assert_eq!(left(folder.path()), [""; 0]);
}

#[tokio::test]
async fn a_database_that_is_in_use_or_not_empty_is_not_restored_into() {
    let folder = tempfile::tempdir().unwrap();
    programs(folder.path());
    ended(&holdctl(folder.path(), &["backup", "kept"], &OF_CATALOG).await, 0, "");
    let restore = ["restore", "kept"];
    let full = [OF_CATALOG[0], ("THINGS", "7")];
    ended(&holdctl(folder.path(), &restore, &full).await, 1, "is not empty");
    let used = [OF_CATALOG[0], ("OTHERS", "2")];
    ended(&holdctl(folder.path(), &restore, &used).await, 1, "stop the services");
    std::fs::write(folder.path().join("kept/catalog.dump"), "another").unwrap();
    ended(&holdctl(folder.path(), &restore, &OF_CATALOG).await, 1, "the backup is damaged");
}

#[tokio::test]
async fn a_password_among_an_addresss_options_is_on_no_command_line() {
    let folder = tempfile::tempdir().unwrap();
    programs(folder.path());
    let address = "postgres://owner@127.0.0.1:1/shop?sslmode=disable&password=the-password";
    let hidden = [("HOLDFAST_CATALOG_DATABASE", address)];
    ended(&holdctl(folder.path(), &["backup", "kept"], &hidden).await, 0, "");
    ended(&holdctl(folder.path(), &["restore", "kept"], &hidden).await, 0, "What was written after");
}

#[tokio::test]
async fn a_restore_that_fails_says_which_database_is_not_to_be_used_and_which_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    programs(folder.path());
    let both = [OF_CATALOG[0], ("HOLDFAST_RESERVATION_DATABASE", DATABASE)];
    ended(&holdctl(folder.path(), &["backup", "kept"], &both).await, 0, "");
    // The dump is in, and then the record does not get its new life.
    let cut = [both[0], both[1], ("CUT", "yes")];
    let output = holdctl(folder.path(), &["restore", "kept", "-o", "json"], &cut).await;
    ended(&output, 1, "reservation's database is there, but do not use it: begin again at step 2");
    ended(&output, 1, "the connection was lost");
    let whole: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((whole.as_array().unwrap().len(), &whole[0]["service"]), (1, &"catalog".into()));
    // Nothing is in, for pg_restore has only one transaction.
    let broken = [both[0], both[1], ("BROKEN", "yes")];
    let output = holdctl(folder.path(), &["restore", "kept"], &broken).await;
    ended(&output, 1, "catalog's database was not restored: pg_restore failed: pg_restore: error: the disk is full");
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn what_cannot_be_meant_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    programs(folder.path());
    ended(&holdctl(folder.path(), &["backup", "kept"], &[]).await, 2, "name at least one database");
    let odd = [("HOLDFAST_CATALOG_DATABASE", "http://shop")];
    ended(&holdctl(folder.path(), &["backup", "kept"], &odd).await, 2, "--catalog-database");
    ended(&holdctl(folder.path(), &["restore", "nowhere"], &OF_CATALOG).await, 2, "manifest.json");
    ended(&holdctl(folder.path(), &["backup", "kept"], &OF_CATALOG).await, 0, "");
    let other = [("HOLDFAST_VENDOR_SYNC_DATABASE", DATABASE)];
    ended(&holdctl(folder.path(), &["restore", "kept"], &other).await, 2, "has no backup of vendor-sync");
}
