//! Connections: created, read, listed, and taken to be worked on by one process at a time.

use std::time::Duration;

use holdfast_feeds::observation::{Class, Mode};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::requests::{self, RequestKey};
use super::{Listed, Store, StoreError, limit};
use crate::convert::Switch;
use crate::model::{
    Columns, Connection, DropFolder, Fetched, Fields, FileSource, HttpPull, Layout, Moment, NewConnection, Promise,
};

/// Binds what people say of a connection, in the order of the insert: vendor, location, and all that follows. A macro, because the two statements that need it
/// answer different things and sqlx's types say so.
macro_rules! bind_said {
    ($query:expr, $new:expr) => {{
        let new: &NewConnection = $new;
        let (csv, json) = match &new.layout {
            Layout::Csv(columns) => (Some(columns), None),
            Layout::Json(fields) => (None, Some(fields)),
        };
        let (folder, pull) = match &new.source {
            None => (None, None),
            Some(FileSource::Drop(folder)) => (Some(folder), None),
            Some(FileSource::Pull(pull)) => (None, Some(pull)),
        };
        $query
            .bind(&new.vendor)
            .bind(&new.location)
            .bind(mode_name(new.mode))
            .bind(class_name(new.class))
            .bind(csv.map(|columns| &columns.delimiter))
            .bind(csv.map(|columns| &columns.header))
            .bind(csv.map(|columns| &columns.key_column))
            .bind(csv.map(|columns| &columns.quantity_column))
            .bind(json.map(|fields| &fields.rows_path))
            .bind(json.map(|fields| &fields.key_field))
            .bind(json.map(|fields| &fields.quantity_field))
            .bind(json.map(|fields| fields.is_lines))
            .bind(new.promise.cadence.map(micros))
            .bind(folder.map(|folder| &folder.path))
            .bind(folder.map(|folder| &folder.pattern))
            .bind(folder.map(|folder| &folder.done_suffix))
            .bind(pull.map(|pull| &pull.url))
            .bind(pull.map(|pull| micros(pull.interval)))
            .bind(pull.map(|pull| &pull.credential))
            .bind(new.apply_first_file)
            .bind(new.promise.clock_margin.map(micros))
            .bind(new.promise.reflection_lag.map(micros))
    }};
}

/// A connection, and Postgres's clock when it was read.
#[derive(Debug, Clone)]
pub struct Found {
    /// The connection.
    pub connection: Connection,
    /// What time it is.
    pub present_time: OffsetDateTime,
}

impl Store {
    /// Creates a connection once for its key and answers what `encode` makes of it; a replay gets the same bytes.
    ///
    /// Run it in a task of its own: a transaction must not be dropped in the middle because a caller went away.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`], [`StoreError::Exists`]: nothing was changed. [`StoreError::Postgres`]: that is unknown.
    pub async fn create_connection(
        &self,
        key: &RequestKey,
        new: &NewConnection,
        encode: impl Fn(&Connection) -> Vec<u8> + Send + Sync,
    ) -> Result<Vec<u8>, StoreError> {
        if let Some(answer) = self.answered(key).await? {
            return Ok(answer);
        }
        let mut transaction = self.pool.begin().await?;
        let insert = sqlx::query_scalar(include_str!("../../queries/connection_insert.sql")).bind(&new.code);
        let created: Option<OffsetDateTime> = bind_said!(insert, new).fetch_optional(&mut *transaction).await?;
        let refusal = match created {
            Some(create_time) => {
                let (accepted, paused, fetched) = (None, None, None);
                let created = Connection { content: new.clone(), create_time, accepted, revision: 1, paused, fetched };
                note(&mut transaction, &new.code, "CREATED", "", "").await?;
                let answer = encode(&created);
                if requests::keep(&mut transaction, key, &answer).await? {
                    transaction.commit().await?;
                    return Ok(answer);
                }
                StoreError::KeyReused
            }
            None => StoreError::Exists(new.code.clone()),
        };
        transaction.rollback().await?;
        // Who took the key or the code while this attempt waited may have been this very request, sent twice.
        self.answered(key).await?.ok_or(refusal)
    }

