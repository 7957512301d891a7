//! `holdctl restore`: a backup's databases into empty ones, by Postgres's own pg_restore, and what is lost by it.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::backup::{Address, Databases, Kept, MANIFEST, Manifest, Programs, Service, Session, count_rows};
use crate::cli::Format;
use crate::failure::Failure;
use crate::output::{self, Column};

const COLUMNS: &[Column] = &[
    ("SERVICE", "service"),
    ("EVERYTHING UNTIL", "backup_time"),
    ("LOST AFTER THAT, UNTIL", "lost_until_time"),
    ("ROWS", "rows"),
    ("INCARNATION", "incarnation"),
];

/// What to restore, and where to.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup's folder.
    folder: PathBuf,
    /// Only check the backup and the databases, and change nothing.
    #[arg(long)]
    check_only: bool,
    #[command(flatten)]
    databases: Databases,
}

pub(crate) async fn run(format: Format, args: &RestoreArgs) -> Result<(), Failure> {
    let (programs, named) = (args.databases.programs(), args.databases.named()?);
    let manifest = Manifest::read(&args.folder)?;
    // Everything is checked before anything is changed.
    let mut chosen = Vec::new();
    for (service, address) in &named {
        let kept = manifest.databases.iter().find(|kept| kept.service == service.name).ok_or_else(|| {
            Failure::Usage(format!("{} has no backup of {}", args.folder.join(MANIFEST).display(), service.name))
        })?;
        check(&programs, *service, address, kept, &args.folder).await?;
        chosen.push((*service, address, kept));
    }
    if args.check_only {
        let items: Vec<_> = chosen.iter().map(|(_, _, kept)| json!(kept)).collect();
        return output::list(format, &COLUMNS[..2], &items);
    }
    let (mut items, mut failed) = (Vec::new(), None);
    for (service, address, kept) in chosen {
        match restore(&programs, service, address, kept, &args.folder).await {
            Ok(item) => items.push(item),
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
    }
    // Also before a failure: what has been restored by then is whole, and its times are told only now.
    if !items.is_empty() {
        output::list(format, COLUMNS, &items)?;
        output::note(
            "What was written after a backup's time is lost: reservations, confirmations, counts, adjustments and policies. Go on with docs/backup.md, \
             section \"After restoring\".",
        );
    }
    failed.map_or(Ok(()), Err)
}

/// That the dump can be read, and the database is empty and nobody's at present.
async fn check(
    programs: &Programs,
    service: Service,
    address: &Address,
    kept: &Kept,
    folder: &Path,
) -> Result<(), Failure> {
    let dump = folder.join(&kept.file).display().to_string();
    programs.run("pg_restore", None, &["--list".to_owned(), dump]).await?;
    let mut session = Session::open(programs, address)?;
    let database = format!("--{}-database", service.name);
    let major = session.field("SELECT current_setting('server_version_num')::int / 10000").await?;
    if major.parse().map_or(true, |major: u32| major < kept.server_major) {
        let from = kept.server_major;
        return Err(Failure::Refused(format!("{database}: PostgreSQL {major} does not take what {from} wrote")));
    }
    let things = "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace)
                       + (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace)
                       + (SELECT count(*) FROM pg_namespace WHERE nspname !~ '^(pg_.*|information_schema|public)$')";
    if session.field(things).await? != "0" {
        return Err(Failure::Refused(format!("{database} is not empty; nothing is overwritten: make a new database")));
    }
    // Postgres's own processes, autovacuum's among them, are nobody's. What kind of process it is, is not told to everybody; whose it is, is.
    let others = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid() AND usesysid IS NOT NULL";
    let others = session.field(others).await?;
    if others != "0" {
        return Err(Failure::Refused(format!("{database}: {others} others are connected to it; stop the services")));
    }
    Ok(())
}

/// Restores one database in one transaction, counts what is there and gives it a new life.
///
/// Until it has that, it looks whole and is not: whoever follows its changes would take his place in the lost record for one in this.
async fn restore(
    programs: &Programs,
    service: Service,
    address: &Address,
    kept: &Kept,
    folder: &Path,
) -> Result<Value, Failure> {
    let dump = folder.join(&kept.file).display().to_string();
    let arguments = ["--single-transaction", "--exit-on-error", "--no-owner"].map(str::to_owned);
    let restored = programs.run("pg_restore", Some(address), &[&arguments[..], &[dump]].concat()).await;
    restored.map_err(|why| Failure::Refused(format!("{}'s database was not restored: {why}", service.name)))?;
    finish(programs, service, address, kept).await.map_err(|why| {
        let name = service.name;
        Failure::Refused(format!("{name}'s database is there, but do not use it: begin again at step 2 of docs/backup.md, \"Restoring\"\n{why}"))
    })
}

/// Looks whether everything is there, and gives it a new life.
async fn finish(programs: &Programs, service: Service, address: &Address, kept: &Kept) -> Result<Value, Failure> {
    let mut session = Session::open(programs, address)?;
    let rows = count_rows(&mut session).await?;
    if rows != kept.rows {
        let differ = kept.rows.iter().filter(|(table, count)| rows.get(*table) != Some(count));
        let differ: Vec<_> = differ.map(|(table, _)| table.as_str()).collect();
        return Err(Failure::Refused(format!("it has not what the backup says, in: {}", differ.join(", "))));
    }
    let incarnation = begin_anew(&mut session, service, kept).await?;
    session.ask("ANALYZE").await?;
    let now = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    Ok(json!({
        "service": kept.service,
        "backup_time": kept.backup_time,
        "lost_until_time": session.field(now).await?,
        "rows": rows.values().sum::<u64>(),
        "incarnation": incarnation,
    }))
}

/// The record is another one now than that which was lost: whoever follows its changes must not take his place in the one for a place in the other.
async fn begin_anew(session: &mut Session, service: Service, kept: &Kept) -> Result<Option<String>, Failure> {
    let time = format!("'{}'", kept.backup_time.replace('\'', "''"));
    let mut name = None;
    session.ask("BEGIN").await?;
    for step in service.begin_anew {
        name = session.ask(&step.replace("$1", &time)).await?.into_iter().next().or(name);
    }
    session.ask("COMMIT").await?;
    Ok(name)
}
