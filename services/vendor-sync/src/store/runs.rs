//! Runs: received, read, listed, put off, forgotten.

use std::time::Duration;

use holdfast_feeds::guards::file::FileHistory;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::requests::{self, RequestKey};
use super::{Listed, Store, StoreError, limit};
use crate::model::{Decision, Moment, Run, RunOrigin, RunState, Totals, Upload};

/// A file that is in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Its run.
    pub run_id: Uuid,
    /// Whether this content was known before.
    pub replayed: bool,
}

/// The last run of a page: its time in nanoseconds since 1970, and its id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunCursor(i128, Uuid);

impl From<&Run> for RunCursor {
    fn from(run: &Run) -> Self {
        Self(run.create_time.unix_timestamp_nanos(), run.run_id)
    }
}

impl RunCursor {
    fn time(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::from_unix_timestamp_nanos(self.0).ok()
    }
}

/// What is not done, and what waits for a person: how much, and for how long the oldest of it, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, sqlx::FromRow)]
#[expect(missing_docs, reason = "pairs of a count and an age, said above")]
pub struct Backlog {
    pub unfinished_runs: i64,
    pub unfinished_seconds: f64,
    pub waiting_numbers: i64,
    pub waiting_number_seconds: f64,
    pub held_files: i64,
    pub held_file_seconds: f64,
    pub active_connections: i64,
    pub paused_connections: i64,
}

impl Store {
    /// Takes a file into the record: once for its key, and once for its content and as_of. One that was refused before its connection was changed is taken up again.
    ///
    /// Run it in a task of its own: a transaction must not be dropped in the middle because a caller went away.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`], [`StoreError::UnknownConnection`]: nothing was changed. [`StoreError::Postgres`]: that is unknown.
    pub async fn receive(&self, key: &RequestKey, upload: &Upload) -> Result<Received, StoreError> {
        if let Some(answer) = self.answered(key).await? {
            return replayed(&answer);
        }
        let mut transaction = self.pool.begin().await?;
        if let Some(run_id) = same_content(&mut transaction, upload).await? {
            // Refused by how files looked then: whoever sends it again after that was changed wants it read anew.
            let take_up = sqlx::query(include_str!("../../queries/run_take_up.sql"));
            if take_up.bind(run_id).fetch_optional(&mut *transaction).await?.is_some() {
                insert_content(&mut transaction, run_id, upload).await?;
            }
            return self.answer_again(transaction, key, run_id).await;
        }
        let run_id = Uuid::now_v7();
        // The bytes first: while they are written, the connection is not locked.
        insert_content(&mut transaction, run_id, upload).await?;
        let number: Option<i64> = sqlx::query_scalar(include_str!("../../queries/connection_number.sql"))
            .bind(&upload.connection)
            .fetch_optional(&mut *transaction)
            .await?;
        let number = number.ok_or_else(|| StoreError::UnknownConnection(upload.connection.clone()))?;
        if same_content(&mut transaction, upload).await?.is_some() {
            // The same file was received while this attempt waited for the connection's lock.
            transaction.rollback().await?;
            let mut transaction = self.pool.begin().await?;
            let run_id = same_content(&mut transaction, upload).await?;
            let run_id = run_id.ok_or_else(|| StoreError::Unreadable("a run that went away".to_owned()))?;
            return self.answer_again(transaction, key, run_id).await;
        }
        insert(&mut transaction, run_id, number, upload).await?;
        if requests::keep(&mut transaction, key, run_id.as_bytes()).await? {
            transaction.commit().await?;
            return Ok(Received { run_id, replayed: false });
        }
        transaction.rollback().await?;
        match self.answered(key).await? {
            Some(answer) => replayed(&answer),
            None => Err(StoreError::KeyReused),
        }
    }

    /// The run that a key was answered with before, if it was.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`], [`StoreError::Postgres`].
    pub async fn received(&self, key: &RequestKey) -> Result<Option<Received>, StoreError> {
        self.answered(key).await?.map(|answer| replayed(&answer)).transpose()
    }

    /// Answers with a run that is there, and remembers that for the key.
    async fn answer_again(
        &self,
        mut transaction: sqlx::Transaction<'_, sqlx::Postgres>,
        key: &RequestKey,
        run_id: Uuid,
    ) -> Result<Received, StoreError> {
        if requests::keep(&mut transaction, key, run_id.as_bytes()).await? {
            transaction.commit().await?;
            return Ok(Received { run_id, replayed: true });
        }
        transaction.rollback().await?;
        match self.answered(key).await? {
            Some(answer) => replayed(&answer),
            None => Err(StoreError::KeyReused),
        }
    }

