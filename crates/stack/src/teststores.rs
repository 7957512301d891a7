//! One Postgres for all tests of a run, with the roles but no databases, and a prepared data folder for tests that need
//! a Postgres of their own. Without durability: a crash of the machine may eat it.
//!
//! Tests hear of it by environment variables, or by a file in the state folder while `./dev stores` runs.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Result, StackError};
use crate::install::{Wanted, programs};
use crate::ports::Port;
use crate::postgres::{self, Postgres, PostgresOptions, StopMode, connect};
use crate::process::{Process, Spec};
use crate::project::{Project, write_private};
use crate::roles::make_roles;
use crate::secrets::random_secret;

/// The superuser's address.
pub const ADMIN_URL: &str = "HOLDFAST_TEST_POSTGRES_ADMIN_URL";
/// The password of all of the services' roles, and of the superuser of a copy of the template.
pub const PASSWORD: &str = "HOLDFAST_TEST_POSTGRES_PASSWORD";
/// A stopped data folder with the roles in it, to be copied.
pub const TEMPLATE: &str = "HOLDFAST_TEST_POSTGRES_TEMPLATE";

/// What a test must know to reach the stores of its run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TestStoresInfo {
    /// The superuser's address.
    pub admin_url: String,
    /// The password of the roles, and of the superuser of a copy of the template.
    pub password: String,
    /// A stopped data folder with the roles in it, to be copied.
    pub template: PathBuf,
    /// The process that runs the stores.
    pub pid: u32,
}

impl TestStoresInfo {
    /// What the environment, or else the file of a running `./dev stores`, tells.
    ///
    /// # Errors
    ///
    /// [`StackError::Usage`] when neither does.
    pub fn find(project: &Project) -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        if let (Some(admin_url), Some(password), Some(template)) =
            (variable(ADMIN_URL), variable(PASSWORD), variable(TEMPLATE))
        {
            return Ok(Self { admin_url, password, template: template.into(), pid: 0 });
        }
        let file: Option<Self> =
            std::fs::read_to_string(file(project)).ok().and_then(|text| serde_json::from_str(&text).ok());
        file.filter(|info| runs(info.pid)).ok_or_else(|| {
            StackError::Usage(
                "no test stores: run the tests with ./dev test [-p package …], or leave ./dev stores running".into(),
            )
        })
    }

    /// The variables by which [`TestStoresInfo::find`] finds it again.
    pub fn variables(&self) -> [(&'static str, String); 3] {
        [
            (ADMIN_URL, self.admin_url.clone()),
            (PASSWORD, self.password.clone()),
            (TEMPLATE, self.template.display().to_string()),
        ]
    }

    /// The address of a database for one of the services' roles.
    pub fn url(&self, role: &str, database: &str) -> String {
        postgres::with_role(&self.admin_url, role, &self.password, database)
    }

    /// The address of a database for the superuser.
    pub fn admin_url_of(&self, database: &str) -> String {
        postgres::with_database(&self.admin_url, database)
    }
}

/// The stores of a run. Dropping them kills them and removes their data.
#[derive(Debug)]
pub struct TestStores {
    /// How tests reach them.
    pub info: TestStoresInfo,
    postgres: Option<Postgres>,
    folder: PathBuf,
    published: Option<PathBuf>,
}

impl TestStores {
    /// Starts them; `HOLDFAST_POSTGRES_ADMIN_URL` names a Postgres to use instead of a private one.
    ///
    /// # Errors
    ///
    /// As [`programs`], [`Postgres::start`] and [`make_roles`]; nothing runs then.
    pub async fn start(project: &Project) -> Result<Self> {
        // Tests start Redis servers of their own, so that one must be there too.
        let found = programs(project, Wanted { postgres: true, redis: true }).await?;
        let programs = &found.postgres.expect("it was wanted, and found");
        let all = project.state().join("test");
        project.make(&all)?;
        remove_abandoned(&all);
        let folder = all.join(std::process::id().to_string());
        project.make(&folder)?;
        let password = random_secret();
        let options = PostgresOptions {
            data: folder.join("template"),
            log: folder.join("postgres.log"),
            password: password.clone(),
            port: Port::Free,
            durable: false,
        };
        let template = options.data.clone();
        let mut maker = Postgres::start(programs, options.clone()).await?;
        make_roles(&mut connect(&maker.admin_url()).await?, |_role| password.clone()).await?;
        maker.stop(StopMode::Fast).await?;
        let (admin_url, postgres) = if let Ok(given) = std::env::var("HOLDFAST_POSTGRES_ADMIN_URL") {
            make_roles(&mut connect(&given).await?, |_role| password.clone()).await?;
            (given, None)
        } else {
            let data = folder.join("data");
            copy_data(&template, &data).await?;
            let postgres = Postgres::start(programs, PostgresOptions { data, ..options }).await?;
            (postgres.admin_url(), Some(postgres))
        };
        let info = TestStoresInfo { admin_url, password, template, pid: std::process::id() };
        Ok(Self { info, postgres, folder, published: None })
    }

    /// Lets every test of this project find them without environment variables, until they are dropped.
    ///
    /// # Errors
    ///
    /// [`StackError::NotWritable`].
    pub fn publish(&mut self, project: &Project) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.info);
        let text = text.map_err(|error| StackError::io("writing down the test stores", error.into()))?;
        write_private(&file(project), &text)?;
        self.published = Some(file(project));
        Ok(())
    }

    /// The private Postgres, if that is what runs.
    pub fn postgres(&mut self) -> Option<&mut Postgres> {
        self.postgres.as_mut()
    }

    /// Stops them and removes their data.
    ///
    /// # Errors
    ///
    /// [`StackError::Io`] when the system cannot tell whether the server ended.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(postgres) = &mut self.postgres {
            postgres.stop(StopMode::Immediate).await?;
        }
        Ok(())
    }
}

impl Drop for TestStores {
    fn drop(&mut self) {
        self.postgres = None;
        if let Some(file) = &self.published {
            let _gone_already = std::fs::remove_file(file);
        }
        // What cannot be removed now, because a killed server still writes, the next run removes.
        let _later = std::fs::remove_dir_all(&self.folder);
    }
}

/// Copies a stopped data folder.
///
/// # Errors
///
/// [`StackError::Command`] with what `cp` said; part of it may be there then.
pub async fn copy_data(from: &Path, to: &Path) -> Result<()> {
    let copy = Spec::new("copying a data folder", "cp").args(["-a", "--reflink=auto", "--"]).arg(from).arg(to);
    Process::output(&copy).await.map(|_output| ())
}

fn file(project: &Project) -> PathBuf {
    project.state().join("test/stores.json")
}

fn runs(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Removes what runs that were killed have left behind.
fn remove_abandoned(all: &Path) {
    let Ok(entries) = std::fs::read_dir(all) else { return };
    for entry in entries.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if pid.is_some_and(|pid| !runs(pid)) {
            let _another_run_did = std::fs::remove_dir_all(entry.path());
        }
    }
}
