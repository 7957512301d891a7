//! Stock itself: availability, counts, adjustments, the ledger.

use std::collections::BTreeMap;

use holdfast_api::reservation::v1 as pb;
use holdfast_api::reservation::v1::stock_service_server::StockService;
use holdfast_kit::page::{self, Token};
use holdfast_kit::{ErrorReason, Problem, Violations};
use holdfast_stock::{Answer, Level, Op, RowKey, Sku, UnixMicros};
use tonic::{Request, Response, Status};

use super::{Asker, Watching, watching};
use crate::clock::PostgresClock;
use crate::committer::{Committer, Failure};
use crate::convert::{self, AsOfAsk};
use crate::gate::{Gate, Published};
use crate::looker::Looker;
use crate::reconciler::{AskedFor, published};
use crate::store::{LedgerCursor, LedgerFilter, Store, StoreError};

const PAGE_DEFAULT: i32 = 100;
const PAGE_MAX: i32 = 1_000;

/// The service's handlers.
#[derive(Debug)]
pub struct Stock {
    /// Every change.
    pub(crate) committer: Committer,
    /// Lists.
    pub(crate) store: Store,
    /// What the gate does not have.
    pub(crate) looker: Looker,
    /// Published availability.
    pub(crate) gate: Gate,
    /// Tells the reconciler which SKUs to look after.
    pub(crate) asked_for: AskedFor,
    /// Postgres's clock.
    pub(crate) clock: PostgresClock,
    /// How long a change that was not published at once takes to be, in microseconds, while Redis can be reached.
    pub(crate) publish_micros_max: i64,
    /// Watches.
    pub(crate) watching: Watching,
}

impl Stock {
    async fn read_record(&self, skus: Vec<Sku>) -> Result<(UnixMicros, BTreeMap<Sku, Published>), Problem> {
        let sight = self.looker.look(None, skus).await.map_err(convert::problem)?;
        let found = published(sight.look()).into_iter().map(|p| (p.sku.clone(), p)).collect();
        Ok((sight.read_at, found))
    }

    /// Pauses or resumes; those of the SKUs that changed, and whether it was done before.
    async fn sell<T>(&self, request: &Request<T>, op: Op, skus: &[String]) -> Result<(Vec<String>, bool), Problem> {
        let outcome = Asker::of(request).commit(&self.committer, op).await;
        match outcome.map_err(|failure| convert::sell_problem(failure, skus))? {
            Answer::Sold { changed, replayed } => Ok((changed.iter().map(ToString::to_string).collect(), replayed)),
            _ => Err(other_answer()),
        }
    }
}

#[tonic::async_trait]
impl StockService for Stock {
    async fn batch_get_availability(
        &self,
        request: Request<pb::BatchGetAvailabilityRequest>,
    ) -> Result<Response<pb::BatchGetAvailabilityResponse>, Status> {
        let request = request.get_ref();
        let skus = convert::skus(&request.skus)?;
        self.asked_for.note(skus.iter());
        let cached: Vec<Option<Published>> = match request.source() {
            pb::ReadSource::Record => Vec::new(),
            // A gate that does not answer is no reason to fail: the record does.
            pb::ReadSource::Unspecified | pb::ReadSource::Cache => self.gate.read(&skus).await.unwrap_or_default(),
        };
        let cached: BTreeMap<Sku, Published> = cached.into_iter().flatten().map(|p| (p.sku.clone(), p)).collect();
        let missing: Vec<Sku> = skus.iter().filter(|sku| !cached.contains_key(*sku)).cloned().collect();
        let (read_at, record) = if missing.is_empty() {
            (UnixMicros::default(), BTreeMap::new())
        } else {
            self.read_record(missing).await?
        };
        let now = self.clock.now();
        let result = |sku: &Sku| match cached.get(sku) {
            Some(published) => {
                let age = now.0.saturating_sub(published.at.0).max(0);
                let staleness = age.saturating_add(self.publish_micros_max);
                convert::availability(sku.as_str(), Some(published), pb::ReadSource::Cache, published.at, staleness)
            }
            None => convert::availability(sku.as_str(), record.get(sku), pb::ReadSource::Record, read_at, 0),
        };
        Ok(Response::new(pb::BatchGetAvailabilityResponse { results: skus.iter().map(result).collect() }))
    }

