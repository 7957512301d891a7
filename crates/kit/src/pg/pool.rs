//! Connections that follow Postgres's address, and statements that end: what a pool lacks where a server may be lost, or its standby take its place.
//!
//! To whoever is connected to it, a server that lost its power or its network is silent, and silence is no error: one would wait for ever. A server that was replaced but lives
//! goes on answering those who are connected to it, with what is old. So every so often a connection of its own asks who is there. When that is another server than before, statements under way are
//! given up and connections that were made before are closed. And what takes longer than Postgres would let it is given up too, unless it is a commit that waits for its standby:
//! to end such a wait would not end the commit, and the next one would wait like it.

use std::fmt::Debug;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTransaction, PgTypeInfo,
    Postgres,
};
use sqlx::{Connection as _, Describe, Either, Execute, Executor, PgPool, SqlStr};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_stream::Stream;

use super::{ATTEMPT_MAX, ConnectError, connect_once, credentials};
use crate::config::PostgresConfig;

/// How often it is asked who is there. A failover takes seconds; a connection takes both sides some milliseconds of processor time.
const LOOK_PERIOD: Duration = Duration::from_secs(2);
/// What a statement is given beyond the time after which Postgres itself ends it.
const GRACE: Duration = Duration::from_secs(2);
/// For pools that nobody configured: tests'.
const UNLIMITED: Duration = Duration::from_secs(24 * 60 * 60);

/// Another answer: another server, or the same one started anew.
const WHO: &str = "SELECT pg_postmaster_start_time()::text";
/// Whether somebody like us has been waiting for so many seconds for a standby to have his commit.
const WAITS_FOR_STANDBY: &str = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE usename = current_user
    AND wait_event = 'SyncRep' AND query_start < clock_timestamp() - make_interval(secs => $1))";

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type BoxStream<'a, T> = Pin<Box<dyn Stream<Item = T> + Send + 'a>>;
type Step = Result<Either<PgQueryResult, PgRow>, sqlx::Error>;

/// Connections to Postgres, wherever its address leads, on which nothing waits for ever. Clones share them.
#[derive(Debug, Clone)]
pub struct Pool {
    connections: PgPool,
    /// When the address last led to another server than before.
    moved: watch::Receiver<Option<Instant>>,
    limit: Duration,
}

impl Pool {
    /// A pool as the running role, each connection with the configured timeouts, after one connection has been made. `application_name` stands in `pg_stat_activity`. When a file
    /// with credentials changes, new connections have the new ones.
    ///
    /// # Errors
    /// When the URL is none, Postgres refuses the role, or it does not answer within `connect_seconds_max`.
    pub async fn connect(config: &PostgresConfig, application_name: &str) -> Result<Self, ConnectError> {
        let (report, moved) = watch::channel(None);
        let (pool, who) = Self::make(config, application_name, moved).await?;
        tokio::spawn(follow(pool.connections.clone(), report, who));
        Ok(pool)
    }

    /// Another pool to the same server, which learns from this one where the address leads.
    ///
    /// # Errors
    /// As [`Pool::connect`].
    pub async fn beside(&self, config: &PostgresConfig, application_name: &str) -> Result<Self, ConnectError> {
        Self::make(config, application_name, self.moved.clone()).await.map(|(pool, _who)| pool)
    }

    async fn make(
        config: &PostgresConfig,
        application_name: &str,
        moved: watch::Receiver<Option<Instant>>,
    ) -> Result<(Self, Option<String>), ConnectError> {
        let settings = [
            ("statement_timeout", config.statement_timeout_ms.to_string()),
            ("lock_timeout", config.lock_timeout_ms.to_string()),
            ("idle_in_transaction_session_timeout", config.idle_in_transaction_timeout_ms.to_string()),
            // Short statements only: compiling one that is estimated to be costly takes longer than running it.
            ("jit", "off".to_owned()),
        ];
        let name = application_name.to_owned();
        let finish = move |options: PgConnectOptions| options.application_name(&name).options(settings.clone());
        let options = finish(credentials::running(config)?);
        let mut first = connect_once(&options, config.connect_seconds_max).await?;
        let who = timeout(ATTEMPT_MAX, who(&mut first)).await.ok().flatten();
        // Only to learn that it can be had; the pool makes its own.
        drop(first.close().await);
        let limit = Duration::from_millis(config.statement_timeout_ms) + GRACE;
        let connections = connections(config, limit, &moved).connect_lazy_with(options);
        credentials::follow_files(&connections, config, finish);
        Ok((Self { connections, moved, limit }, who))
    }

    /// The connections themselves, for what has a limit of its own.
    #[must_use]
    pub const fn connections(&self) -> &PgPool {
        &self.connections
    }

    /// The same pool for statements that Postgres lets run for so long.
    #[must_use]
    pub fn for_statements_of(&self, statement_timeout: Duration) -> Self {
        Self { limit: statement_timeout + GRACE, ..self.clone() }
    }

    /// A connection.
    ///
    /// # Errors
    /// When none is free in time, or none can be made.
    pub async fn acquire(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        self.connections.acquire().await
    }

