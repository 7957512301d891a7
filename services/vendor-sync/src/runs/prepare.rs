//! The first half of a run: its file is read, looked at as a whole, mapped by catalog's offers and planned. Nothing is applied yet.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use holdfast_feeds::formats::ParsedFile;
use holdfast_feeds::guards::file::{self, FileFacts};
use holdfast_feeds::observation::Mode;
use holdfast_feeds::plan::{self, Beside, KnownKey, Offer};
use tokio::task::spawn_blocking;

use super::{Broken, Claim, Runs, typed};
use crate::convert::AHEAD_MAX;
use crate::model::{Connection, Run, RunState};
use crate::offers::Offers;
use crate::peers::OnHand;
use crate::store::{Planned, StoreError, Unplanned};

/// What is to be done with a file as a whole.
enum Gate {
    /// It is applied; what is to be said all the same.
    Open(Vec<String>),
    /// It is held; why, and whether that counts towards a pause of its connection.
    Held(String, bool),
}

impl Runs {
    /// Stores what the run's rows come to; false if the run ended or waits instead, because its file is refused or held.
    pub(super) async fn prepare(&self, claim: &Claim, run: &Run, connection: &Connection) -> Result<bool, Broken> {
        let store = &self.0.store;
        let content = Arc::new(store.content(run.run_id).await?);
        let typed = typed::is_typed(run, &content);
        let layout = if typed { typed::layout() } else { connection.content.layout.clone() };
        let schema = layout.schema();
        let schema = schema.map_err(|problems| StoreError::Unreadable(format!("a schema: {problems:?}")))?;
        let rows_max = self.0.config.rows_max;
        let bytes = Arc::clone(&content);
        // Reading a large file takes as long as a thousand requests: not on the threads that serve them.
        let file = match spawn_blocking(move || schema.parse(&bytes, rows_max)).await? {
            Ok(file) => Arc::new(file),
            Err(refusal) => {
                let (state, reason) = (RunState::Refused, refusal.to_string());
                let end = Unplanned { state, reason, rows: 0, rejected: Vec::new(), pause_after: None };
                store.end_unplanned(run, &end).await?;
                return Ok(false);
            }
        };
        claim.proceed()?;
        let batch_counts = self.0.config.batch_counts;
        if is_stale(run, connection) {
            let rows = plan::stale(&file);
            store.store_plan(run.run_id, &Planned { rows, batch_counts, ..Planned::default() }).await?;
            return Ok(true);
        }
        let known = Arc::new(store.known_keys(run).await?);
        let facts = self.facts(&file, &known).await?;
        let warnings = match self.gate(run, connection, &facts).await? {
            Gate::Open(warnings) => {
                self.0.metrics.guarded("file", if warnings.is_empty() { "applied" } else { "warned" }, 1);
                warnings
            }
            Gate::Held(reason, is_suspect) => {
                self.0.metrics.guarded("file", "held", 1);
                let pause_after = is_suspect.then_some(self.0.holds_in_row_max);
                let (state, rows, rejected) = (RunState::Held, file.rows(), plan::unreadable(&file));
                store.end_unplanned(run, &Unplanned { state, reason, rows, rejected, pause_after }).await?;
                return Ok(false);
            }
        };
        let planned = self.plan(run, connection, file, known).await?;
        for rule in planned.stopped.iter().flat_map(|stopped| &stopped.rules) {
            self.0.metrics.guarded(rule.name(), "quarantined", 1);
        }
        claim.proceed()?;
        let expected = if typed { typed::expected(&content)? } else { HashMap::new() };
        let file = Some((facts.rows, facts.top_value_permille()));
        store.store_plan(run.run_id, &Planned { warnings, file, batch_counts, expected, ..planned }).await?;
        Ok(true)
    }

    async fn facts(&self, file: &Arc<ParsedFile>, known: &Arc<Vec<KnownKey>>) -> Result<FileFacts, Broken> {
        let (file, known, guards) = (Arc::clone(file), Arc::clone(known), Arc::clone(&self.0.guards));
        Ok(spawn_blocking(move || plan::facts(&file, &known, &guards)).await?)
    }

