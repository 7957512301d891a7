//! Gets PostgreSQL and Redis where they are missing: from Debian's packages, and in no other way.

use crate::error::{Result, StackError};
use crate::programs::{POSTGRES_MAJOR, PostgresPrograms, REDIS_MAJOR, RedisProgram};
use crate::project::Project;

/// The servers that the stack runs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// PostgreSQL 15 or newer.
    pub postgres: PostgresPrograms,
    /// Redis 7 or newer.
    pub redis: RedisProgram,
}

/// Finds the servers.
///
/// # Errors
///
/// [`StackError::Unavailable`] with what to install.
pub async fn programs(project: &Project) -> Result<Programs> {
    let missing = |what: String| StackError::Unavailable { what, detail: "not found".into(), install: advice() };
    let postgres = PostgresPrograms::find(project).await?;
    let postgres = postgres.ok_or_else(|| missing(format!("PostgreSQL {POSTGRES_MAJOR}")))?;
    let redis = RedisProgram::find(project).await?.ok_or_else(|| missing(format!("Redis {REDIS_MAJOR}")))?;
    Ok(Programs { postgres, redis })
}

fn advice() -> String {
    "Install PostgreSQL 15 and Redis 7.".into()
}