    /// A connection with a transaction begun. Its statements have no limit here but by [`Pool::within`].
    ///
    /// # Errors
    /// As [`Pool::acquire`], or when the connection is lost.
    pub async fn begin(&self) -> Result<PgTransaction<'static>, sqlx::Error> {
        self.within(self.connections.begin()).await
    }

    /// Waits for a statement, but not for a server that is gone.
    ///
    /// # Errors
    /// The work's own, or [`sqlx::Error::Io`] when it was given up: what was sent may have been done, or may yet be.
    pub async fn within<T, E: From<sqlx::Error>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let lost = self.lost();
        tokio::select! {
            biased;
            done = work => done,
            why = lost => Err(why.into()),
        }
    }

    /// Closes all connections once they are given back.
    pub async fn close(&self) {
        self.connections.close().await;
    }

    /// Ends when there is no point in waiting for the server that is there now, and says why.
    fn lost(&self) -> impl Future<Output = sqlx::Error> + Send + 'static {
        let mut moved = self.moved.clone();
        moved.mark_unchanged();
        let (connections, limit) = (self.connections.clone(), self.limit);
        async move {
            loop {
                match timeout(limit, moved.changed()).await {
                    Ok(Ok(())) => return given_up("the address leads to another server now"),
                    // Nobody looks any more.
                    Ok(Err(_)) => sleep(limit).await,
                    Err(_elapsed) => {}
                }
                if !waits_for_standby(&connections, limit / 2).await {
                    return given_up("no answer for longer than any statement may take");
                }
            }
        }
    }
}

/// A pool that follows no address, and whose statements have as much time as Postgres gives them.
impl From<PgPool> for Pool {
    fn from(connections: PgPool) -> Self {
        let (_nobody_looks, moved) = watch::channel(None);
        Self { connections, moved, limit: UNLIMITED }
    }
}

fn given_up(why: &'static str) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why))
}

/// Connections that are looked at, but not for ever, when they are handed out and when they come back.
fn connections(config: &PostgresConfig, limit: Duration, moved: &watch::Receiver<Option<Instant>>) -> PgPoolOptions {
    let acquire_max = Duration::from_millis(config.acquire_timeout_ms);
    let leads_here = |moved: &watch::Receiver<Option<Instant>>, age| {
        let moved = *moved.borrow();
        moved.is_none_or(|moved| moved.elapsed() > age)
    };
    let (before, after) = (moved.clone(), moved.clone());
    PgPoolOptions::new()
        .max_connections(config.pool_connections_max)
        .acquire_timeout(acquire_max)
        // It would wait for ever, and whoever wants the connection with it.
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            let leads_here = leads_here(&before, meta.age);
            // Half of the time is left to make another one.
            Box::pin(async move { Ok(leads_here && answers(connection, acquire_max / 2).await) })
        })
        .after_release(move |connection, meta| {
            let leads_here = leads_here(&after, meta.age);
            // Whoever gave up waiting left an answer under way.
            Box::pin(async move { Ok(leads_here && answers(connection, limit).await) })
        })
}

async fn answers(connection: &mut PgConnection, within: Duration) -> bool {
    matches!(timeout(within, connection.ping()).await, Ok(Ok(())))
}

/// Asks time and again who is there, until the pool is closed.
async fn follow(connections: PgPool, report: watch::Sender<Option<Instant>>, mut known: Option<String>) {
    let mut ticks = interval(LOOK_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut closed = connections.close_event();
    loop {
        tokio::select! {
            () = &mut closed => return,
            _ = ticks.tick() => {}
        }
        let there = on_a_connection_of_its_own(&connections, async |connection| who(connection).await);
        let there = tokio::select! {
            () = &mut closed => return,
            there = there => there,
        };
        // Nobody, or somebody who is just starting: who was there may come back.
        let Some(there) = there.flatten() else { continue };
        if known.as_ref().is_some_and(|known| *known != there) {
            tracing::warn!(
                "Postgres's address leads to another server now: connections to the one before are given up"
            );
            report.send_replace(Some(Instant::now()));
        }
        known = Some(there);
    }
}

async fn who(connection: &mut PgConnection) -> Option<String> {
    sqlx::query_scalar(WHO).fetch_one(connection).await.ok()
}

/// Whether a commit of somebody like us has been waiting for its standby for so long, where the address leads now.
async fn waits_for_standby(connections: &PgPool, so_long: Duration) -> bool {
    let waits = on_a_connection_of_its_own(connections, async |connection| {
        sqlx::query_scalar(WAITS_FOR_STANDBY).bind(so_long.as_secs_f64()).fetch_one(connection).await.ok()
    });
    waits.await.flatten().unwrap_or(false)
}

/// Asks over a new connection, for those that are there may lead nowhere; none if there is no answer.
async fn on_a_connection_of_its_own<T>(
    connections: &PgPool,
    ask: impl AsyncFnOnce(&mut PgConnection) -> T,
) -> Option<T> {
    let options = connections.connect_options();
    let asking = async {
        let mut connection = PgConnection::connect_with(&options).await.ok()?;
        let answer = ask(&mut connection).await;
        drop(connection.close().await);
        Some(answer)
    };
    timeout(ATTEMPT_MAX, asking).await.ok().flatten()
}

impl<'p> Executor<'p> for &'_ Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Step>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(Limited { steps: Some(self.connections.fetch_many(query)), lost: Box::pin(self.lost()) })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let (pool, answer) = (self.clone(), self.connections.fetch_optional(query));
        Box::pin(async move { pool.within(answer).await })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        let (pool, statement) = (self.clone(), self.connections.prepare_with(sql, parameters));
        Box::pin(async move { pool.within(statement).await })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        let (pool, description) = (self.clone(), self.connections.describe(sql));
        Box::pin(async move { pool.within(description).await })
    }
}

/// The answer to a statement, as far as it comes.
struct Limited<'e> {
    /// None once it was given up, so that the connection is let go.
    steps: Option<BoxStream<'e, Step>>,
    lost: BoxFuture<'e, sqlx::Error>,
}

impl Stream for Limited<'_> {
    type Item = Step;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Step>> {
        let Some(steps) = &mut self.steps else { return Poll::Ready(None) };
        if let Poll::Ready(step) = steps.as_mut().poll_next(context) {
            return Poll::Ready(step);
        }
        self.lost.as_mut().poll(context).map(|why| {
            self.steps = None;
            Some(Err(why))
        })
    }
}