    /// Looks at the file as a whole. One that a person believed passes, with all that speaks against it as warnings; of the shop's own only what cannot be read
    /// matters, because nothing is known of what its files are usually like.
    async fn gate(&self, run: &Run, connection: &Connection, facts: &FileFacts) -> Result<Gate, Broken> {
        let limits = &self.0.gate;
        let history = self.0.store.file_history(&run.connection, limits.accepted_files_min).await?;
        let history = if run.is_house() { file::FileHistory::default() } else { history };
        let findings = file::check(limits, connection.content.mode, facts, &history);
        let words = |suspicions: &[file::Suspicion]| suspicions.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (held, mut warnings) = (words(&findings.held), words(&findings.warned));
        if run.approved || (run.is_house() && held.is_empty()) {
            warnings.extend(held);
            return Ok(Gate::Open(warnings));
        }
        let mut reasons = held;
        let is_suspect = !reasons.is_empty();
        if run.moment.as_of - run.create_time > AHEAD_MAX {
            reasons.push("it says that it was counted more than 5 minutes ahead of the server's clock".to_owned());
        }
        if let Some(why) = &connection.paused {
            reasons.push(format!("the connection is paused: {why}"));
        }
        if connection.accepted.is_none() && !connection.content.apply_first_file {
            reasons.push("it is the connection's first file: there is nothing to compare it with".to_owned());
        }
        if reasons.is_empty() {
            return Ok(Gate::Open(warnings));
        }
        // While a connection is paused its files are held anyway: they say nothing about the next pause.
        let counts = is_suspect && connection.paused.is_none() && !run.is_house();
        Ok(Gate::Held(reasons.join("; "), counts))
    }

    async fn plan(
        &self,
        run: &Run,
        connection: &Connection,
        file: Arc<ParsedFile>,
        known: Arc<Vec<KnownKey>>,
    ) -> Result<Planned, Broken> {
        let codes: HashSet<&str> = file.observations.iter().map(|row| row.key.value()).collect();
        let codes: Vec<&str> = codes.into_iter().collect();
        let offers = if run.is_house() {
            self.house_offers(&codes).await?
        } else {
            Offers::of::<Broken>(&self.0.store, &self.0.peers, &connection.content, &codes).await?
        };
        let mode = connection.content.mode;
        let alone = plan::alone(mode, &file, &offers.by_code, &known);
        let skus: Vec<String> = alone.keys().cloned().collect();
        let to_come = Some((run.moment.as_of, connection.content.class));
        let on_hand = self.0.peers.on_hand(&run.location, &skus, to_come).await?;
        // Whatever the guards compare with, what was sold and is off the new number is not missing from it (PROTOCOL.md rule 18).
        let sold = on_hand.iter().filter(|(_, stock)| stock.reflectable > 0);
        let reflectable: HashMap<String, u64> = sold.map(|(sku, stock)| (sku.clone(), stock.reflectable)).collect();
        // Where somebody else counted since, the code's own last word is not what is known. Of the shop's own, none on hand is nothing known: what never was
        // there is counted for the first time.
        let is_telling = |sku: &str, stock: &OnHand| {
            let is_news = !alone.get(sku).copied().unwrap_or(false) || stock.counted_by != run.connection;
            is_news && (stock.units > 0 || !run.is_house())
        };
        let on_hand: HashMap<String, u64> = on_hand
            .into_iter()
            .filter(|(sku, stock)| is_telling(sku, stock))
            .map(|(sku, stock)| (sku, stock.units))
            .collect();
        let is_first = connection.accepted.is_none() && !run.is_house();
        let guards = Arc::clone(&self.0.guards);
        let plan = spawn_blocking(move || {
            let (offers_by_code, known, on_hand, limits) = (&offers.by_code, known.as_slice(), &on_hand, &*guards);
            let reflectable = &reflectable;
            let beside = Beside { mode, offers: offers_by_code, known, on_hand, reflectable, limits, is_first };
            let mut plan = plan::plan(&file, &beside);
            offers.explain(&mut plan.rows);
            plan
        })
        .await?;
        Ok(Planned { rows: plan.rows, counts: plan.counts, stopped: plan.stopped, ..Planned::default() })
    }

    /// The shop calls its SKUs by their own codes.
    async fn house_offers(&self, codes: &[&str]) -> Result<Offers, Broken> {
        let unknown = self.0.peers.unknown_skus(codes).await?;
        let known = codes.iter().filter(|code| !unknown.contains(**code));
        let by_code = known.map(|code| ((*code).to_owned(), Offer { sku: (*code).to_owned(), pack_size: 1 })).collect();
        Ok(Offers { by_code, archived: HashMap::new() })
    }
}

/// A FULL file that is not newer than what was applied says nothing: what the newer one left out is gone and must not come back. The rows of an older
/// PARTIAL file are judged one by one, by reservation.
fn is_stale(run: &Run, connection: &Connection) -> bool {
    connection.content.mode == Mode::Full && connection.accepted.is_some_and(|accepted| run.moment <= accepted)
}
