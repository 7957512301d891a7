//! One connection to one Redis, kept alive and guarded by the breaker.
//!
//! Why not redis-rs's ConnectionManager: it replaces a connection only when a call on it fails with a broken pipe or the like. A connection that went silent (a
//! stopped Redis, a cut network) would stay, and calls would wait for a reconnection without a limit. Here a call never connects and never waits for a connection:
//! a task of its own does, and until it succeeds the answer is at once that Redis is not asked.
//!
//! Every connection is opened by name and with credentials read anew, so that a failover behind a name and a new password are followed.

use super::access::{self, Target};
use super::breaker::{Breaker, Epoch, Setback};
use super::config::GateConfig;
use super::metrics::{GateMetrics, Outcome};
use super::scripts::{self, Call};
use super::turns::Turns;
use holdfast_kit::Fill;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, ErrorKind, Pipeline, RedisError, Value};
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
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

/// Told when a link has become usable, and when it has stopped being so.
pub(super) type OnChange = Arc<dyn Fn(bool) + Send + Sync>;

/// The connection and the task that looks after it, which ends with it.
#[derive(Debug)]
pub(super) struct Link {
    shared: Arc<Shared>,
    supervisor: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

impl Link {
    /// Tries once to connect, then leaves it to a task of its own to connect, watch and reconnect.
    pub(super) async fn connect(
        target: Target,
        config: &GateConfig,
        metrics: GateMetrics,
        on_change: OnChange,
    ) -> Self {
        let shared = Shared::new(target, config, metrics, on_change);
        let mut supervisor = Supervisor { shared: shared.clone(), last_complaint: None };
        supervisor.reconnect().await;
        Self { shared, supervisor: tokio::spawn(supervisor.run()).abort_handle() }
    }

    /// As [`Link::connect`], but the first try is made by the task too.
    pub(super) fn start(target: Target, config: &GateConfig, metrics: GateMetrics, on_change: OnChange) -> Self {
        let shared = Shared::new(target, config, metrics, on_change);
        let supervisor = Supervisor { shared: shared.clone(), last_complaint: None };
        Self { shared, supervisor: tokio::spawn(supervisor.run()).abort_handle() }
    }

    /// Sends commands in one round trip; one answer per command, in order, which may be an error of Redis. A script that
    /// Redis does not know is loaded and called again, once. Waits for its turn, then at most the response timeout.
    ///
    /// # Errors
    /// [`Failure`], already counted in the metrics. Only with [`Failure::NotAsked`] is it sure that nothing was done.
    pub(super) async fn ask(&self, call: Call, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
        self.shared.ask(call, commands, false).await
    }

    /// As [`Link::ask`], for keys whose slot is on its way to this node.
    ///
    /// # Errors
    /// As [`Link::ask`].
    pub(super) async fn ask_ahead(&self, call: Call, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
        self.shared.ask(call, commands, true).await
    }

    /// The probe to try the connection with from now on: in a cluster one whose slot this node has.
    pub(super) fn probe_with(&self, number: u32) {
        self.shared.probe.store(number, Ordering::Relaxed);
    }

    /// The probe that the connection is tried with.
    pub(super) fn probe(&self) -> u32 {
        self.shared.probe.load(Ordering::Relaxed)
    }

    /// Whether Redis is asked at present.
    pub(super) fn is_up(&self) -> bool {
        self.shared.state().breaker.admit().is_some()
    }

    /// How many calls have their turn or wait for one.
    pub(super) fn fill(&self) -> Fill {
        self.shared.turns.fill()
    }
}

struct Shared {
    target: Target,
    probe: AtomicU32,
    on_change: OnChange,
    config: GateConfig,
    metrics: GateMetrics,
    state: Mutex<State>,
    turns: Turns,
    /// The breaker has opened: the supervisor has something to do.
    opened: Notify,
}

impl fmt::Debug for Shared {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Shared").field("target", &self.target).field("state", &self.state).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct State {
    breaker: Breaker,
    connection: Option<MultiplexedConnection>,
}

impl Shared {
    fn new(target: Target, config: &GateConfig, metrics: GateMetrics, on_change: OnChange) -> Arc<Self> {
        let breaker = Breaker::new(config.breaker_failures_max, config.probe_interval(), Instant::now());
        Arc::new(Self {
            target,
            probe: AtomicU32::new(0),
            on_change,
            config: config.clone(),
            metrics,
            state: Mutex::new(State { breaker, connection: None }),
            turns: Turns::new(config.calls_in_flight_max, config.queue_calls_max),
            opened: Notify::new(),
        })
    }