    /// Changes what people say of a connection, if it still has the revision on which the change was made; answers what `encode` makes of it, once for its
    /// key. None: it was changed meanwhile, and nothing was changed now. `fields` names what changes, for the history.
    ///
    /// Run it in a task of its own, like every change.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`]: nothing was changed. [`StoreError::Postgres`]: that is unknown.
    pub async fn update_connection(
        &self,
        key: &RequestKey,
        new: &NewConnection,
        revision: i64,
        fields: &str,
        encode: impl Fn(&Connection) -> Vec<u8> + Send + Sync,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let update = sqlx::query_scalar(include_str!("../../queries/connection_update.sql"));
        let update = update.bind(&new.code).bind(revision);
        let updated: Option<String> = bind_said!(update, new).fetch_optional(&mut *transaction).await?;
        if updated.is_none() {
            transaction.rollback().await?;
            return self.answered(key).await;
        }
        note(&mut transaction, &new.code, "UPDATED", "", fields).await?;
        let changed = found(&mut *transaction, &new.code).await?.ok_or_else(|| gone(&new.code))?;
        self.finish(transaction, key, encode(&changed.connection)).await.map(Some)
    }

    /// Has a connection's files held from now on, or applied again; answers what `encode` makes of it, once for its key. One that is in that state already
    /// keeps its reason.
    ///
    /// Run it in a task of its own, like every change.
    ///
    /// # Errors
    /// [`StoreError::NoConnection`], [`StoreError::KeyReused`]: nothing was changed. [`StoreError::Postgres`]: that is unknown.
    pub async fn switch_connection(
        &self,
        switch: &Switch,
        encode: impl Fn(&Connection) -> Vec<u8> + Send + Sync,
    ) -> Result<Vec<u8>, StoreError> {
        let Switch { key, code, pause, actor, reason } = switch;
        if let Some(answer) = self.answered(key).await? {
            return Ok(answer);
        }
        let mut transaction = self.pool.begin().await?;
        if *pause {
            self::pause(&mut transaction, code, actor, reason).await?;
        } else {
            resume(&mut transaction, code, actor, reason).await?;
        }
        let Some(changed) = found(&mut *transaction, code).await? else {
            transaction.rollback().await?;
            return Err(StoreError::NoConnection(code.clone()));
        };
        self.finish(transaction, key, encode(&changed.connection)).await
    }

    /// Keeps a change's answer and ends its transaction.
    async fn finish(
        &self,
        mut transaction: sqlx::Transaction<'_, sqlx::Postgres>,
        key: &RequestKey,
        answer: Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
        if requests::keep(&mut transaction, key, &answer).await? {
            transaction.commit().await?;
            return Ok(answer);
        }
        transaction.rollback().await?;
        // Who took the key while this attempt waited may have been this very request, sent twice.
        self.answered(key).await?.ok_or(StoreError::KeyReused)
    }

