//! What people decided of quarantined numbers is carried out here, under keys that follow from the numbers' ids: however often, it has its effect once.

use super::{Broken, Runs};
use crate::convert;
use crate::fingerprint::{approved_key, decision_key};
use crate::model::{CountsOf, Quarantined, RowOutcome, Verdict};
use crate::peers::{AdjustError, PeerError};
use crate::store::StoreError;

impl Runs {
    /// Carries a decision out; false when the attempt broke off and the connection is to be let go.
    pub(super) async fn carry_out(&self, decided: &Quarantined) -> bool {
        let id = decided.quarantine_id;
        let done = match &decided.adjustments {
            Some(adjustments) => self.adjust(decided, adjustments).await,
            None => self.count(decided).await,
        };
        match &done {
            Ok(()) => tracing::info!(quarantine_id = %id, state = decided.state.name(), "a decision is carried out"),
            Err(broken) => {
                self.0.metrics.broken_off("decision");
                let pause = self.0.config.pause(decided.attempts);
                tracing::warn!(quarantine_id = %id, %broken, ?pause, "carrying a decision out broke off and will be repeated");
                if let Err(error) = self.0.store.postpone_decision(id, pause).await {
                    tracing::warn!(%error, "cannot put a decision off; it is taken up again after the lease");
                }
            }
        }
        self.0.steps.send_modify(|steps| *steps += 1);
        done.is_ok()
    }

    /// Tells reservation what a decided count comes to.
    async fn count(&self, decided: &Quarantined) -> Result<(), Broken> {
        let store = &self.0.store;
        let Some((line, place)) = store.settle_decision(decided).await? else { return Ok(()) };
        let found = store.connection(&decided.connection).await?;
        let found = found.ok_or_else(|| StoreError::UnknownConnection(decided.connection.clone()))?;
        let class = match decided.run_id {
            Some(run_id) => store.begin_run(run_id).await?.1,
            None => found.connection.content.class,
        };
        let of = CountsOf {
            run_id: decided.run_id.unwrap_or_default(),
            connection: decided.connection.clone(),
            location: decided.location.clone(),
            moment: decided.moment,
            place,
            class,
            covers_all: false,
        };
        let key = |moment| decision_key(decided.quarantine_id, moment);
        let mut told = self.0.peers.apply(key(decided.decided_at()), &of, std::slice::from_ref(&line)).await;
        if let Err(PeerError::Key(_)) = told {
            // Decided longer ago than reservation remembers. A row takes a number of one moment once, so it may be said under another key.
            told = self.0.peers.apply(key(time::OffsetDateTime::now_utc()), &of, &[line]).await;
        }
        match told {
            Ok(verdicts) => {
                let outcome = verdicts.first().map(|verdict| verdict.outcome);
                store.end_decision(decided, outcome, "").await?;
            }
            Err(PeerError::Counts(refused)) => {
                let note = refused.first().map(|Verdict { note, .. }| note.clone()).unwrap_or_default();
                store.end_decision(decided, Some(RowOutcome::Rejected), &note).await?;
            }
            Err(PeerError::Request(message)) if decided.attempts >= super::apply::REFUSALS_MAX => {
                let note = format!("reservation refuses it: {message}");
                store.end_decision(decided, Some(RowOutcome::Rejected), &note).await?;
            }
            Err(later @ (PeerError::Later { .. } | PeerError::Request(_) | PeerError::Key(_))) => {
                return Err(later.into());
            }
        }
        Ok(())
    }

    /// Has reservation make approved adjustments. What it refuses is over: nothing was changed.
    async fn adjust(&self, decided: &Quarantined, adjustments: &[u8]) -> Result<(), Broken> {
        let request = convert::kept_adjustments(adjustments)?;
        let adjustments = request.adjustments.iter().map(convert::adjustment).collect();
        let key = approved_key(decided.quarantine_id, decided.decided_at());
        match self.0.peers.adjust(key, adjustments, &request.actor, &request.note).await {
            Ok(_) => self.0.store.end_decision(decided, Some(RowOutcome::Applied), "").await?,
            Err(AdjustError::Refused { message, .. }) => {
                self.0.store.end_decision(decided, Some(RowOutcome::Rejected), &message).await?;
            }
            Err(AdjustError::Later(later)) => return Err(later.into()),
        }
        Ok(())
    }
}
