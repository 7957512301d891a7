//! One connection to Redis, kept alive and guarded by the breaker.
//!
//! Why not redis-rs's ConnectionManager: it replaces a connection only when a call on it fails with a broken pipe or the like. A connection that went silent (a
//! stopped Redis, a cut network) would stay, and calls would wait for a reconnection without a limit. Here a call never connects and never waits for a connection:
//! a task of its own does, and until it succeeds the answer is at once that Redis is not asked.

use super::breaker::{Breaker, Epoch, Setback};
use super::config::GateConfig;
use super::metrics::{GateMetrics, Outcome};
use super::scripts::{self, Call};
use super::turns::Turns;
use holdfast_kit::Fill;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo as _, Pipeline, ProtocolVersion, RedisError, Value,
};
use secrecy::ExposeSecret as _;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Redis counts as dead, or too many calls wait; it was not asked.
    NotAsked,
    /// It was asked and did not answer in time.
    TimedOut,
    /// It was asked and the connection broke.
    Lost,
}

/// The connection and the task that looks after it, which ends with it.
#[derive(Debug)]
pub(super) struct Link {
    shared: Arc<Shared>,
    /// None if the configuration's URL cannot be used: the gate stays down.
    supervisor: Option<AbortHandle>,
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.abort();
        }
    }
}

impl Link {
    /// Tries once to connect, then leaves it to a task of its own to connect, watch and reconnect.
    pub(super) async fn connect(config: &GateConfig, metrics: GateMetrics) -> Self {
        let breaker = Breaker::new(config.breaker_failures_max, config.probe_interval(), Instant::now());
        let shared = Arc::new(Shared {
            config: config.clone(),
            metrics,
            state: Mutex::new(State { breaker, connection: None }),
            turns: Turns::new(config.calls_in_flight_max, config.queue_calls_max),
            opened: Notify::new(),
        });
        shared.metrics.up(false);
        let Some(client) = client(config) else {
            tracing::error!("the gate has no usable Redis URL: every request goes to Postgres");
            return Self { shared, supervisor: None };
        };
        let mut supervisor = Supervisor { client, shared: shared.clone(), last_complaint: None };
        supervisor.reconnect().await;
        let supervisor = Some(tokio::spawn(supervisor.run()).abort_handle());
        Self { shared, supervisor }
    }

    /// Sends commands in one round trip; one answer per command, in order, which may be an error of Redis. A script that
    /// Redis does not know is loaded and called again, once. Waits for its turn, then at most the response timeout.
    ///
    /// # Errors
    /// [`Failure`], already counted in the metrics. Only with [`Failure::NotAsked`] is it sure that nothing was done.
    pub(super) async fn ask(&self, call: Call, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
        self.shared.ask(call, commands).await
    }

    /// Whether Redis is asked at present.
    pub(super) fn is_up(&self) -> bool {
        self.shared.state().breaker.admit().is_some()
    }

    /// How many calls have their turn or wait for one.
    pub(super) fn fill(&self) -> Fill {
        self.shared.turns.fill()
    }

    /// Counts a call that was answered.
    pub(super) fn count(&self, call: Call, outcome: Outcome) {
        self.shared.metrics.call(call, outcome);
    }
}

#[derive(Debug)]
struct Shared {
    config: GateConfig,
    metrics: GateMetrics,
    state: Mutex<State>,
    turns: Turns,
    /// The breaker has opened: the supervisor has something to do.
    opened: Notify,
}

#[derive(Debug)]
struct State {
    breaker: Breaker,
    connection: Option<MultiplexedConnection>,
}

