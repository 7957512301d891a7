//! Which databases and roles exist: per service a database, a role that owns and migrates it and a role that runs.
//!
//! Architecture invariant: the running role can neither create nor alter anything; what it may read and write, the
//! service's migrations grant by name.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor, Row};

use crate::error::Result;
use crate::postgres::{connect, store};

/// A service's database, and the stem of its roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceDatabase {
    /// The database, which is also the name of the running role: `holdfast_catalog`.
    pub name: &'static str,
}

/// One database for each service.
pub const DATABASES: [ServiceDatabase; 3] = [
    ServiceDatabase { name: "holdfast_catalog" },
    ServiceDatabase { name: "holdfast_reservation" },
    ServiceDatabase { name: "holdfast_vendor_sync" },
];

impl ServiceDatabase {
    /// The database of a service by its name in configuration: `catalog`, `reservation`, `vendor_sync`.
    pub fn of(service: &str) -> Option<Self> {
        let wanted = format!("holdfast_{}", service.replace('-', "_"));
        DATABASES.into_iter().find(|database| database.name == wanted)
    }

    /// The role that owns the database and runs migrations.
    pub fn owner(self) -> String {
        format!("{}_owner", self.name)
    }

    /// The role that the service runs with.
    pub fn running(self) -> &'static str {
        self.name
    }
}

/// Makes the roles if they are missing and sets their passwords and timeouts anew.
///
/// # Errors
///
/// [`crate::StackError::Store`]; roles before the failing one exist then, and trying again is harmless.
pub async fn make_roles(admin: &mut PgConnection, password: impl Fn(&str) -> String) -> Result<()> {
    for database in DATABASES {
        let owner = database.owner();
        // A migration may take long, but must not queue the whole shop behind a lock that it waits for.
        make_role(admin, &owner, &password(&owner), &[("lock_timeout", "10s"), ("statement_timeout", "0")]).await?;
        let running = database.running();
        let limits = [
            ("lock_timeout", "5s"),
            ("statement_timeout", "15s"),
            ("idle_in_transaction_session_timeout", "15s"),
            ("default_transaction_isolation", "read committed"),
        ];
        make_role(admin, running, &password(running), &limits).await?;
    }
    Ok(())
}

async fn make_role(admin: &mut PgConnection, role: &str, password: &str, settings: &[(&str, &str)]) -> Result<()> {
    let there = sqlx::query("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)").bind(role);
    let there: bool = there
        .fetch_one(&mut *admin)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(|error| store(format!("looking for the role {role}"), &error))?;
    let verb = if there { "ALTER" } else { "CREATE" };
    let mut script = format!("{verb} ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{password}';\n");
    for (key, value) in settings {
        script.push_str(&format!("ALTER ROLE {role} SET {key} = '{value}';\n"));
    }
    run(admin, &format!("making the role {role}"), script).await
}

/// Makes the database `name` with the roles of `service`, if it is missing. `template` is copied with all it holds.
///
/// # Errors
///
/// [`crate::StackError::Store`]; an empty database may exist then, and trying again is harmless.
pub async fn make_database(admin_url: &str, service: ServiceDatabase, name: &str, template: &str) -> Result<()> {
    let mut admin = connect(admin_url).await?;
    let there = sqlx::query("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)").bind(name);
    let there: bool = there
        .fetch_one(&mut admin)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(|error| store(format!("looking for the database {name}"), &error))?;
    let (owner, running) = (service.owner(), service.running());
    if !there {
        // An administrator who is no superuser may only give a database to a role that he is a member of.
        let member = format!(
            "DO $$ BEGIN IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN \
             EXECUTE format('GRANT {owner} TO %I', current_user); END IF; END $$"
        );
        run(&mut admin, "joining the owner", member).await?;
        let encoding = if template == "template0" { "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'" } else { "" };
        let create = format!("CREATE DATABASE {name} OWNER {owner} TEMPLATE {template} {encoding}");
        run(&mut admin, &format!("making the database {name}"), create).await?;
    }
    // A copy does not inherit who may connect.
    let grants = format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC;\nGRANT CONNECT ON DATABASE {name} TO {running};");
    run(&mut admin, &format!("granting {name}"), grants).await
}

/// Runs statements that are built from names of ours, never from input.
pub(crate) async fn run(connection: &mut PgConnection, doing: &str, script: String) -> Result<()> {
    connection.execute(AssertSqlSafe(script)).await.map(|_done| ()).map_err(|error| store(doing, &error))
}
