//! `./dev chart --run`: an example of the chart as running pods, from an empty database to `helm test`, a rollout and the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::{Result, StackError};
use crate::kubernetes::helm::{NAMESPACE, lay_over, listening};
use crate::kubernetes::objects::Texts;
use crate::kubernetes::{Cluster, Outcome, Release, Rendered};
use crate::ports::Port;
use crate::programs::RedisProgram;
use crate::project::Project;
use crate::redis::{Redis, RedisOptions};
use crate::roles::{DATABASES, make_database};
use crate::say::say;
use crate::secrets::random_secret;
use crate::teststores::TestStores;

/// Longer than a busy machine takes for any step.
const PATIENCE: Duration = Duration::from_secs(180);
/// The one that needs nothing but the stores.
const EXAMPLE: &str = "smallest";

/// Runs it with the programs in `programs`: those of the image, or what cargo has built.
///
/// # Errors
///
/// Whatever keeps a step from being reached, and [`StackError::Found`] when a pod did what it should not.
pub(crate) async fn run(project: &Project, programs: &Path) -> Result<()> {
    let stores = TestStores::start(project).await?;
    let folder = project.run().join("chart");
    let _of_an_earlier_run = std::fs::remove_dir_all(&folder);
    project.make(&folder)?;
    let program = RedisProgram::find(project).await?;
    let program = program.ok_or_else(|| StackError::Usage("no redis-server is here".into()))?;
    let options = RedisOptions {
        folder: folder.join("redis"),
        log: folder.join("redis.log"),
        admin_password: random_secret(),
        gate_password: random_secret(),
        port: Port::Free,
        extra: String::new(),
    };
    let redis = Redis::start(&program, options).await?;
    let mut urls = BTreeMap::new();
    for service in DATABASES {
        let name = format!("chart_{}", &random_secret()[..12]);
        make_database(&stores.info.admin_url, service, &name, "template0").await?;
        let short = service.name.trim_start_matches("holdfast_").replace('_', "-");
        urls.insert(format!("{short}-postgres-url"), stores.info.url(service.running(), &name));
        urls.insert(format!("{short}-postgres-migrate-url"), stores.info.url(&service.owner(), &name));
    }
    urls.insert("redis-url".to_owned(), redis.gate_url());
    let cluster = Cluster::start(&folder, NAMESPACE)?;
    let mut trial = Trial { project, folder, programs: programs.into(), urls, cluster, release: Release::default() };
    let ended = trial.through().await;
    if ended.is_err() {
        say(format!("The pods' logs are in {}", trial.folder.display()));
    }
    drop(trial);
    stores.stop().await?;
    ended
}

struct Trial<'a> {
    project: &'a Project,
    folder: PathBuf,
    programs: PathBuf,
    /// Keys of the Secret that are addresses.
    urls: BTreeMap<String, String>,
    cluster: Cluster,
    release: Release,
}

impl Trial<'_> {
    async fn through(&mut self) -> Result<()> {
        let began = Instant::now();
        let step = |what: &str| say(format!("{:>6.1} s  {what}", began.elapsed().as_secs_f64()));
        let first = self.upgrade(&json!({})).await?;
        let jobs = first.jobs();
        let migrated = |cluster: &Cluster| jobs.iter().all(|job| cluster.job(job) == Some(Outcome::Complete));
        self.cluster.until("the migrations", PATIENCE, migrated).await?;
        step("migrated");
        self.rolled_out().await?;
        step("rolled out");
        self.release.test(&self.cluster, PATIENCE).await?;
        step("helm test: passed");
        let other = json!({"defaults": {"config": {"telemetry": {"log_filter": "info,holdfast_kit=debug"}}}});
        self.upgrade(&other).await?;
        self.rolled_out().await?;
        step("another value is rolled out");
        self.release.test(&self.cluster, PATIENCE).await?;
        step("helm test: passed");
        self.release.uninstall(&self.cluster, PATIENCE).await?;
        step("uninstalled");
        let faults = self.cluster.faults();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(StackError::Found(format!("pods did what they should not: {faults:?}")))
        }
    }

    async fn upgrade(&mut self, more: &Value) -> Result<Rendered> {
        let mut values = listening();
        lay_over(&mut values, more);
        let chart = self.project.root().join("k8s/holdfast");
        let rendered = Rendered::from(self.project, &self.folder, &chart, EXAMPLE, &values).await?;
        rendered.images().iter().for_each(|image| self.cluster.image(image, &self.programs));
        let mut secrets = BTreeMap::<String, Texts>::new();
        for (name, key) in rendered.secrets() {
            let text = self.urls.get(&key).cloned().unwrap_or_else(|| format!("a-long-token-of-{name}-{key}"));
            secrets.entry(name).or_default().insert(key, text);
        }
        secrets.into_iter().for_each(|(name, keys)| self.cluster.secret(&name, keys));
        self.release.upgrade(&self.cluster, &rendered).await?;
        Ok(rendered)
    }

    async fn rolled_out(&self) -> Result<()> {
        let complete = |cluster: &Cluster| {
            cluster.deployments().iter().all(|name| cluster.rollout(name).is_some_and(|rollout| rollout.complete()))
        };
        self.cluster.until("the rollout", PATIENCE, complete).await
    }
}
