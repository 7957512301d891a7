//! Looks at connections' folders and addresses: who makes them, how they went, what lies where.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::{Store, StoreError};

/// What a server said of the file that was fetched from it last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// Its ETag, if it has one.
    pub etag: Option<String>,
    /// Its Last-Modified, as the server wrote it, if it said one.
    pub last_modified: Option<String>,
}

/// How a look went, for the record.
#[derive(Debug, Clone)]
pub struct LookDone<'a> {
    /// The connection's code.
    pub code: &'a str,
    /// Who looked.
    pub holder: Uuid,
    /// The connection's revision when it was looked at.
    pub revision: i64,
    /// In words for people.
    pub status: &'a str,
    /// How many looks in a row have failed now.
    pub failures: u32,
    /// When to look again.
    pub pause: Duration,
    /// The URL that something was fetched from, and what the server said of it.
    pub fetched: Option<(&'a str, &'a Validators)>,
}

/// A file that is known to lie in a folder.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct DroppedFile {
    /// Its name.
    pub file_name: String,
    /// Its size in bytes.
    pub size_bytes: i64,
    /// When it was changed last, to the microsecond.
    pub modify_time: OffsetDateTime,
    /// For how long it has been known like this, in seconds.
    pub age_seconds: f64,
    /// The run that it became, if it was taken.
    pub run_id: Option<Uuid>,
}

/// A file as it was found in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenFile {
    /// Its name.
    pub file_name: String,
    /// Its size in bytes.
    pub size_bytes: i64,
    /// When it was changed last, to the microsecond.
    pub modify_time: OffsetDateTime,
}

impl Store {
    /// Takes a connection that is due to be looked at and that nobody looks at, and answers its code. `has_drop_root`: whether folders can be reached.
    ///
    /// # Errors
    /// [`StoreError::Postgres`]; it may be taken then, until the lease ends.
    pub async fn claim_look(
        &self,
        holder: Uuid,
        lease: Duration,
        has_drop_root: bool,
    ) -> Result<Option<String>, StoreError> {
        let claimed = sqlx::query_scalar(include_str!("../../queries/fetch_claim.sql"));
        Ok(claimed.bind(holder).bind(lease.as_secs_f64()).bind(has_drop_root).fetch_optional(&self.pool).await?)
    }

    /// Takes this connection to look at it now; false when somebody does already.
    ///
    /// # Errors
    /// [`StoreError::Postgres`]; it may be taken then, until the lease ends.
    pub async fn claim_look_at(&self, code: &str, holder: Uuid, lease: Duration) -> Result<bool, StoreError> {
        let claimed = sqlx::query(include_str!("../../queries/fetch_claim_one.sql"));
        let claimed = claimed.bind(code).bind(holder).bind(lease.as_secs_f64()).execute(&self.pool).await?;
        Ok(claimed.rows_affected() == 1)
    }

    /// Says that the connection is still being looked at.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn renew_look(&self, code: &str, holder: Uuid, lease: Duration) -> Result<(), StoreError> {
        let renewed = sqlx::query(include_str!("../../queries/fetch_renew.sql"));
        renewed.bind(code).bind(holder).bind(lease.as_secs_f64()).execute(&self.pool).await?;
        Ok(())
    }

    /// What the server said of the file fetched last, and how many looks in a row have failed.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn validators(&self, code: &str) -> Result<(Validators, u32), StoreError> {
        let found: Option<(Option<String>, Option<String>, i32)> =
            sqlx::query_as(include_str!("../../queries/fetch_validators.sql"))
                .bind(code)
                .fetch_optional(&self.pool)
                .await?;
        let (etag, last_modified, failures) = found.unwrap_or_default();
        Ok((Validators { etag, last_modified }, u32::try_from(failures).unwrap_or(0)))
    }

    /// Notes how a look went and lets the connection go.
    ///
    /// # Errors
    /// [`StoreError::Postgres`]; the lease ends by itself then, and the look is made again.
    pub async fn look_done(&self, done: &LookDone<'_>) -> Result<(), StoreError> {
        let (url, validators) = done.fetched.unzip();
        sqlx::query(include_str!("../../queries/fetch_done.sql"))
            .bind(done.code)
            .bind(done.holder)
            .bind(done.revision)
            .bind(done.status)
            .bind(i32::try_from(done.failures).unwrap_or(i32::MAX))
            .bind(done.pause.as_secs_f64())
            .bind(url)
            .bind(validators.and_then(|validators| validators.etag.as_deref()))
            .bind(validators.and_then(|validators| validators.last_modified.as_deref()))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The files that are known to lie in a connection's folder.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn dropped_files(&self, code: &str) -> Result<Vec<DroppedFile>, StoreError> {
        let known = sqlx::query_as(include_str!("../../queries/drop_file_list.sql"));
        Ok(known.bind(code).fetch_all(&self.pool).await?)
    }

    /// Notes files as they were found, where they were not known like this: from now on their age is counted.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn see_files(&self, code: &str, files: &[&SeenFile]) -> Result<(), StoreError> {
        if files.is_empty() {
            return Ok(());
        }
        sqlx::query(include_str!("../../queries/drop_file_see.sql"))
            .bind(code)
            .bind(files.iter().map(|file| file.file_name.as_str()).collect::<Vec<_>>())
            .bind(files.iter().map(|file| file.size_bytes).collect::<Vec<_>>())
            .bind(files.iter().map(|file| file.modify_time).collect::<Vec<_>>())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Notes that a file was taken and cannot be moved away.
    ///
    /// # Errors
    /// [`StoreError::Postgres`]; the file is taken again then, as the same run.
    pub async fn file_taken(&self, code: &str, file: &SeenFile, run_id: Uuid) -> Result<(), StoreError> {
        let taken = sqlx::query(include_str!("../../queries/drop_file_taken.sql"));
        let taken = taken.bind(code).bind(&file.file_name).bind(file.size_bytes).bind(file.modify_time);
        taken.bind(run_id).execute(&self.pool).await?;
        Ok(())
    }

    /// Forgets files that do not lie there any more.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn forget_files(&self, code: &str, names: &[&str]) -> Result<(), StoreError> {
        if !names.is_empty() {
            let forget = sqlx::query(include_str!("../../queries/drop_file_forget.sql"));
            forget.bind(code).bind(names).execute(&self.pool).await?;
        }
        Ok(())
    }
}
