//! Connections: created, read, listed, and taken to be worked on by one process at a time.

use std::time::Duration;

use holdfast_feeds::observation::{Class, Mode};
use time::OffsetDateTime;
use uuid::Uuid;

use super::requests::{self, RequestKey};
use super::{Listed, Store, StoreError, limit};
use crate::model::{Columns, Connection, Moment, NewConnection};

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
        let created: Option<OffsetDateTime> = sqlx::query_scalar(include_str!("../../queries/connection_insert.sql"))
            .bind(&new.code)
            .bind(&new.vendor)
            .bind(&new.location)
            .bind(mode_name(new.mode))
            .bind(class_name(new.class))
            .bind(&new.columns.delimiter)
            .bind(&new.columns.header)
            .bind(&new.columns.key_column)
            .bind(&new.columns.quantity_column)
            .fetch_optional(&mut *transaction)
            .await?;
        let refusal = match created {
            Some(create_time) => {
                let answer = encode(&Connection { content: new.clone(), create_time, accepted: None });
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

    /// A connection by its code.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn connection(&self, code: &str) -> Result<Option<Found>, StoreError> {
        let found: Option<Row> = sqlx::query_as(include_str!("../../queries/connection_get.sql"))
            .bind(code)
            .fetch_optional(&self.pool)
            .await?;
        found.map(TryInto::try_into).transpose()
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

#[derive(Debug, sqlx::FromRow)]
struct Row {
    code: String,
    vendor: String,
    location: String,
    mode: String,
    meaning: String,
    csv_delimiter: String,
    csv_header: Vec<String>,
    csv_key_column: String,
    csv_quantity_column: String,
    create_time: OffsetDateTime,
    accepted_as_of: Option<OffsetDateTime>,
    accepted_sequence: Option<i64>,
    present_time: OffsetDateTime,
}

impl TryFrom<Row> for Found {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unreadable = |name: &str| StoreError::Unreadable(format!("{name:?} in connection {:?}", row.code));
        let content = NewConnection {
            mode: mode_of(&row.mode).ok_or_else(|| unreadable(&row.mode))?,
            class: class_of(&row.meaning).ok_or_else(|| unreadable(&row.meaning))?,
            code: row.code,
            vendor: row.vendor,
            location: row.location,
            columns: Columns {
                delimiter: row.csv_delimiter,
                header: row.csv_header,
                key_column: row.csv_key_column,
                quantity_column: row.csv_quantity_column,
            },
        };
        let accepted =
            row.accepted_as_of.zip(row.accepted_sequence).map(|(as_of, sequence)| Moment { as_of, sequence });
        let connection = Connection { content, create_time: row.create_time, accepted };
        Ok(Self { connection, present_time: row.present_time })
    }
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
