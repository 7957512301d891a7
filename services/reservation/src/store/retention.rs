//! How long the record is kept: what the janitor asks and tells. The functions it calls are the owner's; the running role may remove nothing itself.

use std::time::Duration;

use holdfast_stock::UnixMicros;
use serde::Deserialize;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Store, StoreError};

pub(super) const CLAIM_JANITOR: &str = "UPDATE janitor SET holder = $1, until = clock_timestamp() + $2 * interval '1 microsecond' \
    WHERE until < clock_timestamp() OR holder = $1";
pub(super) const MAKE_PARTITIONS: &str = "SELECT make_partitions($1 * interval '1 microsecond')";
pub(super) const DROP_PARTITION: &str = "SELECT drop_partition($1, clock_timestamp() - $2 * interval '1 microsecond')";
pub(super) const PURGE_OPERATIONS: &str =
    "SELECT purge_operations(clock_timestamp() - $1 * interval '1 microsecond', $2)";
pub(super) const PURGE_RESERVATIONS: &str =
    "SELECT purge_reservations(clock_timestamp() - $1 * interval '1 microsecond', $2)";
pub(super) const PARTITION_STATE: &str = "SELECT partition_state($1, $2)";
pub(super) const KEPT_FROM: &str = "SELECT micros(kept_from) FROM retention WHERE subject = $1";
pub(super) const INCARNATION: &str = "SELECT id FROM record_incarnation";

/// How long a partition may take to be summed up and dropped. Nobody waits for it meanwhile.
const DROP_TIMEOUT: &str = "SET LOCAL statement_timeout = '30min'";
const DROP_MAX: Duration = Duration::from_secs(30 * 60);
/// Rows counted in a default partition.
const STRAYED_MAX: i32 = 10_000;

/// What is partitioned by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The ledger.
    Ledger,
    /// Keys and answers of requests.
    Operation,
}

impl Subject {
    /// The table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Operation => "operation",
        }
    }
}

/// How a partitioned table stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionState {
    /// How long from now on there are partitions, in seconds; negative: the last one has ended.
    pub ahead_seconds: i64,
    /// Rows that have come to the default partition for want of theirs, counted to 10,000.
    pub strayed: i64,
}

/// What a step of a purge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct PurgeStep {
    /// Reservations looked at.
    pub seen: u64,
    /// Those of them that were finished, and are gone.
    pub purged: u64,
}

#[derive(Deserialize)]
struct StateRow {
    ends_at: i64,
    now: i64,
    strayed: i64,
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// They fail with [`StoreError::Contended`] when others were in the way, and then changed nothing; else with [`StoreError::Unreachable`],
/// [`StoreError::Unknown`] or [`StoreError::Defect`]. To do any of them again is harmless.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Store {
    /// Makes this replica the janitor, for so long, unless another one is.
    pub async fn claim_janitor(&self, me: Uuid, lease: Duration) -> Result<bool, StoreError> {
        let claim = sqlx::query(CLAIM_JANITOR).bind(me).bind(micros(lease));
        Ok(claim.execute(&self.pool).await?.rows_affected() > 0)
    }

    /// Makes the partitions that are lacking until so long from now; gives their names.
    pub async fn make_partitions(&self, ahead: Duration) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar(MAKE_PARTITIONS).bind(micros(ahead)).fetch_one(&self.pool).await?)
    }

    /// Drops the oldest partition if it ended longer ago than that, a ledger's after summing it up; gives its name.
    pub async fn drop_partition(&self, subject: Subject, kept: Duration) -> Result<Option<String>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        self.pool.within(sqlx::query(DROP_TIMEOUT).execute(&mut *transaction)).await?;
        let patient = self.pool.for_statements_of(DROP_MAX);
        let drop = sqlx::query_scalar(DROP_PARTITION).bind(subject.as_str()).bind(micros(kept));
        let dropped = patient.within(drop.fetch_one(&mut *transaction)).await?;
        self.pool.within(transaction.commit()).await?;
        Ok(dropped)
    }

    /// Removes some keys without a time that were used longer ago than that; gives how many.
    pub async fn purge_operations(&self, kept: Duration, rows_max: u16) -> Result<i64, StoreError> {
        let purge = sqlx::query_scalar(PURGE_OPERATIONS).bind(micros(kept)).bind(i32::from(rows_max));
        Ok(purge.fetch_one(&self.pool).await?)
    }

    /// Looks at some reservations that are older than that, after those of the last step, and removes the finished ones. It is at its end when it saw fewer than it
    /// may.
    pub async fn purge_reservations(&self, kept: Duration, rows_max: u16) -> Result<PurgeStep, StoreError> {
        let purge = sqlx::query_scalar(PURGE_RESERVATIONS).bind(micros(kept)).bind(i32::from(rows_max));
        let Json(step): Json<PurgeStep> = purge.fetch_one(&self.pool).await?;
        Ok(step)
    }

    /// How far ahead there are partitions, and what has come to the default one.
    pub async fn partition_state(&self, subject: Subject) -> Result<PartitionState, StoreError> {
        let state = sqlx::query_scalar(PARTITION_STATE).bind(subject.as_str()).bind(STRAYED_MAX);
        let Json(StateRow { ends_at, now, strayed }) = state.fetch_one(&self.pool).await?;
        Ok(PartitionState { ahead_seconds: (ends_at - now).div_euclid(1_000_000), strayed })
    }

    /// From when on every ledger entry is kept; none: they all are.
    pub async fn ledger_kept_from(&self) -> Result<Option<UnixMicros>, StoreError> {
        let kept: Option<i64> =
            sqlx::query_scalar(KEPT_FROM).bind(Subject::Ledger.as_str()).fetch_one(&self.pool).await?;
        Ok(kept.map(UnixMicros))
    }

    /// Which life of the record this is: another one after each restore from a backup.
    pub async fn incarnation(&self) -> Result<Uuid, StoreError> {
        Ok(sqlx::query_scalar(INCARNATION).fetch_one(&self.pool).await?)
    }
}