    async fn get_stock(&self, request: Request<pb::GetStockRequest>) -> Result<Response<pb::GetStockResponse>, Status> {
        let skus = convert::sku("sku", &request.get_ref().sku)?;
        let store = self.store.clone();
        let read = holdfast_kit::tasks::to_the_end(async move { store.levels(&[skus]).await }).await;
        let levels = read.map_err(failed)?;
        if levels.is_empty() {
            let problem = Problem::new(ErrorReason::NotFound, "no stock is recorded for this SKU");
            return Err(problem.resource("sku", request.get_ref().sku.clone()).into());
        }
        Ok(Response::new(pb::GetStockResponse { levels: rows(&levels) }))
    }

    async fn list_stock(
        &self,
        request: Request<pb::ListStockRequest>,
    ) -> Result<Response<pb::ListStockResponse>, Status> {
        let request = request.get_ref();
        let mut violations = Violations::new();
        let size = page::page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX, &mut violations);
        let location = convert::named_location(&mut violations, &request.location);
        violations.into_result()?;
        let filters = [location.clone()];
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        let after: (String, String) = Token::decode(&request.page_token, &filters)?.unwrap_or_default();
        let store = self.store.clone();
        let page = async move { store.list_stock((&after.0, &after.1), &location, size).await };
        let levels = holdfast_kit::tasks::to_the_end(page).await.map_err(failed)?;
        let is_full = levels.len() as u64 == size.unsigned_abs();
        let next = levels.last().filter(|_| is_full).map(|((sku, at), _)| (sku.to_string(), at.to_string()));
        Ok(Response::new(pb::ListStockResponse {
            levels: rows(&levels),
            next_page_token: next.map(|row| Token::encode(&filters, &row)).unwrap_or_default(),
        }))
    }

    async fn apply_counts(
        &self,
        request: Request<pb::ApplyCountsRequest>,
    ) -> Result<Response<pb::ApplyCountsResponse>, Status> {
        let asker = Asker::of(&request);
        let message = request.get_ref();
        let op = convert::count(message, self.clock.now())?;
        let outcome = asker.commit_or_try(&self.committer, op, message.validate_only).await;
        match outcome.map_err(convert::problem)? {
            Answer::Counted { results, replayed } => Ok(Response::new(pb::ApplyCountsResponse {
                results: results.iter().map(convert::count_result).collect(),
                replayed,
            })),
            _ => Err(other_answer().into()),
        }
    }

    async fn adjust_stock(
        &self,
        request: Request<pb::AdjustStockRequest>,
    ) -> Result<Response<pb::AdjustStockResponse>, Status> {
        let asker = Asker::of(&request);
        let op = convert::adjust(request.get_ref())?;
        let (levels, replayed) = adjusted(asker.commit(&self.committer, op).await.map_err(convert::problem)?)?;
        Ok(Response::new(pb::AdjustStockResponse { levels, replayed }))
    }

    async fn move_stock(
        &self,
        request: Request<pb::MoveStockRequest>,
    ) -> Result<Response<pb::MoveStockResponse>, Status> {
        let asker = Asker::of(&request);
        let message = request.get_ref();
        let op = convert::moves(message)?;
        let outcome = asker.commit_or_try(&self.committer, op, message.validate_only).await;
        let (levels, replayed) = adjusted(outcome.map_err(|failure| convert::move_problem(failure, message))?)?;
        Ok(Response::new(pb::MoveStockResponse { levels, replayed }))
    }

    async fn pause_selling(
        &self,
        request: Request<pb::PauseSellingRequest>,
    ) -> Result<Response<pb::PauseSellingResponse>, Status> {
        let op = convert::pause(request.get_ref())?;
        let (changed_skus, replayed) = self.sell(&request, op, &request.get_ref().skus).await?;
        Ok(Response::new(pb::PauseSellingResponse { changed_skus, replayed }))
    }

    async fn resume_selling(
        &self,
        request: Request<pb::ResumeSellingRequest>,
    ) -> Result<Response<pb::ResumeSellingResponse>, Status> {
        let op = convert::resume(request.get_ref())?;
        let (changed_skus, replayed) = self.sell(&request, op, &request.get_ref().skus).await?;
        Ok(Response::new(pb::ResumeSellingResponse { changed_skus, replayed }))
    }

    async fn list_paused_skus(
        &self,
        request: Request<pb::ListPausedSkusRequest>,
    ) -> Result<Response<pb::ListPausedSkusResponse>, Status> {
        let request = request.get_ref();
        let mut violations = Violations::new();
        let size = page::page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX, &mut violations);
        violations.into_result()?;
        let after: String = Token::decode(&request.page_token, &[])?.unwrap_or_default();
        let store = self.store.clone();
        let page = async move { store.list_paused(&after, size).await };
        let paused = holdfast_kit::tasks::to_the_end(page).await.map_err(failed)?;
        let is_full = paused.len() as u64 == size.unsigned_abs();
        let next = paused.last().filter(|_| is_full).map(|(sku, _)| Token::encode(&[], &sku.as_str()));
        Ok(Response::new(pb::ListPausedSkusResponse {
            paused_skus: paused.iter().map(convert::paused_sku).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn batch_get_stock(
        &self,
        request: Request<pb::BatchGetStockRequest>,
    ) -> Result<Response<pb::BatchGetStockResponse>, Status> {
        let request = request.get_ref();
        let (skus, location) = (convert::skus(&request.skus)?, convert::location(&request.location)?);
        let reflection = convert::reflection(request, self.clock.now())?;
        let store = self.store.clone();
        let read = async move {
            let levels = store.levels_at(&skus, &location).await?;
            let Some((as_of, meaning)) = reflection else { return Ok((levels, BTreeMap::new())) };
            let reflectable = store.reflectable(&levels, as_of, meaning).await?;
            Ok((levels, reflectable))
        };
        let (levels, reflectable) = holdfast_kit::tasks::to_the_end(read).await.map_err(failed)?;
        let level = |(row, level): &(RowKey, Level)| pb::StockLevel {
            reflectable_quantity: reflectable.get(row).copied().unwrap_or_default(),
            ..convert::stock_level(row, level)
        };
        Ok(Response::new(pb::BatchGetStockResponse { levels: levels.iter().map(level).collect() }))
    }

    async fn complete_run(
        &self,
        request: Request<pb::CompleteRunRequest>,
    ) -> Result<Response<pb::CompleteRunResponse>, Status> {
        let run = convert::whole_run(request.get_ref(), self.clock.now())?;
        let store = self.store.clone();
        let done = holdfast_kit::tasks::to_the_end(async move { store.complete_run(&run).await }).await;
        Ok(Response::new(pb::CompleteRunResponse { feed: Some(convert::feed(&done.map_err(failed)?)) }))
    }

    async fn list_feeds(
        &self,
        request: Request<pb::ListFeedsRequest>,
    ) -> Result<Response<pb::ListFeedsResponse>, Status> {
        let request = request.get_ref();
        let mut violations = Violations::new();
        let size = page::page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX, &mut violations);
        violations.into_result()?;
        let after: String = Token::decode(&request.page_token, &[])?.unwrap_or_default();
        let store = self.store.clone();
        let page = async move { store.list_feeds(&after, size).await };
        let feeds = holdfast_kit::tasks::to_the_end(page).await.map_err(failed)?;
        let is_full = feeds.len() as u64 == size.unsigned_abs();
        let next = feeds.last().filter(|_| is_full).map(|feed| Token::encode(&[], &feed.connection));
        Ok(Response::new(pb::ListFeedsResponse {
            feeds: feeds.iter().map(convert::feed).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn apply_policies(
        &self,
        request: Request<pb::ApplyPoliciesRequest>,
    ) -> Result<Response<pb::ApplyPoliciesResponse>, Status> {
        let asker = Asker::of(&request);
        let policies = convert::policies(&request.get_ref().policies)?;
        let asked = policies.len();
        match asker.commit(&self.committer, Op::Policies { policies }).await.map_err(convert::problem)? {
            Answer::Policies { applied } => Ok(Response::new(pb::ApplyPoliciesResponse {
                applied: i64::try_from(applied).unwrap_or(i64::MAX),
                known: i64::try_from(asked.saturating_sub(applied)).unwrap_or(i64::MAX),
            })),
            _ => Err(other_answer().into()),
        }
    }

    async fn list_ledger_entries(
        &self,
        request: Request<pb::ListLedgerEntriesRequest>,
    ) -> Result<Response<pb::ListLedgerEntriesResponse>, Status> {
        let request = request.get_ref();
        let mut violations = Violations::new();
        let size = page::page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX, &mut violations);
        let location = convert::named_location(&mut violations, &request.location);
        violations.check_sku("sku", &request.sku);
        let (from, upto) = convert::ledger_range(&mut violations, request);
        violations.into_result()?;
        let sku = convert::sku("sku", &request.sku)?;
        // Without a range a token is what it always was, so that it outlives an upgrade.
        let range = [from, upto].map(|at| at.map_or_else(String::new, |at| at.0.to_string()));
        let mut filters = vec![request.sku.as_str(), &location];
        if from.is_some() || upto.is_some() {
            filters.extend(range.iter().map(String::as_str));
        }
        let after: Option<(i64, String, i64)> = Token::decode(&request.page_token, &filters)?;
        let (at, after_location, version) = after.unwrap_or((AFTER_ALL_MICROS, String::new(), 0));
        let cursor = LedgerCursor { at, location: after_location, version };
        let filter = LedgerFilter {
            location: location.clone(),
            from: from.unwrap_or(UnixMicros(BEFORE_ALL_MICROS)),
            upto: upto.unwrap_or(UnixMicros(AFTER_ALL_MICROS)),
        };
        let store = self.store.clone();
        let page = async move { store.list_ledger(&sku, &filter, &cursor, size).await };
        let entries = holdfast_kit::tasks::to_the_end(page).await.map_err(failed)?;
        let is_full = entries.len() as u64 == size.unsigned_abs();
        let next = entries.last().filter(|_| is_full).map(|entry| (entry.at, entry.location.clone(), entry.version));
        Ok(Response::new(pb::ListLedgerEntriesResponse {
            entries: entries.into_iter().map(convert::ledger_entry).collect(),
            next_page_token: next.map(|entry| Token::encode(&filters, &entry)).unwrap_or_default(),
        }))
    }

    async fn get_stock_as_of(
        &self,
        request: Request<pb::GetStockAsOfRequest>,
    ) -> Result<Response<pb::GetStockAsOfResponse>, Status> {
        let AsOfAsk { sku, location, at, entries } = convert::as_of_ask(request.get_ref())?;
        let (store, code) = (self.store.clone(), sku.to_string());
        let read = async move {
            let then = store.as_of(&sku, &location, at).await?;
            let filter = LedgerFilter { location, from: UnixMicros(BEFORE_ALL_MICROS), upto: at };
            let newest = LedgerCursor { at: AFTER_ALL_MICROS, location: String::new(), version: 0 };
            Ok((then, store.list_ledger(&sku, &filter, &newest, entries).await?))
        };
        let (then, entries) = holdfast_kit::tasks::to_the_end(read).await.map_err(failed)?;
        let Some(begins) = then.begins else {
            let problem = Problem::new(ErrorReason::NotFound, "no stock was ever recorded for this SKU there");
            return Err(problem.resource("sku", code).into());
        };
        if at > then.now {
            let mut violations = Violations::new();
            violations.add("time", "lies ahead of Postgres's clock: nothing is known of the future");
            return Err(violations.into_problem().into());
        }
        if at < begins {
            return Err(convert::before_record(begins).into());
        }
        Ok(Response::new(pb::GetStockAsOfResponse {
            levels: then.levels.iter().map(convert::past_level).collect(),
            entries: entries.into_iter().map(convert::ledger_entry).collect(),
            begin_time: Some(convert::timestamp(begins)),
        }))
    }

    type WatchAvailabilityStream = watching::WatchStream<pb::WatchAvailabilityResponse>;

    async fn watch_availability(
        &self,
        request: Request<pb::WatchAvailabilityRequest>,
    ) -> Result<Response<Self::WatchAvailabilityStream>, Status> {
        Ok(Response::new(self.watching.availability(request.get_ref()).await?))
    }
}

/// Earlier than any entry: the year 1.
const BEFORE_ALL_MICROS: i64 = -62_135_596_800_000_000;
/// Later than any entry: the year 9999.
const AFTER_ALL_MICROS: i64 = 253_402_300_799_000_000;

fn rows(levels: &[(RowKey, Level)]) -> Vec<pb::StockLevel> {
    levels.iter().map(|(row, level)| convert::stock_level(row, level)).collect()
}

/// The rows as they were right after adjustments or moves, and whether those were done before.
fn adjusted(answer: Answer) -> Result<(Vec<pb::StockLevel>, bool), Problem> {
    let level =
        |row: &holdfast_stock::StockRow| convert::stock_level(&(row.sku.clone(), row.location.clone()), &row.level);
    match answer {
        Answer::Adjusted { levels, replayed } => Ok((levels.iter().map(level).collect(), replayed)),
        _ => Err(other_answer()),
    }
}

fn failed(error: StoreError) -> Problem {
    convert::problem(Failure::Store(error))
}

fn other_answer() -> Problem {
    Problem::defect("an operation on stock was answered as another")
}