    /// A run by its id.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn run(&self, run_id: Uuid) -> Result<Option<Run>, StoreError> {
        let found: Option<RunColumns> =
            sqlx::query_as(include_str!("../../queries/run_get.sql")).bind(run_id).fetch_optional(&self.pool).await?;
        found.map(TryInto::try_into).transpose()
    }

    /// The runs before another one, newest first; of one connection or of all, in one state or in any.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn list_runs(
        &self,
        after: Option<&RunCursor>,
        connection: Option<&str>,
        state: Option<RunState>,
        size: usize,
    ) -> Result<Listed<Run>, StoreError> {
        let query = match connection {
            Some(_) => sqlx::query_as(include_str!("../../queries/run_list_of_connection.sql")),
            None => sqlx::query_as(include_str!("../../queries/run_list.sql")),
        };
        let query = query.bind(after.and_then(RunCursor::time)).bind(after.map(|after| after.1)).bind(limit(size));
        let query = query.bind(state.map(RunState::name));
        let query = if let Some(connection) = connection { query.bind(connection) } else { query };
        let rows: Vec<RunColumns> = query.fetch_all(&self.pool).await?;
        let runs = rows.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        Ok(Listed::cut(runs, size))
    }

    /// The run of a connection that is to be worked on now.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn next_run(&self, connection: &str) -> Result<Option<Run>, StoreError> {
        let found: Option<RunColumns> = sqlx::query_as(include_str!("../../queries/run_next.sql"))
            .bind(connection)
            .fetch_optional(&self.pool)
            .await?;
        found.map(TryInto::try_into).transpose()
    }

    /// Has a run worked on at once, if it is not finished.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn rouse(&self, run_id: Uuid) -> Result<(), StoreError> {
        sqlx::query(include_str!("../../queries/run_rouse.sql")).bind(run_id).execute(&self.pool).await?;
        Ok(())
    }

    /// Puts a run off for so long, with a word on what it waits for.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn postpone(&self, run_id: Uuid, pause: Duration, reason: &str) -> Result<(), StoreError> {
        let postponed = sqlx::query(include_str!("../../queries/run_postpone.sql"));
        postponed.bind(run_id).bind(pause.as_secs_f64()).bind(reason).execute(&self.pool).await?;
        Ok(())
    }

    /// Believes a held file, or does not, once for its key. A believed one is worked on like a new one, a rejected one's file is dropped.
    ///
    /// Run it in a task of its own, like every change.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`], [`StoreError::NoRun`], [`StoreError::Decided`] when it is not held: nothing was changed. [`StoreError::Postgres`]: that is
    /// unknown.
    pub async fn decide_run(&self, key: &RequestKey, run_id: Uuid, decision: &Decision) -> Result<(), StoreError> {
        if self.answered(key).await?.is_some() {
            return Ok(());
        }
        let mut transaction = self.pool.begin().await?;
        let decide = if decision.approves {
            sqlx::query(include_str!("../../queries/run_approve.sql"))
        } else {
            sqlx::query(include_str!("../../queries/run_reject.sql"))
        };
        let decide = decide.bind(run_id).bind(&decision.actor).bind(&decision.reason);
        let decided = decide.fetch_optional(&mut *transaction).await?.is_some();
        if decided {
            let drop = if decision.approves {
                sqlx::query(include_str!("../../queries/run_rows_drop.sql"))
            } else {
                sqlx::query(include_str!("../../queries/run_content_drop.sql"))
            };
            drop.bind(run_id).execute(&mut *transaction).await?;
            if requests::keep(&mut transaction, key, run_id.as_bytes()).await? {
                transaction.commit().await?;
                return Ok(());
            }
        }
        transaction.rollback().await?;
        // Who decided while this attempt waited may have been this very request, sent twice.
        if self.answered(key).await?.is_some() {
            return Ok(());
        }
        match self.run(run_id).await? {
            None => Err(StoreError::NoRun(run_id)),
            Some(_) if decided => Err(StoreError::KeyReused),
            Some(run) => Err(StoreError::Decided { kind: "run", id: run_id, state: run.state.name() }),
        }
    }

    /// What the last accepted files of a connection were like: of at most so many their rows, and the share of the commonest number of the newest.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn file_history(&self, connection: &str, files_max: u64) -> Result<FileHistory, StoreError> {
        let files: Vec<(i64, i32)> = sqlx::query_as(include_str!("../../queries/run_accepted_files.sql"))
            .bind(connection)
            .bind(i64::try_from(files_max).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await?;
        let top_value_permille = files.first().and_then(|(_, permille)| u32::try_from(*permille).ok());
        let rows = files.iter().filter_map(|(rows, _)| u64::try_from(*rows).ok()).collect();
        Ok(FileHistory::new(rows, top_value_permille))
    }

    /// A run's file.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn content(&self, run_id: Uuid) -> Result<Vec<u8>, StoreError> {
        let parts: Vec<Vec<u8>> = sqlx::query_scalar(include_str!("../../queries/run_content_get.sql"))
            .bind(run_id)
            .fetch_all(&self.pool)
            .await?;
        Ok(parts.concat())
    }

    /// What is not done, and what waits for a person.
    ///
    /// # Errors
    /// [`StoreError::Postgres`]; it is a read.
    pub async fn backlog(&self) -> Result<Backlog, StoreError> {
        Ok(sqlx::query_as(include_str!("../../queries/backlog.sql")).fetch_one(&self.pool).await?)
    }

    /// Drops reports and files of finished runs older than so many seconds, at most so many; answers how many runs it were.
    ///
    /// # Errors
    /// [`StoreError::Postgres`]; those before stay dropped.
    pub async fn forget_reports(&self, age_seconds: u32, runs_max: u32) -> Result<u64, StoreError> {
        let old: Vec<Uuid> = sqlx::query_scalar(include_str!("../../queries/run_old.sql"))
            .bind(f64::from(age_seconds))
            .bind(i64::from(runs_max))
            .fetch_all(&self.pool)
            .await?;
        for run_id in &old {
            sqlx::query(include_str!("../../queries/run_forget.sql")).bind(run_id).execute(&self.pool).await?;
        }
        Ok(old.len() as u64)
    }
}

