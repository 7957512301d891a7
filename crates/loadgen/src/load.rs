//! Plain load: so many callers who reserve one SKU, or some, one call after the other.

use std::sync::Arc;
use std::time::Duration;

use holdfast_client::api::reservation::v1::ReadSource;
use holdfast_client::{
    BuildError, Connection, Line, ReservationClient, ReservationKey, Reserve, RetryPolicy, Settings, StockClient,
};

use crate::history::{Answer, History, Recorder};

/// What to load.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Where reservation listens; several for several replicas.
    pub endpoints: Vec<String>,
    /// Who calls; `None` where no token is needed.
    pub token: Option<String>,
    /// The SKUs that are wanted, each call another one in turn; at least one.
    pub skus: Vec<String>,
    /// Units in a reservation.
    pub quantity: i64,
    /// Callers at once.
    pub callers: usize,
    /// Reservations that each makes, one after the other.
    pub reservations_per_caller: usize,
    /// How long to hold; `None` for the server's default.
    pub hold: Option<Duration>,
    /// How long a call may take before its caller gives it up.
    pub deadline: Duration,
    /// How often a caller tries a reservation again (same key) while the service is busy or the outcome is unknown.
    pub attempts_max: u32,
    /// HTTP/2 connections to each endpoint.
    pub connections: usize,
}

impl Spec {
    /// 64 callers who reserve one unit a hundred times each.
    pub fn new(endpoint: impl Into<String>, sku: impl Into<String>) -> Self {
        Self {
            endpoints: vec![endpoint.into()],
            token: None,
            skus: vec![sku.into()],
            quantity: 1,
            callers: 64,
            reservations_per_caller: 100,
            hold: None,
            deadline: Duration::from_secs(10),
            attempts_max: 20,
            connections: 2,
        }
    }
}

/// Makes the load and hands back its history.
///
/// # Errors
/// [`BuildError`] if an endpoint or the token cannot be used: nothing was sent. Calls that fail are no error, they are in the history.
pub async fn run(spec: &Spec) -> Result<History, BuildError> {
    let connection = connect(&spec.endpoints, spec.token.as_deref(), spec.connections)?;
    let recorder = Arc::new(Recorder::new(ReservationClient::new(&connection), spec.callers.max(1)));
    let spec = Arc::new(spec.clone());
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..spec.callers {
        let (recorder, spec) = (Arc::clone(&recorder), Arc::clone(&spec));
        callers.spawn(async move {
            for number in 0..spec.reservations_per_caller {
                reserve_until_known(&recorder, &spec, caller, number).await;
            }
        });
    }
    callers.join_all().await;
    let recorder = Arc::into_inner(recorder).expect("all callers have ended");
    Ok(recorder.finish())
}

/// Asks what could be reserved of 1 to 1,000 SKUs, as a page of the shop does.
///
/// # Errors
/// The endpoint cannot be used, or the service did not answer. Asking changes nothing.
pub async fn look(endpoint: &str, skus: Vec<String>) -> anyhow::Result<()> {
    let connection = connect(&[endpoint.to_owned()], None, 1)?;
    StockClient::new(&connection).batch_get_availability(skus, ReadSource::Unspecified).await?;
    Ok(())
}

/// A connection that never retries by itself, for callers that write down each attempt.
pub(crate) fn connect(
    endpoints: &[String],
    token: Option<&str>,
    connections_per_endpoint: usize,
) -> Result<Connection, BuildError> {
    let settings = Settings {
        attempt_timeout: Duration::from_secs(60),
        connections_per_endpoint,
        retry: RetryPolicy::NEVER,
        ..Settings::default()
    };
    let mut builder = Connection::builder_with(endpoints.iter().cloned(), settings);
    if let Some(token) = token {
        builder = builder.token(token);
    }
    builder.build()
}

async fn reserve_until_known(recorder: &Recorder, spec: &Spec, caller: usize, number: usize) {
    let turn = number.wrapping_mul(spec.callers).wrapping_add(caller);
    let line = Line::anywhere(&spec.skus[turn % spec.skus.len()], spec.quantity);
    let mut reserve = Reserve::new(ReservationKey::new(), format!("load-{caller}-{number}"), [line]);
    if let Some(hold) = spec.hold {
        reserve = reserve.hold_for(hold);
    }
    let mut attempt = 1;
    for _ in 0..spec.attempts_max.max(1) {
        match recorder.reserve(caller, &reserve, attempt, spec.deadline).await {
            Answer::Done { .. } | Answer::SoldOut(_) | Answer::Refused(_) => return,
            Answer::Busy(pause) => tokio::time::sleep(pause.unwrap_or(BUSY_PAUSE)).await,
            // Only an open attempt makes the next one a marked retry.
            Answer::Unknown(_) => attempt += 1,
        }
    }
}

/// The pause after a no without a time in it.
pub(crate) const BUSY_PAUSE: Duration = Duration::from_millis(50);