    /// The state has no moments in which it would be half changed, so a panic elsewhere does not spoil it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, call: Call, commands: &Pipeline, ahead: bool) -> Result<Vec<Value>, Failure> {
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
        let answers = within(self.config.response_timeout(), exchange(&mut connection, commands, ahead)).await;
        self.metrics.took(call, started.elapsed());
        match answers {
            Some(Ok(answers)) => {
                match worst_fault(&answers, &self.target) {
                    Some((fault, setback)) => self.failed(epoch, setback, fault.name()),
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
            tracing::warn!(redis = %self.target, cause, "Redis is not asked any more; requests go past the gate until it answers a probe");
            self.opened.notify_one();
            (self.on_change)(false);
        }
    }
}

/// Sends, and loads and sends again what Redis did not know.
async fn exchange(
    connection: &mut MultiplexedConnection,
    commands: &Pipeline,
    ahead: bool,
) -> Result<Vec<Value>, RedisError> {
    let mut answers = send(connection, commands, ahead).await?;
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
            if ahead {
                again.add_command(scripts::asking());
            }
            again.add_command(command.clone());
        }
    }
    let each = 1 + usize::from(ahead);
    let mut second = answers_to(connection, &again).await?.into_iter().skip(loads + each - 1).step_by(each);
    for answer in answers.iter_mut().filter(|answer| scripts::is_no_script(answer)) {
        if let Some(better) = second.next() {
            *answer = better;
        }
    }
    Ok(answers)
}

/// One answer for each command. `ahead`: each goes to a node that does not have its slot yet, and says so.
async fn send(
    connection: &mut MultiplexedConnection,
    commands: &Pipeline,
    ahead: bool,
) -> Result<Vec<Value>, RedisError> {
    if ahead {
        let mut pairs = Pipeline::with_capacity(2 * commands.len());
        for command in commands.cmd_iter() {
            pairs.add_command(scripts::asking());
            pairs.add_command(command.clone());
        }
        let answers = answers_to(connection, &pairs).await?;
        return Ok(answers.into_iter().skip(1).step_by(2).collect());
    }
    answers_to(connection, commands).await
}

async fn answers_to(connection: &mut MultiplexedConnection, commands: &Pipeline) -> Result<Vec<Value>, RedisError> {
    let answers = connection.send_packed_commands(commands, 0, commands.len()).await?;
    if answers.len() == commands.len() {
        Ok(answers)
    } else {
        Err(RedisError::from((ErrorKind::UnexpectedReturnType, "not one answer per command")))
    }
}

/// An answer that says that the server as a whole cannot do the gate's work now, so that another connection might.
fn worst_fault(answers: &[Value], target: &Target) -> Option<(Outcome, Setback)> {
    answers.iter().find_map(|answer| match answer {
        // It does not pass by waiting: whatever has the name now may be another server.
        Value::ServerError(error) if scripts::is_demoted(error) => Some((Outcome::ReadOnly, Setback::Lost)),
        Value::ServerError(error) => match scripts::outcome_of(error) {
            fault @ (Outcome::ReadOnly | Outcome::Loading | Outcome::Denied) => Some((fault, Setback::Slow)),
            // A single Redis that has only some slots is none.
            fault @ Outcome::Moving if *target == Target::Configured => Some((fault, Setback::Slow)),
            _ => None,
        },
        _ => None,
    })
}

/// Opens connections, one at a time, while the breaker is open, and watches the one in use while it is closed.
struct Supervisor {
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
        commands.add_command(scripts::probe(self.shared.probe.load(Ordering::Relaxed)));
        if let Ok(answers) = self.shared.ask(Call::Probe, &commands, false).await {
            self.shared.metrics.call(Call::Probe, outcome(&answers));
        }
    }

    async fn reconnect(&mut self) {
        let shared = &self.shared;
        match open(shared).await {
            Ok(connection) => {
                let mut state = shared.state();
                state.connection = Some(connection);
                state.breaker.probe_succeeded();
                drop(state);
                shared.metrics.call(Call::Probe, Outcome::Done);
                self.last_complaint = None;
                tracing::info!(redis = %shared.target, "Redis is asked");
                (shared.on_change)(true);
            }
            Err(complaint) => {
                shared.state().breaker.probe_failed(Instant::now());
                shared.metrics.call(Call::Probe, Outcome::Failed);
                if self.last_complaint.as_ref() != Some(&complaint) {
                    tracing::warn!(redis = %shared.target, %complaint, "Redis cannot be asked");
                    self.last_complaint = Some(complaint);
                }
            }
        }
    }
}