impl Shared {
    /// The state has no moments in which it would be half changed, so a panic elsewhere does not spoil it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, call: Call, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
        if self.admit().is_none() {
            return Err(self.not_asked(call, Outcome::NotAsked));
        }
        let Some(_turn) = self.turns.wait().await else {
            return Err(self.not_asked(call, Outcome::Crowded));
        };
        // Meanwhile those before it may have found Redis dead.
        let Some((mut connection, epoch)) = self.admit() else {
            return Err(self.not_asked(call, Outcome::NotAsked));
        };
        let started = Instant::now();
        let answers = within(self.config.response_timeout(), exchange(&mut connection, commands)).await;
        self.metrics.took(call, started.elapsed());
        match answers {
            Some(Ok(answers)) => {
                match worst_fault(&answers) {
                    Some(fault) => self.failed(epoch, Setback::Slow, fault.name()),
                    None => self.state().breaker.succeeded(epoch),
                }
                Ok(answers)
            }
            Some(Err(error)) => {
                self.metrics.call(call, Outcome::Lost);
                self.failed(epoch, Setback::Lost, &error.to_string());
                Err(Failure::Lost)
            }
            None => {
                self.metrics.call(call, Outcome::TimedOut);
                self.failed(epoch, Setback::Slow, Outcome::TimedOut.name());
                Err(Failure::TimedOut)
            }
        }
    }

    fn not_asked(&self, call: Call, outcome: Outcome) -> Failure {
        self.metrics.call(call, outcome);
        Failure::NotAsked
    }

    fn admit(&self) -> Option<(MultiplexedConnection, Epoch)> {
        let state = self.state();
        let epoch = state.breaker.admit()?;
        Some((state.connection.clone()?, epoch))
    }

    fn failed(&self, epoch: Epoch, setback: Setback, cause: &str) {
        let mut state = self.state();
        if state.breaker.failed(epoch, setback, Instant::now()) {
            state.connection = None;
            drop(state);
            self.metrics.up(false);
            tracing::warn!(cause, "Redis is not asked any more; requests go past the gate until it answers a probe");
            self.opened.notify_one();
        }
    }
}

/// Sends, and loads and sends again what Redis did not know.
async fn exchange(connection: &mut MultiplexedConnection, commands: &Pipeline) -> Result<Vec<Value>, RedisError> {
    let mut answers = send(connection, commands).await?;
    if !answers.iter().any(scripts::is_no_script) {
        return Ok(answers);
    }
    let mut again = Pipeline::new();
    for load in scripts::load() {
        again.add_command(load);
    }
    let loads = again.len();
    for (command, answer) in commands.cmd_iter().zip(&answers) {
        if scripts::is_no_script(answer) {
            again.add_command(command.clone());
        }
    }
    let mut second = send(connection, &again).await?.into_iter().skip(loads);
    for answer in answers.iter_mut().filter(|answer| scripts::is_no_script(answer)) {
        if let Some(better) = second.next() {
            *answer = better;
        }
    }
    Ok(answers)
}

async fn send(connection: &mut MultiplexedConnection, commands: &Pipeline) -> Result<Vec<Value>, RedisError> {
    let answers = connection.send_packed_commands(commands, 0, commands.len()).await?;
    if answers.len() == commands.len() {
        Ok(answers)
    } else {
        Err(RedisError::from((ErrorKind::UnexpectedReturnType, "not one answer per command")))
    }
}

/// An answer that says that the server as a whole cannot do the gate's work now, so that another connection might.
fn worst_fault(answers: &[Value]) -> Option<Outcome> {
    answers.iter().find_map(|answer| match answer {
        Value::ServerError(error) => match scripts::outcome_of(error) {
            fault @ (Outcome::ReadOnly | Outcome::Loading | Outcome::Denied) => Some(fault),
            _ => None,
        },
        _ => None,
    })
}

fn client(config: &GateConfig) -> Option<Client> {
    let info = config.url.expose_secret().into_connection_info().ok()?;
    // RESP2, so that a URL cannot change the form of answers; no CLIENT SETINFO, which the Redis user may not do.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true)).set_redis_settings(settings);
    Client::open(info).ok()
}

/// Opens connections, one at a time, while the breaker is open, and watches the one in use while it is closed.
struct Supervisor {
    client: Client,
    shared: Arc<Shared>,
    /// What was last logged about not being able to connect, so that an outage fills no log.
    last_complaint: Option<String>,
}