fn replayed(answer: &[u8]) -> Result<Received, StoreError> {
    let run_id =
        Uuid::from_slice(answer).map_err(|_| StoreError::Unreadable("an answer that is no run's id".to_owned()))?;
    Ok(Received { run_id, replayed: true })
}

async fn same_content(connection: &mut PgConnection, upload: &Upload) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar(include_str!("../../queries/run_find.sql"))
        .bind(&upload.connection)
        .bind(upload.sha256.as_slice())
        .bind(upload.as_of)
        .bind(upload.house.as_ref().map(|house| &house.location))
        .fetch_optional(connection)
        .await
}

async fn insert_content(connection: &mut PgConnection, run_id: Uuid, upload: &Upload) -> Result<(), sqlx::Error> {
    for (part, bytes) in (0_i32..).zip(&upload.content) {
        let insert = sqlx::query(include_str!("../../queries/run_content_insert.sql"));
        insert.bind(run_id).bind(part).bind(bytes).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn insert(connection: &mut PgConnection, run_id: Uuid, number: i64, upload: &Upload) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("../../queries/run_insert.sql"))
        .bind(run_id)
        .bind(&upload.connection)
        .bind(number)
        .bind(upload.as_of)
        .bind(&upload.file_name)
        .bind(upload.sha256.as_slice())
        .bind(i64::try_from(upload.bytes()).unwrap_or(i64::MAX))
        .bind(upload.origin.name())
        .bind(upload.house.as_ref().map(|house| &house.location))
        .bind(upload.house.as_ref().map_or("", |house| &house.typed_by))
        .bind(upload.house.as_ref().map_or("", |house| &house.note))
        .execute(connection)
        .await?;
    Ok(())
}

#[derive(Debug, sqlx::FromRow)]
struct RunColumns {
    run_id: Uuid,
    connection: String,
    state: String,
    as_of: OffsetDateTime,
    sequence: i64,
    file_name: String,
    content_sha256: Vec<u8>,
    create_time: OffsetDateTime,
    plan_time: Option<OffsetDateTime>,
    end_time: Option<OffsetDateTime>,
    reason: String,
    attempts: i32,
    rows: i64,
    applied: i64,
    unchanged: i64,
    stale: i64,
    unmapped: i64,
    rejected: i64,
    quarantined: i64,
    location: String,
    origin: String,
    warnings: Vec<String>,
    approved: bool,
    decided_by: String,
    decision_reason: String,
}

impl TryFrom<RunColumns> for Run {
    type Error = StoreError;

    fn try_from(row: RunColumns) -> Result<Self, StoreError> {
        let unreadable = || {
            StoreError::Unreadable(format!("state {:?} or origin {:?} in run {}", row.state, row.origin, row.run_id))
        };
        Ok(Self {
            state: RunState::of_name(&row.state).ok_or_else(unreadable)?,
            origin: RunOrigin::of_name(&row.origin).ok_or_else(unreadable)?,
            location: row.location,
            warnings: row.warnings,
            approved: row.approved,
            decided_by: row.decided_by,
            decision_reason: row.decision_reason,
            run_id: row.run_id,
            connection: row.connection,
            moment: Moment { as_of: row.as_of, sequence: row.sequence },
            file_name: row.file_name,
            sha256: row.content_sha256,
            create_time: row.create_time,
            plan_time: row.plan_time,
            end_time: row.end_time,
            reason: row.reason,
            attempts: u32::try_from(row.attempts).unwrap_or(0),
            totals: Totals {
                rows: row.rows,
                applied: row.applied,
                unchanged: row.unchanged,
                stale: row.stale,
                unmapped: row.unmapped,
                rejected: row.rejected,
                quarantined: row.quarantined,
            },
        })
    }
}