/// Opens a connection, loads the scripts and tries whether it can do the gate's work in the time that a call has.
async fn open(shared: &Shared) -> Result<MultiplexedConnection, String> {
    let config = &shared.config;
    let mut connection = dial(config, &shared.target).await?;
    let mut commands = Pipeline::new();
    for load in scripts::load() {
        commands.add_command(load);
    }
    let loading = send(&mut connection, &commands, false);
    accepted(&step(config.connect_timeout(), "loading scripts", loading).await?, &shared.target)?;
    let mut commands = Pipeline::new();
    commands.add_command(scripts::probe(shared.probe.load(Ordering::Relaxed)));
    let probing = send(&mut connection, &commands, false);
    accepted(&step(config.response_timeout(), "a script that writes", probing).await?, &shared.target)?;
    Ok(connection)
}

/// Opens a connection, as whoever the configuration says now.
///
/// # Errors
/// Why there is none, in words for the log.
pub(super) async fn dial(config: &GateConfig, target: &Target) -> Result<MultiplexedConnection, String> {
    let client = access::client(config, target)?;
    let has_tls = matches!(client.get_connection_info().addr(), ConnectionAddr::TcpTls { .. });
    // The limits on time are this file's: the library's do not cover the wait for room in its queue.
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(config.calls_in_flight_max);
    step(config.connect_timeout(), "connecting", async {
        client.get_multiplexed_async_connection_with_config(&settings).await
    })
    .await
    .map_err(|complaint| complaint.with_hint(has_tls, target))
}

/// Why a step was not done.
enum Complaint {
    Failed(&'static str, RedisError),
    NoAnswer(&'static str, Duration),
}

impl Complaint {
    /// In words, and what to look at when the two ends seem to speak differently: one hangs up on the other, or waits for the end of what it takes for a command.
    fn with_hint(self, has_tls: bool, target: &Target) -> String {
        let is_odd = match &self {
            Self::Failed(_, error) if error.is_connection_refusal() || is_about_a_certificate(error) => false,
            Self::Failed(_, error) => error.is_io_error() || error.is_connection_dropped(),
            Self::NoAnswer(..) => has_tls,
        };
        let is_misnamed = matches!(&self, Self::Failed(_, error) if error.to_string().contains("not valid for name"));
        let hint = match (is_odd, has_tls) {
            _ if is_misnamed && matches!(target, Target::Node(_)) => {
                " (a node's certificate must name what the cluster tells clients: its address, or with cluster-preferred-endpoint-type hostname its host name)"
            }
            (false, _) => "",
            (true, true) => " (where Redis has no TLS, gate.url begins with redis://)",
            (true, false) => " (where Redis wants TLS, gate.url begins with rediss://)",
        };
        format!("{}{hint}", String::from(self))
    }
}

/// What TLS complains of by itself needs no guess.
fn is_about_a_certificate(error: &RedisError) -> bool {
    error.to_string().contains("certificate")
}

impl From<Complaint> for String {
    fn from(complaint: Complaint) -> Self {
        match complaint {
            Complaint::Failed(what, error) => format!("{what}: {error}"),
            Complaint::NoAnswer(what, limit) => format!("{what}: no answer within {} ms", limit.as_millis()),
        }
    }
}

async fn step<T>(
    limit: Duration,
    what: &'static str,
    work: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, Complaint> {
    match within(limit, work).await {
        Some(Ok(done)) => Ok(done),
        Some(Err(error)) => Err(Complaint::Failed(what, error)),
        None => Err(Complaint::NoAnswer(what, limit)),
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

/// Fails on the first answer that is an error. A node of a cluster that has lost the probe's slot to another is well.
fn accepted(answers: &[Value], target: &Target) -> Result<(), String> {
    answers.iter().try_for_each(|answer| match answer {
        Value::ServerError(error) if scripts::outcome_of(error) == Outcome::Moving => match target {
            Target::Configured => Err(format!("{error}: it is a node of a cluster, say gate.mode = \"cluster\"")),
            Target::Node(_) => Ok(()),
        },
        Value::ServerError(error) => Err(error.to_string()),
        _ => Ok(()),
    })
}

/// How a round trip ended that expected no particular answers.
pub(super) fn outcome<'a>(answers: impl IntoIterator<Item = &'a Value>) -> Outcome {
    let fault = answers.into_iter().find_map(|answer| match answer {
        Value::ServerError(error) => Some(scripts::outcome_of(error)),
        _ => None,
    });
    fault.unwrap_or(Outcome::Done)
}
