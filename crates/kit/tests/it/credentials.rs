//! Who connects to Postgres: credentials in parts, of any characters, and files that change while the service runs.

use std::path::PathBuf;
use std::time::Duration;

use holdfast_kit::PostgresConfig;
use holdfast_kit::pg::{ConnectError, MigrateError, connect, migrate};
use holdfast_testkit::{Database, eventually};
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;

use crate::pg::{PROGRAM, empty, migrations};

/// A role of the test's own, which is dropped at its end.
struct OwnRole {
    name: String,
    admin: PgPool,
    database: Database,
    folder: TempDir,
}

/// Every sign that means something in a URL, in SQL or in a shell, and some that mean nothing.
const NASTY: &str = r#"p@ss:/?#[]%20&= '"\$;ü"#;

impl OwnRole {
    async fn make(password: &str) -> (Self, PostgresConfig) {
        let (database, mut config) = empty().await;
        let admin = database.admin_pool().await;
        let name = format!("own_{}", database.name());
        let role = Self { name, admin, database, folder: tempfile::tempdir().unwrap() };
        role.run(&format!("CREATE ROLE {} LOGIN", role.name)).await;
        role.set_password(password).await;
        role.run(&format!("GRANT CONNECT ON DATABASE {} TO {}", role.database.name(), role.name)).await;
        let url = role.database.url();
        let (_who, server) = url.rsplit_once('@').unwrap();
        config.url = format!("postgres://{server}").into();
        config.user.clone_from(&role.name);
        (role, config)
    }

    async fn run(&self, statement: &str) {
        sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&self.admin).await.unwrap();
    }

    async fn set_password(&self, password: &str) {
        let quoted = password.replace('\'', "''");
        self.run(&format!("ALTER ROLE {} PASSWORD '{quoted}'", self.name)).await;
    }

    async fn cut_all(&self) {
        self.run(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{}'", self.name))
            .await;
    }

    fn file(&self, text: &str) -> PathBuf {
        let file = self.folder.path().join("secret");
        std::fs::write(&file, text).unwrap();
        file
    }

    async fn drop(self) {
        self.cut_all().await;
        self.run(&format!("DROP OWNED BY {0}; ", self.name)).await;
        self.run(&format!("DROP ROLE {}", self.name)).await;
    }
}

async fn who(pool: &PgPool) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT current_user::text").fetch_one(pool).await
}

#[tokio::test]
async fn a_password_of_any_characters_is_laid_over_the_url() {
    let (role, mut config) = OwnRole::make(NASTY).await;
    config.password = NASTY.into();
    let pool = connect(&config, PROGRAM).await.unwrap();
    assert_eq!(who(&pool).await.unwrap(), role.name);
    pool.close().await;
    config.password = "sesame".into();
    let refused = connect(&config, PROGRAM).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Refused { .. }), "{refused}");
    role.drop().await;
}

#[tokio::test]
async fn what_is_left_empty_is_as_in_the_url() {
    let (database, mut config) = empty().await;
    (config.user, config.password) = (String::new(), "".into());
    let pool = connect(&config, PROGRAM).await.unwrap();
    assert_eq!(who(&pool).await.unwrap(), "holdfast_catalog");
    // Only the password stands elsewhere.
    config.url = database.url().replace(&format!(":{}@", database.password()), "@").into();
    config.password = database.password().into();
    let pool = connect(&config, PROGRAM).await.unwrap();
    assert_eq!(who(&pool).await.unwrap(), "holdfast_catalog");
}

#[tokio::test]
async fn the_owner_migrates_with_a_file_that_nobody_else_needs() {
    let (database, mut config) = empty().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("owner");
    config.migrate_url = "".into();
    config.migrate_user = "holdfast_catalog_owner".into();
    config.migrate_password_file = file.clone();
    connect(&config, PROGRAM).await.unwrap();
    let missing = migrate(&config, &migrations(1), PROGRAM).await.unwrap_err();
    assert!(matches!(missing, MigrateError::Connect(ConnectError::File { key: "migrate_password_file", .. })));
    assert!(missing.to_string().contains(file.to_str().unwrap()), "{missing}");
    std::fs::write(&file, format!("{}\r\n", database.password())).unwrap();
    assert_eq!(migrate(&config, &migrations(1), PROGRAM).await.unwrap().applied, 1);
    let query = "SELECT tableowner::text FROM pg_tables WHERE tablename = 'thing'";
    let owner: String = sqlx::query_scalar(query).fetch_one(&database.admin_pool().await).await.unwrap();
    assert_eq!(owner, "holdfast_catalog_owner");
}

#[tokio::test]
async fn a_service_goes_on_when_its_password_is_changed_under_it() {
    let (role, mut config) = OwnRole::make("first").await;
    config.password = "first".into();
    config.password_file = role.file("first\n");
    let pool = connect(&config, PROGRAM).await.unwrap();
    for password in ["second", NASTY] {
        assert_eq!(who(&pool).await.unwrap(), role.name);
        role.set_password(password).await;
        role.file(password);
        // Connections that are open live on; these are cut, so that all must be made anew.
        role.cut_all().await;
        let goes_on = || async { who(&pool).await.ok() };
        eventually("the new password", Duration::from_secs(20), goes_on).await;
    }
    pool.close().await;
    role.drop().await;
}

#[tokio::test]
async fn a_url_in_a_file_is_followed_and_half_a_file_is_not() {
    let (role, mut config) = OwnRole::make("first").await;
    let url = role.database.url();
    let (_who, server) = url.rsplit_once('@').unwrap();
    let url = |password: &str| format!("postgres://{}:{password}@{server}", role.name);
    config.url = url("first").into();
    config.user = String::new();
    config.url_file = role.file(&url("first"));
    let pool = connect(&config, PROGRAM).await.unwrap();
    // Whoever writes it truncates it first; and for a moment it may be gone.
    role.file("");
    role.cut_all().await;
    eventually("the last one holds", Duration::from_secs(20), || async { who(&pool).await.ok() }).await;
    role.set_password("second").await;
    std::fs::remove_file(&config.url_file).unwrap();
    role.cut_all().await;
    let refused = || async { who(&pool).await.err().filter(|error| error.as_database_error().is_some()) };
    let refused = eventually("the old one is refused", Duration::from_secs(20), refused).await;
    assert_eq!(holdfast_kit::pg::classify(&refused), holdfast_kit::pg::Failure::Unavailable, "it passes: {refused}");
    role.file(&url("second"));
    eventually("the new URL", Duration::from_secs(20), || async { who(&pool).await.ok() }).await;
    pool.close().await;
    role.drop().await;
}
