//! Tells reservation of selling policies and vendor-sync of offers: at least once, in order for each SKU, from where it was acknowledged. Never takes a change
//! for told that was not acknowledged.

mod courier;

pub use courier::{Courier, SendError};

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::RelayConfig;
use crate::metrics::Metrics;
use crate::model::SkuState;
use crate::store::{ChangesPage, Interest, Parked, Store, StoreError};

/// Who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The service reservation, of policies.
    Reservation,
    /// The service vendor-sync, of offers.
    VendorSync,
}

impl Destination {
    /// Its name in the table of relays, in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reservation => "reservation",
            Self::VendorSync => "vendor-sync",
        }
    }

    const fn interest(self) -> Interest {
        match self {
            Self::Reservation => Interest::Policy,
            Self::VendorSync => Interest::Offers,
        }
    }
}

/// Tells one destination. Every replica runs one; the one with the lease works, the others wait for it.
#[derive(Debug)]
pub struct Relay {
    store: Store,
    courier: Courier,
    config: RelayConfig,
    metrics: Arc<Metrics>,
    /// Rings when there are changes.
    bell: watch::Receiver<u64>,
    process: Uuid,
    failures: u32,
}

/// After how many seconds a SKU that was refused is tried again.
const PARKED_SECONDS: f64 = 600.0;

/// What to do after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// There may be more.
    Again,
    /// Nothing is left, or another process has the lease.
    Wait,
    /// It failed; somebody does not answer.
    Pause,
}

impl Relay {
    /// For a destination that `courier` reaches.
    #[must_use]
    pub fn new(
        store: Store,
        courier: Courier,
        config: RelayConfig,
        metrics: Arc<Metrics>,
        bell: watch::Receiver<u64>,
    ) -> Self {
        Self { store, courier, config, metrics, bell, process: Uuid::now_v7(), failures: 0 }
    }

