//! `holdctl backup`: the services' databases into a folder, by Postgres's own pg_dump.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::backup::{Address, Databases, Kept, Manifest, Programs, Service, Session, count_rows, digest};
use crate::cli::Format;
use crate::failure::Failure;
use crate::output::{self, Column};

const COLUMNS: &[Column] = &[
    ("SERVICE", "service"),
    ("EVERYTHING UNTIL", "backup_time"),
    ("BYTES", "bytes"),
    ("SCHEMA", "schema_version"),
    ("FILE", "file"),
];

/// What to back up, and where to.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The folder to make. It must not exist: nothing is ever overwritten.
    folder: PathBuf,
    #[command(flatten)]
    databases: Databases,
}

pub(crate) async fn run(format: Format, args: &BackupArgs) -> Result<(), Failure> {
    let (programs, named) = (args.databases.programs(), args.databases.named()?);
    if args.folder.exists() {
        return Err(Failure::Refused(format!("{} exists already; nothing is overwritten", args.folder.display())));
    }
    // The folder gets its name when all is in it: what has the name is whole.
    let unfinished = Unfinished::make(&args.folder).map_err(|error| not_written(&args.folder, &error))?;
    let mut databases = Vec::new();
    for (service, address) in &named {
        databases.push(dump(&programs, *service, address, &unfinished.0).await?);
    }
    let manifest = Manifest::of(databases);
    let kept = manifest.write(&unfinished.0).and_then(|()| unfinished.finish(&args.folder));
    kept.map_err(|error| not_written(&args.folder, &error))?;
    let items: Vec<_> = manifest.databases.iter().map(|kept| json!(kept)).collect();
    output::list(format, COLUMNS, &items)
}

fn not_written(folder: &Path, error: &io::Error) -> Failure {
    Failure::Refused(format!("{} cannot be written: {error}", folder.display()))
}

/// Dumps one database as one transaction sees it, and counts the same.
async fn dump(programs: &Programs, service: Service, address: &Address, folder: &Path) -> Result<Kept, Failure> {
    let mut session = Session::open(programs, address)?;
    let server_major = session.field("SELECT current_setting('server_version_num')::int / 10000").await?;
    if session.field(&format!("SELECT to_regclass('public.{}') IS NOT NULL", service.mark)).await? != "t" {
        return Err(Failure::Refused(format!("--{0}-database is not {0}'s, or was never migrated", service.name)));
    }
    session.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    // The transaction begins before its snapshot is taken: what was committed by then is in it.
    let [snapshot, backup_time]: [String; 2] = session
        .row("SELECT pg_export_snapshot(), to_char(transaction_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
        .await?
        .try_into()
        .map_err(|_| Failure::Refused("psql did not answer with two fields".to_owned()))?;
    let schema_version = session.field("SELECT max(version) FROM _sqlx_migrations WHERE success").await?;
    let rows = count_rows(&mut session).await?;

    let file = format!("{}.dump", service.name);
    let path = folder.join(&file);
    let arguments =
        ["--format=custom".to_owned(), format!("--snapshot={snapshot}"), format!("--file={}", path.display())];
    programs.run("pg_dump", Some(address), &arguments).await?;
    let pg_dump = programs.run("pg_dump", None, &["--version".to_owned()]).await?;
    session.ask("COMMIT").await?;
    let synced = File::open(&path).and_then(|dump| dump.sync_all()).and_then(|()| digest(&path));
    let (bytes, sha256) = synced.map_err(|error| not_written(&path, &error))?;
    let odd = |what: &str| Failure::Refused(format!("psql said what no version is: {what}"));
    Ok(Kept {
        service: service.name.to_owned(),
        file,
        bytes,
        sha256,
        backup_time,
        schema_version: schema_version.parse().map_err(|_| odd(&schema_version))?,
        server_major: server_major.parse().map_err(|_| odd(&server_major))?,
        pg_dump: pg_dump.trim().to_owned(),
        rows,
    })
}

/// A folder that has not got its name yet; removed if it never does.
struct Unfinished(PathBuf);

impl Unfinished {
    fn make(folder: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let mut name = folder.as_os_str().to_owned();
        name.push(format!(".unfinished-{}", std::process::id()));
        // Its owner's alone: everything that the shop sells is in it.
        std::fs::DirBuilder::new().mode(0o700).create(&name)?;
        Ok(Self(name.into()))
    }

    fn finish(&self, folder: &Path) -> io::Result<()> {
        // Since the first look somebody may have made it; a folder that is not empty is not replaced.
        std::fs::rename(&self.0, folder)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _gone_or_renamed = std::fs::remove_dir_all(&self.0);
    }
}
