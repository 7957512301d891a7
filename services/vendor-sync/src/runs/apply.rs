//! The second half of a run: its counts go to reservation, batch by batch, each under its own key.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::{Broken, Claim, Runs};
use crate::model::{Batch, CountLine, CountsOf, Promise, RowOutcome, Run, Verdict};
use crate::peers::PeerError;

/// How many attempts in a row reservation may refuse a request as a whole, before its counts are given up as rejected. Patience is for an as_of that is
/// ahead of reservation's clock and within its limit a moment later.
pub(super) const REFUSALS_MAX: u32 = 10;

impl Runs {
    /// Hands over every batch that was not acknowledged. After a failure no other is begun, and those under way are waited for.
    pub(super) async fn apply(&self, claim: &Arc<Claim>, run: &Run, of: &CountsOf) -> Result<(), Broken> {
        let mut batches = self.0.store.open_batches(run.run_id).await?.into_iter();
        let mut under_way: JoinSet<Result<(), Broken>> = JoinSet::new();
        let mut done = Ok(());
        loop {
            while done.is_ok() && under_way.len() < self.0.apply_at_once_max {
                let Some(batch) = batches.next() else { break };
                let (runs, claim, run, of) = (self.clone(), Arc::clone(claim), run.clone(), of.clone());
                under_way.spawn(async move { runs.apply_batch(&claim, &run, &of, batch).await }.in_current_span());
            }
            match under_way.join_next().await {
                Some(result) => done = done.and(result.map_err(Broken::from).flatten()),
                None => return done,
            }
        }
    }

    /// Tells reservation that the run was applied whole, unless it is stale as a whole or the shop's own, which promises nothing.
    pub(super) async fn complete(&self, run: &Run, of: &CountsOf, promise: Promise) -> Result<(), Broken> {
        if run.is_house() || !self.0.store.is_accepted(run.run_id).await? {
            return Ok(());
        }
        match self.0.peers.complete(of, promise).await {
            Err(PeerError::Request(message)) if run.attempts >= REFUSALS_MAX => {
                tracing::error!(message, "reservation does not take a run's end; its feed stays as old as it was");
                Ok(())
            }
            done => Ok(done?),
        }
    }

    /// Hands over one batch until reservation takes what is left of it.
    async fn apply_batch(&self, claim: &Claim, run: &Run, of: &CountsOf, mut batch: Batch) -> Result<(), Broken> {
        let (store, peers) = (&self.0.store, &self.0.peers);
        loop {
            claim.proceed()?;
            let counts = store.batch_counts(run.run_id, &batch).await?;
            if counts.is_empty() {
                store.acknowledge(run.run_id, &batch, &[]).await?;
                return Ok(());
            }
            let started = Instant::now();
            match peers.apply(batch.request_id, of, &counts).await {
                Ok(verdicts) => {
                    self.0.metrics.applied(started.elapsed());
                    store.acknowledge(run.run_id, &batch, &verdicts).await?;
                    return Ok(());
                }
                Err(PeerError::Counts(refused)) => {
                    batch = store.revise(run.run_id, &batch, &refused).await?;
                }
                Err(PeerError::Request(message)) if run.attempts >= REFUSALS_MAX => {
                    tracing::error!(
                        batch = batch.number,
                        message,
                        "reservation does not take a batch; its rows are rejected"
                    );
                    store.acknowledge(run.run_id, &batch, &rejected(&counts, &message)).await?;
                    return Ok(());
                }
                Err(later @ (PeerError::Later { .. } | PeerError::Request(_))) => return Err(later.into()),
            }
        }
    }
}

fn rejected(counts: &[CountLine], message: &str) -> Vec<Verdict> {
    let verdict = |line: &CountLine| Verdict {
        sku: line.sku.clone(),
        outcome: RowOutcome::Rejected,
        previous_on_hand: None,
        shortfall: None,
        note: format!("reservation refuses it: {message}"),
    };
    counts.iter().map(verdict).collect()
}
