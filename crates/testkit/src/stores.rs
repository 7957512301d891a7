//! Stores for tests: the run's shared Postgres, and servers of a test's own for tests that stop, wipe or freeze them.

use std::io::Write as _;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use holdfast_stack::ports::Port;
use holdfast_stack::postgres::{Postgres, PostgresOptions};
use holdfast_stack::programs::{PostgresPrograms, RedisProgram};
use holdfast_stack::project::Project;
use holdfast_stack::redis::{Redis, RedisOptions};
use holdfast_stack::redis_cluster::{ClusterTls, RedisCluster, RedisClusterOptions};
use holdfast_stack::secrets::random_secret;
use holdfast_stack::teststores::{TestStoresInfo, copy_data};

/// How to reach the run's shared Postgres.
///
/// # Panics
///
/// When no stores run; the message says how to start them.
pub fn stores() -> TestStoresInfo {
    TestStoresInfo::find(&Project::locate()).unwrap_or_else(|error| panic!("{error}"))
}

/// A Redis of the test's own, with the users of [`holdfast_stack::redis`]. It is killed when it is dropped.
#[derive(Debug)]
pub struct PrivateRedis {
    redis: Redis,
    folder: Folder,
}

/// A Redis Cluster of the test's own, with the same users. It is killed when it is dropped.
#[derive(Debug)]
pub struct PrivateRedisCluster {
    cluster: RedisCluster,
    _folder: Folder,
}

/// A Postgres of the test's own, with the services' roles and no databases. It is killed when it is dropped.
#[derive(Debug)]
pub struct PrivatePostgres {
    postgres: Postgres,
    info: TestStoresInfo,
    folder: Folder,
}

/// Starts a Redis for this test alone; about 20 ms.
///
/// # Panics
///
/// When there is no Redis to run, or it does not start.
pub async fn redis() -> PrivateRedis {
    redis_with("").await
}

/// As [`redis()`], with further lines of its configuration.
///
/// # Panics
///
/// As [`redis()`].
pub async fn redis_with(extra: &str) -> PrivateRedis {
    let folder = Folder::make("redis");
    let program = redis_program().await;
    let options = RedisOptions {
        folder: folder.path.clone(),
        log: folder.path.join("redis.log"),
        admin_password: random_secret(),
        gate_password: random_secret(),
        port: Port::Free,
        extra: extra.to_owned(),
    };
    let redis = Redis::start(&program, options).await.unwrap_or_else(|error| panic!("{error}"));
    PrivateRedis { redis, folder }
}

/// Starts a Redis Cluster for this test alone, with so many masters and replicas of each; a second or two.
///
/// # Panics
///
/// When there is no Redis to run, or it does not start.
pub async fn redis_cluster(masters: usize, replicas_each: usize) -> PrivateRedisCluster {
    redis_cluster_with(masters, replicas_each, None).await
}

/// The same with nodes that speak TLS, if it is said what they show.
///
/// # Panics
///
/// As [`redis_cluster`].
pub async fn redis_cluster_with(masters: usize, replicas_each: usize, tls: Option<ClusterTls>) -> PrivateRedisCluster {
    let folder = Folder::make("redis-cluster");
    let options = RedisClusterOptions {
        folder: folder.path.clone(),
        admin_password: random_secret(),
        gate_password: random_secret(),
        masters,
        replicas_each,
        tls,
    };
    let cluster = RedisCluster::start(&redis_program().await, &options).await;
    PrivateRedisCluster { cluster: cluster.unwrap_or_else(|error| panic!("{error}")), _folder: folder }
}

async fn redis_program() -> RedisProgram {
    let program = RedisProgram::find(&Project::locate()).await.unwrap_or_else(|error| panic!("{error}"));
    program.expect("no redis-server found: ./dev test gets one")
}

/// Starts a Postgres for this test alone, for tests that stop or kill it. `durable` is for tests in which what was
/// committed must survive a kill of the machine; a kill of the process loses nothing without it.
///
/// # Panics
///
/// When no test stores run, or it does not start.
pub async fn private_postgres(durable: bool) -> PrivatePostgres {
    private_postgres_on(durable, |_data| {}).await
}