    /// A connection by its code.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn connection(&self, code: &str) -> Result<Option<Found>, StoreError> {
        found(&self.pool, code).await
    }

    /// What a run's connection said when the run was first worked on, which may be now: a run ends as it began.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] when there is no such run, [`StoreError::Postgres`].
    pub async fn begin_run(&self, run_id: Uuid) -> Result<(Mode, Class), StoreError> {
        sqlx::query(include_str!("../../queries/run_begin.sql")).bind(run_id).execute(&self.pool).await?;
        let begun: Option<(String, String)> =
            sqlx::query_as(include_str!("../../queries/run_begun.sql")).bind(run_id).fetch_optional(&self.pool).await?;
        let known = begun.and_then(|(mode, meaning)| mode_of(&mode).zip(class_of(&meaning)));
        known.ok_or_else(|| StoreError::Unreadable(format!("no mode and meaning in run {run_id}")))
    }

    /// The connections after a code.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn list_connections(&self, after: &str, size: usize) -> Result<Listed<Connection>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(include_str!("../../queries/connection_list.sql"))
            .bind(after)
            .bind(limit(size))
            .fetch_all(&self.pool)
            .await?;
        let connections = rows.into_iter().map(|row| Found::try_from(row).map(|found| found.connection));
        Ok(Listed::cut(connections.collect::<Result<_, _>>()?, size))
    }

    /// Takes a connection that has work and that nobody works on, and answers its code.
    ///
    /// # Errors
    /// [`StoreError::Postgres`]; it may be taken then, until the lease ends.
    pub async fn claim_connection(&self, holder: Uuid, lease: Duration) -> Result<Option<String>, StoreError> {
        let claimed = sqlx::query_scalar(include_str!("../../queries/connection_claim.sql"));
        Ok(claimed.bind(holder).bind(lease.as_secs_f64()).fetch_optional(&self.pool).await?)
    }

    /// Says that the connection is still worked on; false when another one took over.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn renew_claim(&self, code: &str, holder: Uuid, lease: Duration) -> Result<bool, StoreError> {
        let renewed = sqlx::query(include_str!("../../queries/connection_renew.sql"));
        let renewed = renewed.bind(code).bind(holder).bind(lease.as_secs_f64()).execute(&self.pool).await?;
        Ok(renewed.rows_affected() == 1)
    }

    /// Lets a connection go.
    ///
    /// # Errors
    /// [`StoreError::Postgres`]; the lease ends by itself then.
    pub async fn release_connection(&self, code: &str, holder: Uuid) -> Result<(), StoreError> {
        let released = sqlx::query(include_str!("../../queries/connection_release.sql"));
        released.bind(code).bind(holder).execute(&self.pool).await?;
        Ok(())
    }
}

/// Pauses a connection; false if it is paused already, and then nothing changes. For whoever holds files, too, with `actor` "holdfast".
///
/// # Errors
/// What Postgres says.
pub(super) async fn pause(
    transaction: &mut PgConnection,
    code: &str,
    actor: &str,
    reason: &str,
) -> Result<bool, sqlx::Error> {
    switch(transaction, code, ["PAUSED", "PAUSED", actor, reason, reason]).await
}

async fn resume(transaction: &mut PgConnection, code: &str, actor: &str, reason: &str) -> Result<bool, sqlx::Error> {
    switch(transaction, code, ["ACTIVE", "RESUMED", actor, reason, ""]).await
}

async fn switch(
    transaction: &mut PgConnection,
    code: &str,
    [state, action, actor, reason, state_reason]: [&str; 5],
) -> Result<bool, sqlx::Error> {
    let switched: Option<String> = sqlx::query_scalar(include_str!("../../queries/connection_switch.sql"))
        .bind(code)
        .bind(state)
        .bind(state_reason)
        .fetch_optional(&mut *transaction)
        .await?;
    if switched.is_some() {
        note(transaction, code, action, actor, reason).await?;
    }
    Ok(switched.is_some())
}

/// Adds to a connection's history.
async fn note(
    transaction: &mut PgConnection,
    code: &str,
    action: &str,
    actor: &str,
    reason: &str,
) -> Result<(), sqlx::Error> {
    let insert = sqlx::query(include_str!("../../queries/connection_event_insert.sql"));
    insert.bind(Uuid::now_v7()).bind(code).bind(action).bind(actor).bind(reason).execute(transaction).await?;
    Ok(())
}

async fn found(executor: impl sqlx::PgExecutor<'_>, code: &str) -> Result<Option<Found>, StoreError> {
    let found: Option<Row> =
        sqlx::query_as(include_str!("../../queries/connection_get.sql")).bind(code).fetch_optional(executor).await?;
    found.map(TryInto::try_into).transpose()
}

fn gone(code: &str) -> StoreError {
    StoreError::Unreadable(format!("a connection {code:?} that went away"))
}

#[derive(Debug, sqlx::FromRow)]
struct Row {
    code: String,
    vendor: String,
    location: String,
    mode: String,
    meaning: String,
    csv_delimiter: Option<String>,
    csv_header: Option<Vec<String>>,
    csv_key_column: Option<String>,
    csv_quantity_column: Option<String>,
    json_rows_path: Option<String>,
    json_key_field: Option<String>,
    json_quantity_field: Option<String>,
    json_lines: Option<bool>,
    cadence_micros: Option<i64>,
    drop_path: Option<String>,
    drop_pattern: Option<String>,
    drop_done_suffix: Option<String>,
    pull_url: Option<String>,
    pull_interval_micros: Option<i64>,
    pull_credential: Option<String>,
    apply_first_file: bool,
    clock_margin_micros: Option<i64>,
    reflection_lag_micros: Option<i64>,
    revision: i64,
    state: String,
    state_reason: String,
    fetch_status: String,
    fetch_time: Option<OffsetDateTime>,
    create_time: OffsetDateTime,
    accepted_as_of: Option<OffsetDateTime>,
    accepted_sequence: Option<i64>,
    present_time: OffsetDateTime,
}