    /// Tells until `shutdown` is cancelled; then it gives its lease back.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            // A turn runs to its end: it is bounded, and what was sent should be noted.
            let pause = match self.turn(&shutdown).await {
                Next::Again => continue,
                Next::Wait => self.config.lease() / 3,
                Next::Pause => self.config.pause(self.failures),
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
                // A destination that does not answer is not asked again because there is more to tell.
                Ok(()) = self.bell.changed(), if self.failures == 0 => {}
            }
        }
        if let Err(error) = self.store.release_relay(self.destination().name(), self.process).await {
            tracing::debug!(%error, "a relay's lease was not given back; it ends by itself");
        }
    }

    fn destination(&self) -> Destination {
        self.courier.destination()
    }

    async fn turn(&mut self, shutdown: &CancellationToken) -> Next {
        match self.tell(shutdown).await {
            Ok(next) => {
                if self.failures > 0 {
                    tracing::info!(destination = self.destination().name(), "the relay goes on");
                }
                self.failures = 0;
                next
            }
            Err(error) => {
                if self.failures == 0 {
                    let destination = self.destination().name();
                    tracing::warn!(destination, %error, "the relay waits; nothing is lost, it goes on where it was");
                }
                self.metrics.relay_failed(self.destination().name());
                self.failures = self.failures.saturating_add(1);
                Next::Pause
            }
        }
    }

    /// Tells a page of changes, and notes it.
    async fn tell(&mut self, shutdown: &CancellationToken) -> Result<Next, RelayError> {
        let destination = self.destination();
        let lease_seconds = self.config.lease().as_secs_f64();
        // Changes that come from here on ring again.
        self.bell.mark_unchanged();
        let Some(lease) = self.store.hold_relay(destination.name(), self.process, lease_seconds).await? else {
            return Ok(Next::Wait);
        };
        let from = match lease.cursor.clone() {
            Some(cursor) => cursor,
            None => self.store.beginning().await?,
        };
        let page = self.store.changes(&from, destination.interest(), self.config.batch_skus).await;
        let end = match page {
            Ok(ChangesPage { changed, end, more, .. }) => {
                let codes: Vec<&str> = changed.iter().map(|changed| changed.sku.as_str()).collect();
                let states = if codes.is_empty() { Vec::new() } else { self.store.states(&codes).await? };
                if !self.deliver(&states, shutdown).await? {
                    return Ok(Next::Wait);
                }
                Some((end, more))
            }
            Err(error @ (StoreError::ChangesDropped | StoreError::OtherLog)) => {
                tracing::warn!(destination = destination.name(), %error, "the relay begins again with everything");
                None
            }
            Err(error) => return Err(error.into()),
        };
        // To begin again is not hurried: whatever is wrong with the log must not become a flood.
        let (end, more) = end.map_or((None, false), |(end, more)| (Some(end), more));
        if end == lease.cursor {
            self.try_parked(shutdown).await?;
            return Ok(Next::Wait);
        }
        if !self.store.advance_relay(destination.name(), self.process, lease_seconds, end.as_ref()).await? {
            // Whoever has it now goes on from the old cursor; what was told twice is harmless.
            return Ok(Next::Wait);
        }
        Ok(if more { Next::Again } else { Next::Wait })
    }

    /// Tries again what was refused a while ago: the reason may have been the destination's.
    async fn try_parked(&self, shutdown: &CancellationToken) -> Result<(), RelayError> {
        let name = self.destination().name();
        let parked = self.store.parked(name, PARKED_SECONDS, self.config.batch_skus).await?;
        if !parked.is_empty() {
            let codes: Vec<&str> = parked.iter().map(String::as_str).collect();
            let states = self.store.states(&codes).await?;
            self.deliver(&states, shutdown).await?;
        }
        Ok(())
    }

    /// Sends SKUs in batches; false if another process has taken over meanwhile. A batch that is refused is halved until the SKU is found that is not taken;
    /// that one is parked.
    async fn deliver(&self, states: &[SkuState], shutdown: &CancellationToken) -> Result<bool, RelayError> {
        let name = self.destination().name();
        let mut batches: VecDeque<&[SkuState]> = self.batches(states).collect();
        while let Some(batch) = batches.pop_front() {
            if shutdown.is_cancelled() {
                return Err(RelayError::Ending);
            }
            // A turn may take many calls: each has the lease for itself.
            if self.store.hold_relay(name, self.process, self.config.lease().as_secs_f64()).await?.is_none() {
                return Ok(false);
            }
            match self.courier.send(batch, self.config.call_timeout()).await {
                Ok(()) => {
                    let skus: Vec<&str> = batch.iter().map(|state| state.sku.content.code.as_str()).collect();
                    self.store.unpark(name, &skus).await?;
                    self.metrics.relayed(name, batch.len());
                }
                Err(SendError::Later(why)) => return Err(RelayError::Destination(why)),
                Err(SendError::Refused(problem)) => match batch {
                    [] => {}
                    [one] => {
                        let (sku, version) = (one.sku.content.code.clone(), one.sku.version);
                        tracing::error!(destination = name, sku, version, problem, "a SKU was refused and is parked");
                        self.store.park(name, &Parked { sku, version, problem }).await?;
                    }
                    several => {
                        let (first, second) = several.split_at(several.len() / 2);
                        batches.push_front(second);
                        batches.push_front(first);
                    }
                },
            }
        }
        Ok(true)
    }

    /// Cuts SKUs into batches that the destination's limits let through.
    fn batches<'a>(&self, states: &'a [SkuState]) -> impl Iterator<Item = &'a [SkuState]> {
        let bytes_max = self.config.batch_bytes_max;
        let courier = self.courier.clone();
        let mut rest = states;
        std::iter::from_fn(move || {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|state| {
                bytes += courier.bytes(state);
                bytes <= bytes_max
            });
            // A single one that is too large goes alone: the destination may have another limit.
            let count = fits.count().max(1).min(rest.len());
            let (batch, left) = rest.split_at(count);
            rest = left;
            (!batch.is_empty()).then_some(batch)
        })
    }
}

/// Why a turn did not come to its end. What was not acknowledged is told again.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    /// The destination did not take it.
    #[error("{0}")]
    Destination(String),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This process ends.
    #[error("the process ends")]
    Ending,
}

/// Measures what a destination waits for, every so often until `shutdown` is cancelled. Every replica does: a destination that nobody tells is seen, too.
pub async fn measure(
    store: Store,
    destination: Destination,
    metrics: Arc<Metrics>,
    period: Duration,
    shutdown: CancellationToken,
) {
    loop {
        match store.relay_lag(destination.name(), destination.interest()).await {
            Ok(lag) => metrics.relay_lag(destination.name(), lag),
            Err(error) => tracing::debug!(%error, "a relay's lag cannot be measured"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
    }
}