/// The same with TLS on, by this certificate and its key, both in PEM. Its own addresses still say `sslmode=disable`, which it takes too.
///
/// # Panics
///
/// As [`private_postgres`].
pub async fn private_postgres_with_tls(certificate: &str, key: &str) -> PrivatePostgres {
    private_postgres_on(false, |data| {
        let write = |name: &str, text: &str| {
            let file = data.join(name);
            let mut options = std::fs::OpenOptions::new();
            // It refuses a key that others may read.
            let file = options.create(true).append(true).mode(0o600).open(file);
            file.and_then(|mut file| file.write_all(text.as_bytes())).unwrap_or_else(|error| panic!("{name}: {error}"));
        };
        write("server.crt", certificate);
        write("server.key", key);
        write("postgresql.conf", "\nssl = on\n");
    })
    .await
}

async fn private_postgres_on(durable: bool, prepare: impl FnOnce(&Path)) -> PrivatePostgres {
    let folder = Folder::make("postgres");
    let shared = stores();
    let project = Project::locate();
    let programs = PostgresPrograms::find(&project).await.unwrap_or_else(|error| panic!("{error}"));
    let programs = programs.expect("no PostgreSQL found: ./dev test gets one");
    let data = folder.path.join("data");
    copy_data(&shared.template, &data).await.unwrap_or_else(|error| panic!("{error}"));
    prepare(&data);
    let options = PostgresOptions {
        data,
        log: folder.path.join("postgres.log"),
        password: shared.password.clone(),
        port: Port::Free,
        durable,
    };
    let postgres = Postgres::start(&programs, options).await.unwrap_or_else(|error| panic!("{error}"));
    let info = TestStoresInfo { admin_url: postgres.admin_url(), ..shared };
    PrivatePostgres { postgres, info, folder }
}

impl PrivatePostgres {
    /// How to reach it, in the form that [`crate::database::database_on`] takes.
    pub fn info(&self) -> &TestStoresInfo {
        &self.info
    }

    /// Its log.
    pub fn log(&self) -> PathBuf {
        self.folder.path.join("postgres.log")
    }
}

impl Deref for PrivatePostgres {
    type Target = Postgres;
    fn deref(&self) -> &Postgres {
        &self.postgres
    }
}

impl DerefMut for PrivatePostgres {
    fn deref_mut(&mut self) -> &mut Postgres {
        &mut self.postgres
    }
}

impl PrivateRedis {
    /// Its log.
    pub fn log(&self) -> PathBuf {
        self.folder.path.join("redis.log")
    }
}

impl Deref for PrivateRedisCluster {
    type Target = RedisCluster;
    fn deref(&self) -> &RedisCluster {
        &self.cluster
    }
}

impl DerefMut for PrivateRedisCluster {
    fn deref_mut(&mut self) -> &mut RedisCluster {
        &mut self.cluster
    }
}

impl Deref for PrivateRedis {
    type Target = Redis;
    fn deref(&self) -> &Redis {
        &self.redis
    }
}

impl DerefMut for PrivateRedis {
    fn deref_mut(&mut self) -> &mut Redis {
        &mut self.redis
    }
}

/// A folder for one store of one test, removed when the test ends; or, when the test was killed, with the run's stores.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn make(kind: &str) -> Self {
        let run = TestStoresInfo::find(&Project::locate()).ok();
        let run = run.as_ref().and_then(|info| info.template.parent()).filter(|folder| folder.is_dir());
        let temporary = std::env::temp_dir().join("holdfast-tests");
        let path = run.unwrap_or(&temporary).join(format!("{kind}-{}", &random_secret()[..12]));
        std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("making {}: {error}", path.display()));
        Self { path }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A killed server may still write for a moment; what is left goes with the run's folder.
        let _left = std::fs::remove_dir_all(&self.path);
    }
}
