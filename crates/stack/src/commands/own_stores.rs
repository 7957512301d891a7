//! A Postgres and a Redis of a command's own: durable, as in a shop, with the roles and databases of its services.

use std::path::Path;

use crate::error::{Result, StackError};
use crate::install::{Wanted, programs};
use crate::ports::Port;
use crate::postgres::{Postgres, PostgresOptions, StopMode, connect};
use crate::project::Project;
use crate::redis::{Redis, RedisOptions};
use crate::roles::{make_database, make_roles};
use crate::secrets::random_secret;
use crate::services::Service;

/// Both of them. Dropping them kills them.
#[derive(Debug)]
pub(super) struct OwnStores {
    pub(super) postgres: Postgres,
    pub(super) redis: Redis,
    /// Of every role in Postgres.
    password: String,
}

impl OwnStores {
    /// Starts both below `folder`, and makes empty databases for these services.
    pub(super) async fn start(project: &Project, folder: &Path, services: &[Service]) -> Result<Self> {
        let found = programs(project, Wanted { postgres: true, redis: true }).await?;
        let (Some(postgres), Some(redis)) = (&found.postgres, &found.redis) else {
            return Err(StackError::Found("neither PostgreSQL nor Redis was asked for".to_owned()));
        };
        let password = random_secret();
        let options = PostgresOptions {
            data: folder.join("postgres"),
            log: folder.join("postgres.log"),
            password: password.clone(),
            port: Port::Free,
            durable: true,
        };
        let postgres = Postgres::start(postgres, options).await?;
        let options = RedisOptions {
            folder: folder.to_path_buf(),
            log: folder.join("redis.log"),
            admin_password: random_secret(),
            gate_password: random_secret(),
            port: Port::Free,
            extra: String::new(),
        };
        let redis = Redis::start(redis, options).await?;
        make_roles(&mut connect(&postgres.admin_url()).await?, |_role| password.clone()).await?;
        for service in services {
            let database = service.database();
            make_database(&postgres.admin_url(), database, database.name, "template0").await?;
        }
        Ok(Self { postgres, redis, password })
    }

    /// The address of a service's database, for this role.
    pub(super) fn url(&self, role: &str, service: Service) -> String {
        self.postgres.url(role, &self.password, service.database().name)
    }

    /// Ends both; what they hold lies in the folder until that is removed.
    pub(super) async fn stop(&mut self) -> Result<()> {
        self.redis.stop().await?;
        self.postgres.stop(StopMode::Immediate).await
    }
}
