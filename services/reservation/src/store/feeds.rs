//! How fresh connections' numbers are.

use holdfast_stock::{Freshness, Location, Name, Sku, UnixMicros};
use serde::Deserialize;
use sqlx::types::Json;

use super::rows;
use super::{Store, StoreError};

pub(super) const COMPLETE_RUN: &str = include_str!("../../queries/complete_run.sql");
pub(super) const COVER_RUN: &str = include_str!("../../queries/cover_run.sql");
pub(super) const GET_FEED: &str = include_str!("../../queries/get_feed.sql");
pub(super) const LIST_FEEDS: &str = include_str!("../../queries/list_feeds.sql");
pub(super) const UNFRESH: &str = include_str!("../../queries/unfresh.sql");

/// A feed is late from so many promised intervals after its last number on.
const LATE_INTERVALS: i64 = 2;
/// And stale from so many on.
const STALE_INTERVALS: i64 = 4;

/// A run that was applied whole.
#[derive(Debug, Clone)]
pub struct WholeRun {
    /// The connection.
    pub connection: Name,
    /// The location that it was about.
    pub location: Location,
    /// When the vendor counted.
    pub as_of: UnixMicros,
    /// Orders runs of the same moment.
    pub sequence: i64,
    /// How often the connection promises a number, in microseconds, at least 1; none: never.
    pub promised_interval: Option<i64>,
    /// Whether it said something of every row of the connection.
    pub covers_all: bool,
    /// How far the vendor's clock may be from ours, in microseconds, 0 or more.
    pub clock_margin: i64,
    /// So long after an order was sent a number reflects it at the latest, in microseconds, at least 1; none: never without evidence.
    pub reflection_lag: Option<i64>,
}

/// What is known of a connection's feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// The connection.
    pub connection: String,
    /// The location that its last run was about.
    pub location: String,
    /// When the vendor counted what that run said.
    pub as_of: UnixMicros,
    /// Orders runs of the same moment.
    pub sequence: i64,
    /// How often it promises a number, in microseconds; none: never.
    pub promised_interval: Option<i64>,
    /// Postgres's clock when this was read.
    pub read_at: UnixMicros,
}

impl Feed {
    /// From when on it is late, if it promised anything.
    #[must_use]
    pub fn late_at(&self) -> Option<UnixMicros> {
        self.after(LATE_INTERVALS)
    }

    /// From when on it is stale, if it promised anything.
    #[must_use]
    pub fn stale_at(&self) -> Option<UnixMicros> {
        self.after(STALE_INTERVALS)
    }

    /// How fresh it was when it was read.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        let is_past = |at: Option<UnixMicros>| at.is_some_and(|at| self.read_at >= at);
        if is_past(self.stale_at()) {
            Freshness::Stale
        } else if is_past(self.late_at()) {
            Freshness::Late
        } else {
            Freshness::Fresh
        }
    }

    fn after(&self, intervals: i64) -> Option<UnixMicros> {
        Some(UnixMicros(self.as_of.0.saturating_add(self.promised_interval?.saturating_mul(intervals))))
    }
}

/// A row, and the units that it is to keep back for being late.
pub type Unfresh = (Sku, Location, i64);

#[derive(Deserialize)]
struct FeedRow {
    connection: String,
    location: String,
    as_of: i64,
    sequence: i64,
    promised_interval: Option<i64>,
    now: i64,
}

/// Only [`Store::complete_run`] has an effect; they fail with [`StoreError::Unreachable`], [`StoreError::Unknown`] or [`StoreError::Defect`].
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Store {
    /// Notes that a run was applied whole, unless a newer one was. Repeating it is harmless, and promises anew.
    pub async fn complete_run(&self, run: &WholeRun) -> Result<Feed, StoreError> {
        if run.covers_all {
            let mark = sqlx::query(COVER_RUN).bind(run.connection.as_str()).bind(run.as_of.0).bind(run.sequence);
            mark.execute(&self.pool).await?;
        }
        sqlx::query(COMPLETE_RUN)
            .bind(run.connection.as_str())
            .bind(run.location.as_str())
            .bind(run.as_of.0)
            .bind(run.sequence)
            .bind(run.promised_interval)
            .bind(run.clock_margin)
            .bind(run.reflection_lag)
            .execute(&self.pool)
            .await?;
        let (Json(row),): (Json<FeedRow>,) =
            sqlx::query_as(GET_FEED).bind(run.connection.as_str()).fetch_one(&self.pool).await?;
        Ok(row.into_feed())
    }

    /// A page of feeds after a connection, in the order of their connections.
    pub async fn list_feeds(&self, after: &str, max: i64) -> Result<Vec<Feed>, StoreError> {
        let found: Vec<(Json<FeedRow>,)> =
            sqlx::query_as(LIST_FEEDS).bind(after).bind(max).fetch_all(&self.pool).await?;
        Ok(found.into_iter().map(|(Json(row),)| row.into_feed()).collect())
    }

    /// Rows of a connection that are not as fresh as its feed, at most so many.
    pub async fn unfresh(&self, feed: &Feed, rows_max: i64) -> Result<Vec<Unfresh>, StoreError> {
        let found: Vec<(String, String, i64)> = sqlx::query_as(UNFRESH)
            .bind(&feed.connection)
            .bind(feed.freshness().as_str())
            .bind(feed.promised_interval)
            .bind(rows_max)
            .fetch_all(&self.pool)
            .await?;
        found.into_iter().map(|(sku, at, units)| Ok((rows::sku(&sku)?, rows::location(&at)?, units))).collect()
    }
}

impl FeedRow {
    fn into_feed(self) -> Feed {
        let Self { connection, location, as_of, sequence, promised_interval, now } = self;
        let (as_of, read_at) = (UnixMicros(as_of), UnixMicros(now));
        Feed { connection, location, as_of, sequence, promised_interval, read_at }
    }
}