impl Supervisor {
    async fn run(mut self) {
        loop {
            let pause = self.shared.state().breaker.probe_in(Instant::now());
            match pause {
                Some(pause) => {
                    sleep(pause).await;
                    self.reconnect().await;
                }
                None => {
                    // An idle connection is watched too, so that the first request after a pause does not find it dead.
                    if timeout(self.shared.config.heartbeat_interval(), self.shared.opened.notified()).await.is_err() {
                        self.heartbeat().await;
                    }
                }
            }
        }
    }

    async fn heartbeat(&self) {
        let mut commands = Pipeline::new();
        commands.add_command(scripts::probe());
        if let Ok(answers) = self.shared.ask(Call::Probe, &commands).await {
            self.shared.metrics.call(Call::Probe, outcome(&answers));
        }
    }

    async fn reconnect(&mut self) {
        let shared = &self.shared;
        match open(&self.client, &shared.config).await {
            Ok(connection) => {
                let mut state = shared.state();
                state.connection = Some(connection);
                state.breaker.probe_succeeded();
                drop(state);
                shared.metrics.up(true);
                shared.metrics.call(Call::Probe, Outcome::Done);
                self.last_complaint = None;
                tracing::info!("Redis is asked");
            }
            Err(complaint) => {
                shared.state().breaker.probe_failed(Instant::now());
                shared.metrics.call(Call::Probe, Outcome::Failed);
                if self.last_complaint.as_ref() != Some(&complaint) {
                    tracing::warn!(%complaint, "Redis cannot be asked");
                    self.last_complaint = Some(complaint);
                }
            }
        }
    }
}

/// Opens a connection, loads the scripts and tries whether it can do the gate's work in the time that a call has.
async fn open(client: &Client, config: &GateConfig) -> Result<MultiplexedConnection, String> {
    // The limits on time are this file's: the library's do not cover the wait for room in its queue.
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(config.calls_in_flight_max);
    let mut connection = step(config.connect_timeout(), "connecting", async {
        client.get_multiplexed_async_connection_with_config(&settings).await
    })
    .await?;
    let mut commands = Pipeline::new();
    for load in scripts::load() {
        commands.add_command(load);
    }
    accepted(&step(config.connect_timeout(), "loading scripts", send(&mut connection, &commands)).await?)?;
    let mut commands = Pipeline::new();
    commands.add_command(scripts::probe());
    accepted(&step(config.response_timeout(), "a script that writes", send(&mut connection, &commands)).await?)?;
    Ok(connection)
}

async fn step<T>(limit: Duration, what: &str, work: impl Future<Output = Result<T, RedisError>>) -> Result<T, String> {
    match within(limit, work).await {
        Some(Ok(done)) => Ok(done),
        Some(Err(error)) => Err(format!("{what}: {error}")),
        None => Err(format!("{what}: no answer within {} ms", limit.as_millis())),
    }
}

/// Waits so long for an answer. A timer that rings much too late tells of this process, which did not run, and not of Redis, whose answer may lie here unread: then it gets
/// the same time again.
async fn within<F: Future>(limit: Duration, answer: F) -> Option<F::Output> {
    let mut answer = pin!(answer);
    let started = Instant::now();
    match timeout(limit, &mut answer).await {
        Ok(answer) => Some(answer),
        Err(_elapsed) if started.elapsed() > limit * 3 / 2 => timeout(limit, answer).await.ok(),
        Err(_elapsed) => None,
    }
}

/// Fails on the first answer that is an error.
fn accepted(answers: &[Value]) -> Result<(), String> {
    answers.iter().try_for_each(|answer| match answer {
        Value::ServerError(error) => Err(error.to_string()),
        _ => Ok(()),
    })
}

/// How a round trip ended that expected no particular answers.
pub(super) fn outcome(answers: &[Value]) -> Outcome {
    let fault = answers.iter().find_map(|answer| match answer {
        Value::ServerError(error) => Some(scripts::outcome_of(error)),
        _ => None,
    });
    fault.unwrap_or(Outcome::Done)
}
