//! A database per test: a copy of a template that was migrated once per run.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use holdfast_stack::postgres::{connect, connect_options};
use holdfast_stack::roles::{ServiceDatabase, make_database};
use holdfast_stack::secrets::random_secret;
use holdfast_stack::teststores::TestStoresInfo;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::stores::stores;

/// How long a test waits for its database to be dropped.
const DROP_WAIT_MAX: std::time::Duration = std::time::Duration::from_millis(500);

/// A service's database for one test; dropped with the value.
#[derive(Debug)]
pub struct Database {
    name: String,
    service: ServiceDatabase,
    info: TestStoresInfo,
}

/// A fresh, migrated database of `service` (`catalog`, `reservation`, `vendor_sync`) on the run's Postgres.
///
/// # Panics
///
/// When no test stores run, the service is unknown or a migration fails.
pub async fn database(service: &str, migrator: &Migrator) -> Database {
    database_on(&stores(), service, migrator).await
}

/// The same on another Postgres, for example a test's own.
///
/// # Panics
///
/// As [`database`].
pub async fn database_on(info: &TestStoresInfo, service: &str, migrator: &Migrator) -> Database {
    let service = ServiceDatabase::of(service).unwrap_or_else(|| panic!("no service is called {service}"));
    let template = template(info, service, migrator).await;
    let name = format!("test_{}", &random_secret()[..16]);
    make_database(&info.admin_url, service, &name, &template).await.unwrap_or_else(|error| panic!("{error}"));
    Database { name, service, info: info.clone() }
}

/// A database of `service` without anything in it: for tests that migrate it themselves.
///
/// # Panics
///
/// When the service is unknown or the database cannot be made.
pub async fn empty_database_on(info: &TestStoresInfo, service: &str) -> Database {
    let service = ServiceDatabase::of(service).unwrap_or_else(|| panic!("no service is called {service}"));
    let name = format!("test_{}", &random_secret()[..16]);
    make_database(&info.admin_url, service, &name, "template0").await.unwrap_or_else(|error| panic!("{error}"));
    Database { name, service, info: info.clone() }
}

impl Database {
    /// Its name in Postgres.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address for the role that the service runs with.
    pub fn url(&self) -> String {
        self.info.url(self.service.running(), &self.name)
    }

    /// The address for the role that owns the database.
    pub fn owner_url(&self) -> String {
        self.info.url(&self.service.owner(), &self.name)
    }

    /// The address for the superuser: for tests that look at, or break, what the service may not.
    pub fn admin_url(&self) -> String {
        self.info.admin_url_of(&self.name)
    }

    /// The password of both roles.
    pub fn password(&self) -> &str {
        &self.info.password
    }

    /// A pool of at most `connections` with the running role.
    ///
    /// # Panics
    ///
    /// When Postgres cannot be reached.
    pub async fn pool(&self, connections: u32) -> PgPool {
        pool(&self.url(), connections).await
    }

    /// A pool with the superuser, for audits.
    ///
    /// # Panics
    ///
    /// When Postgres cannot be reached.
    pub async fn admin_pool(&self) -> PgPool {
        pool(&self.admin_url(), 2).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (admin_url, name) = (self.info.admin_url.clone(), self.name.clone());
        // A value cannot wait when it is dropped, so a thread of its own does, and not for long: a connection that this very thread's runtime was just opening
        // keeps Postgres from dropping the database until it ends, which it does with the test's process. Postgres then goes on dropping without us.
        let (sent, done) = std::sync::mpsc::channel();
        let _goes_on_without_us = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                if let Ok(mut admin) = connect(&admin_url).await {
                    let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                    let _gone_with_the_run = admin.execute(AssertSqlSafe(drop)).await;
                }
            });
            let _nobody_waits_any_more = sent.send(());
            std::io::Result::Ok(())
        });
        let _gone_with_the_run = done.recv_timeout(DROP_WAIT_MAX);
    }
}

async fn pool(url: &str, connections: u32) -> PgPool {
    let options = connect_options(url).unwrap_or_else(|error| panic!("{error}"));
    let pool = PgPoolOptions::new().max_connections(connections).connect_with(options).await;
    pool.unwrap_or_else(|error| panic!("connecting to the test's database: {error}"))
}

/// The migrated template, made by whichever test of the run comes first; the others wait for it.
async fn template(info: &TestStoresInfo, service: ServiceDatabase, migrator: &Migrator) -> String {
    let mut hasher = DefaultHasher::new();
    migrator.iter().for_each(|migration| (migration.version, &migration.checksum).hash(&mut hasher));
    let hash = hasher.finish();
    let name = format!("template_{}_{hash:016x}", service.name);
    let mut admin = connect(&info.admin_url).await.unwrap_or_else(|error| panic!("{error}"));
    let lock = sqlx::query("SELECT pg_advisory_lock($1)").bind(hash.cast_signed());
    lock.execute(&mut admin).await.expect("the template's lock");
    if !is_template(&mut admin, &name).await {
        let url = info.url(&service.owner(), &name);
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        admin.execute(AssertSqlSafe(drop)).await.expect("removing half a template");
        make_database(&info.admin_url, service, &name, "template0").await.unwrap_or_else(|error| panic!("{error}"));
        let mut owner = connect(&url).await.unwrap_or_else(|error| panic!("{error}"));
        migrator
            .run_direct(None, &mut owner, false)
            .await
            .unwrap_or_else(|error| panic!("migrating {}: {error}", service.name));
        // As the services' `migrate` does: the running role checks the schema's version when it starts.
        let grant = format!("GRANT SELECT ON _sqlx_migrations TO {}", service.running());
        owner.execute(AssertSqlSafe(grant)).await.expect("the running role may read the list of migrations");
        owner.close().await.expect("the owner's connection closes");
        let mark = format!("ALTER DATABASE {name} IS_TEMPLATE true ALLOW_CONNECTIONS false");
        admin.execute(AssertSqlSafe(mark)).await.expect("marking the template");
    }
    admin.close().await.expect("the lock goes with the connection");
    name
}

async fn is_template(admin: &mut PgConnection, name: &str) -> bool {
    let query = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datistemplate)");
    query.bind(name).fetch_one(admin).await.expect("looking for the template")
}