impl Row {
    /// How its files look; the table's constraints see to it that it is one or the other, whole.
    fn layout(&self) -> Option<Layout> {
        match (&self.csv_header, &self.json_key_field) {
            (Some(header), None) => Some(Layout::Csv(Columns {
                delimiter: self.csv_delimiter.clone()?,
                header: header.clone(),
                key_column: self.csv_key_column.clone()?,
                quantity_column: self.csv_quantity_column.clone()?,
            })),
            (None, Some(key_field)) => Some(Layout::Json(Fields {
                rows_path: self.json_rows_path.clone()?,
                key_field: key_field.clone(),
                quantity_field: self.json_quantity_field.clone()?,
                is_lines: self.json_lines?,
            })),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }

    fn source(&self) -> Option<FileSource> {
        if let Some(path) = &self.drop_path {
            let (pattern, done_suffix) = (self.drop_pattern.clone()?, self.drop_done_suffix.clone()?);
            return Some(FileSource::Drop(DropFolder { path: path.clone(), pattern, done_suffix }));
        }
        let (interval, credential) = (duration(self.pull_interval_micros?)?, self.pull_credential.clone()?);
        Some(FileSource::Pull(HttpPull { url: self.pull_url.clone()?, interval, credential }))
    }

    fn paused(&self) -> Option<Option<String>> {
        match self.state.as_str() {
            "ACTIVE" => Some(None),
            "PAUSED" => Some(Some(self.state_reason.clone())),
            _ => None,
        }
    }
}

impl TryFrom<Row> for Found {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unreadable = |name: &str| StoreError::Unreadable(format!("{name:?} in connection {:?}", row.code));
        let mode = mode_of(&row.mode).ok_or_else(|| unreadable(&row.mode))?;
        let class = class_of(&row.meaning).ok_or_else(|| unreadable(&row.meaning))?;
        let layout = row.layout().ok_or_else(|| unreadable("schema"))?;
        let paused = row.paused().ok_or_else(|| unreadable(&row.state))?;
        let source = row.source();
        let promise = Promise {
            cadence: row.cadence_micros.and_then(duration),
            clock_margin: row.clock_margin_micros.and_then(duration),
            reflection_lag: row.reflection_lag_micros.and_then(duration),
        };
        let accepted =
            row.accepted_as_of.zip(row.accepted_sequence).map(|(as_of, sequence)| Moment { as_of, sequence });
        let fetched = row.fetch_time.map(|time| Fetched { status: row.fetch_status, time });
        let Row { code, vendor, location, apply_first_file, revision, create_time, present_time, .. } = row;
        let content = NewConnection { code, vendor, location, mode, class, layout, promise, source, apply_first_file };
        Ok(Self { connection: Connection { content, create_time, accepted, revision, paused, fetched }, present_time })
    }
}

fn duration(micros: i64) -> Option<Duration> {
    u64::try_from(micros).ok().map(Duration::from_micros)
}

/// Microseconds for a column; every duration of a connection is at most 366 days.
fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

const MODES: [Mode; 2] = [Mode::Full, Mode::Partial];
const CLASSES: [Class; 2] = [Class::OnHand, Class::Available];

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Full => "FULL",
        Mode::Partial => "PARTIAL",
    }
}

pub(super) fn mode_of(name: &str) -> Option<Mode> {
    MODES.into_iter().find(|mode| mode_name(*mode) == name)
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::OnHand => "ON_HAND",
        Class::Available => "AVAILABLE",
    }
}

fn class_of(name: &str) -> Option<Class> {
    CLASSES.into_iter().find(|class| class_name(*class) == name)
}
