//! The first half of a run: its file is read, looked at as a whole, mapped by catalog's offers and planned. Nothing is applied yet.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use holdfast_feeds::formats::ParsedFile;
use holdfast_feeds::guards::file::{self, FileHistory};
use holdfast_feeds::guards::jump::RowLimits;
use holdfast_feeds::observation::Mode;
use holdfast_feeds::plan::{self, Beside, KnownKey};
use tokio::task::spawn_blocking;

use super::{Broken, Claim, Runs};
use crate::model::{Connection, Run, RunState};
use crate::offers::Offers;
use crate::store::{Planned, StoreError, Unplanned};

impl Runs {
    /// Stores what the run's rows come to; false if the run ended instead, because its file is refused or held.
    pub(super) async fn prepare(&self, claim: &Claim, run: &Run, connection: &Connection) -> Result<bool, Broken> {
        let store = &self.0.store;
        let schema = connection.content.layout.schema();
        let schema = schema.map_err(|problems| StoreError::Unreadable(format!("a schema: {problems:?}")))?;
        let content = store.content(run.run_id).await?;
        let rows_max = self.0.config.rows_max;
        // Reading a large file takes as long as a thousand requests: not on the threads that serve them.
        let file = match spawn_blocking(move || schema.parse(&content, rows_max)).await? {
            Ok(file) => Arc::new(file),
            Err(refusal) => {
                let (state, reason) = (RunState::Refused, refusal.to_string());
                store.end_unplanned(run.run_id, &Unplanned { state, reason, rows: 0, rejected: Vec::new() }).await?;
                return Ok(false);
            }
        };
        claim.proceed()?;
        let batch_counts = self.0.config.batch_counts;
        if is_stale(run, connection) {
            let (rows, counts) = (plan::stale(&file), Vec::new());
            store.store_plan(run.run_id, &Planned { rows, counts, batch_counts }).await?;
            return Ok(true);
        }
        let known = store.known_keys(&run.connection).await?;
        if let Some(reason) = self.suspicions(connection.content.mode, &file, &known) {
            let (state, rows, rejected) = (RunState::Held, file.rows(), plan::unreadable(&file));
            store.end_unplanned(run.run_id, &Unplanned { state, reason, rows, rejected }).await?;
            return Ok(false);
        }
        let planned = self.plan(connection, file, known).await?;
        claim.proceed()?;
        store.store_plan(run.run_id, &planned).await?;
        Ok(true)
    }

    /// Why the file is to be held, if it is.
    fn suspicions(&self, mode: Mode, file: &ParsedFile, known: &[KnownKey]) -> Option<String> {
        let facts = plan::facts(file, known, &RowLimits::default());
        let findings = file::check(&self.0.gate, mode, &facts, &FileHistory::default());
        let reasons: Vec<String> = findings.held.iter().map(ToString::to_string).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    async fn plan(
        &self,
        connection: &Connection,
        file: Arc<ParsedFile>,
        known: Vec<KnownKey>,
    ) -> Result<Planned, Broken> {
        let codes: HashSet<&str> = file.observations.iter().map(|row| row.key.value()).collect();
        let codes: Vec<&str> = codes.into_iter().collect();
        let offers = Offers::of::<Broken>(&self.0.store, &self.0.peers, &connection.content, &codes).await?;
        let (mode, batch_counts) = (connection.content.mode, self.0.config.batch_counts);
        let plan = spawn_blocking(move || {
            let limits = RowLimits::default();
            let beside = Beside {
                mode,
                offers: &offers.by_code,
                known: &known,
                on_hand: &HashMap::new(),
                limits: &limits,
                is_first: true,
            };
            let mut plan = plan::plan(&file, &beside);
            offers.explain(&mut plan.rows);
            plan
        })
        .await?;
        Ok(Planned { rows: plan.rows, counts: plan.counts, batch_counts })
    }
}

/// A FULL file that is not newer than what was applied says nothing: what the newer one left out is gone and must not come back. The rows of an older
/// PARTIAL file are judged one by one, by reservation.
fn is_stale(run: &Run, connection: &Connection) -> bool {
    connection.content.mode == Mode::Full && connection.accepted.is_some_and(|accepted| run.moment <= accepted)
}
