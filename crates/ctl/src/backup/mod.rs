//! Backups: what lies in one, and Postgres's own programs that write and read it. Who may do it is Postgres's to say: holdctl asks no service.

mod manifest;
mod postgres;

pub(crate) use manifest::{FILE as MANIFEST, Kept, Manifest, digest};
pub(crate) use postgres::{Address, Programs, Session};

use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;

/// A service that has a database, by its name in commands and in manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// A table that only this service's database has.
    pub(crate) mark: &'static str,
    /// What is said to a restored record, with `$1` for the backup's time: it is another one than that which was lost, so whoever follows its changes must not take a
    /// place in the one for a place in the other. The last answer is its new name, if it has one.
    pub(crate) begin_anew: &'static [&'static str],
}

const CATALOG: Service = Service {
    name: "catalog",
    mark: "change_log",
    begin_anew: &[
        // Above every version that a receiver may have seen.
        "UPDATE sku SET version = version + 1000000000, update_time = now()",
        "TRUNCATE change",
        "UPDATE relay SET cursor = NULL",
        "UPDATE change_log SET log_id = gen_random_uuid(), dropped_xid = '0' RETURNING log_id",
    ],
};
const RESERVATION: Service =
    Service { name: "reservation", mark: "allocation", begin_anew: &["SELECT begin_incarnation($1)"] };
const VENDOR_SYNC: Service = Service { name: "vendor-sync", mark: "run_batch", begin_anew: &[] };

/// Which databases, and by which programs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Databases, each as its owning role")]
pub(crate) struct Databases {
    /// Catalog's database: postgres://owner:password@host:port/database.
    #[arg(long, env = "HOLDFAST_CATALOG_DATABASE", value_name = "URL", hide_env_values = true)]
    catalog_database: Option<String>,
    /// Reservation's database.
    #[arg(long, env = "HOLDFAST_RESERVATION_DATABASE", value_name = "URL", hide_env_values = true)]
    reservation_database: Option<String>,
    /// Vendor-sync's database.
    #[arg(long, env = "HOLDFAST_VENDOR_SYNC_DATABASE", value_name = "URL", hide_env_values = true)]
    vendor_sync_database: Option<String>,
    /// The folder with psql, pg_dump and pg_restore, of the server's version or newer. Default: as the PATH says.
    #[arg(long, env = "HOLDFAST_POSTGRES_BIN", value_name = "FOLDER")]
    postgres_bin: Option<PathBuf>,
}

impl Databases {
    /// The databases that were named, at least one.
    ///
    /// # Errors
    /// [`Failure::Usage`]: none was, or an address cannot be read.
    pub(crate) fn named(&self) -> Result<Vec<(Service, Address)>, Failure> {
        let given = [
            (CATALOG, &self.catalog_database),
            (RESERVATION, &self.reservation_database),
            (VENDOR_SYNC, &self.vendor_sync_database),
        ];
        let given = given.into_iter().filter_map(|(service, url)| Some((service, url.as_deref()?)));
        let named: Vec<_> = given
            .map(|(service, url)| Ok((service, Address::parse(service.name, url)?)))
            .collect::<Result<_, Failure>>()?;
        if named.is_empty() {
            let words =
                "name at least one database: --catalog-database, --reservation-database, --vendor-sync-database";
            return Err(Failure::Usage(words.to_owned()));
        }
        Ok(named)
    }

    pub(crate) fn programs(&self) -> Programs {
        Programs::in_folder(self.postgres_bin.clone())
    }
}

/// How many rows each table has, as the session's transaction sees them.
///
/// # Errors
/// [`Failure::Refused`].
pub(crate) async fn count_rows(session: &mut Session) -> Result<std::collections::BTreeMap<String, u64>, Failure> {
    let counts = session
        .ask(
            "SELECT string_agg(format('SELECT %L, count(*) FROM %I', c.relname, c.relname), ' UNION ALL ' ORDER BY c.relname) \
             FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition",
        )
        .await?;
    let Some(query) = counts.into_iter().find(|query| !query.is_empty()) else { return Ok(Default::default()) };
    let rows = session.ask(&query).await?;
    let odd = |row: &str| Failure::Refused(format!("psql said what no count is: {row}"));
    rows.iter()
        .map(|row| {
            let (table, count) = row.rsplit_once('|').ok_or_else(|| odd(row))?;
            Ok((table.to_owned(), count.parse().map_err(|_| odd(row))?))
        })
        .collect()
}
