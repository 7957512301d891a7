//! The reservation of these tests: what its protos say of counts, limits, runs and adjustments, as far as vendor-sync can see it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::Ordering;

use holdfast_api::reservation::v1 as pb;
use holdfast_api::reservation::v1::stock_service_server::StockService;
use holdfast_kit::{ErrorReason, Problem, Violations};
use tonic::{Request, Response};

use super::{Answer, Peers, take, uncalled};

/// A moment as vendors say it: seconds and nanoseconds, then the sequence.
type Moment = ((i64, i32), i64);

/// What reservation has.
#[derive(Default)]
pub(crate) struct Stock {
    pub(crate) rows: BTreeMap<(String, String), Row>,
    /// Counts that landed, by key: the request and its answer.
    operations: HashMap<String, (pb::ApplyCountsRequest, Vec<pb::CountResult>)>,
    /// Adjustments that landed, by key.
    adjustments: HashMap<String, (pb::AdjustStockRequest, Vec<pb::StockLevel>)>,
    /// Requests in the order in which they landed.
    pub(crate) landed: Vec<pb::ApplyCountsRequest>,
    /// Adjustments in the order in which they landed.
    pub(crate) adjusted: Vec<pb::AdjustStockRequest>,
    /// Runs that were said to be complete, in that order, repetitions too.
    pub(crate) completed: Vec<pb::CompleteRunRequest>,
    /// Calls, the repeated and the refused ones too.
    pub(crate) calls: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) on_hand: i64,
    pub(crate) as_of: (i64, i32),
    pub(crate) sequence: i64,
    /// Whose count it was.
    pub(crate) counted_by: String,
    /// How often a count was taken.
    pub(crate) taken: usize,
    /// The most that is offered, and the moment of the number that says so.
    pub(crate) limit: Option<(i64, Moment)>,
    /// Units that are there but must not be sold.
    pub(crate) unsellable: i64,
    /// Units sold and not taken off on_hand, with the moment from which each meaning's counts reflect them.
    pub(crate) sold: Vec<(i64, pb::CountMeaning, (i64, i32))>,
}

impl Row {
    /// What is offered.
    pub(crate) fn offered(&self) -> i64 {
        self.limit.map_or(self.on_hand, |(limit, _)| limit.min(self.on_hand))
    }

    /// How many sold units a count of that moment and meaning reflects.
    fn reflectable(&self, as_of: (i64, i32), meaning: pb::CountMeaning) -> i64 {
        self.sold.iter().filter(|(_, of, since)| *of == meaning && *since <= as_of).map(|(units, ..)| units).sum()
    }

    fn level(&self, (sku, location): &(String, String)) -> pb::StockLevel {
        pb::StockLevel {
            sku: sku.clone(),
            location: location.clone(),
            on_hand: self.on_hand,
            connection: self.counted_by.clone(),
            available: self.offered(),
            offer_limit: self.limit.map(|(limit, _)| limit),
            unsellable: vec![pb::ConditionQuantity {
                condition: pb::Condition::Damaged.into(),
                quantity: self.unsellable,
            }],
            ..pb::StockLevel::default()
        }
    }
}

impl Stock {
    /// One key, one effect; rows decide independently.
    fn apply(&mut self, request: pb::ApplyCountsRequest) -> Result<pb::ApplyCountsResponse, Problem> {
        if let Some((first, results)) = self.operations.get(&request.request_id) {
            if *first != request {
                return Err(Problem::new(ErrorReason::KeyReused, "the request_id was used before"));
            }
            return Ok(pb::ApplyCountsResponse { results: results.clone(), replayed: true });
        }
        check(&request).into_result()?;
        let as_of = request.as_of_time.map(|time| (time.seconds, time.nanos)).unwrap_or_default();
        let (moment, meaning) = ((as_of, request.sequence), request.meaning());
        let by = request.connection.as_str();
        let results: Vec<_> = request.counts.iter().map(|count| self.count(count, by, moment, meaning)).collect();
        self.operations.insert(request.request_id.clone(), (request.clone(), results.clone()));
        self.landed.push(request);
        Ok(pb::ApplyCountsResponse { results, replayed: false })
    }

    fn count(&mut self, count: &pb::Count, by: &str, moment: Moment, meaning: pb::CountMeaning) -> pb::CountResult {
        let key = (count.sku.clone(), count.location.clone());
        let previous_on_hand = self.rows.get(&key).map_or(0, |row| row.on_hand);
        let outcome = match count.effect() {
            pb::CountEffect::Unspecified | pb::CountEffect::Set => {
                let outcome = self.set(&key, count, by, moment);
                let taken = matches!(outcome, pb::CountOutcome::Applied | pb::CountOutcome::Unchanged);
                if let Some(row) = self.rows.get_mut(&key).filter(|_| taken) {
                    row.sold.retain(|(_, of, since)| *of != meaning || *since > moment.0);
                }
                outcome
            }
            pb::CountEffect::Limit => self.limit(&key, count.quantity, moment),
            pb::CountEffect::Unlimit => self.unlimit(&key, moment),
        };
        let on_hand = self.rows.get(&key).map_or(0, |row| row.on_hand);
        let (sku, location) = key;
        let outcome = outcome.into();
        pb::CountResult { sku, location, outcome, previous_on_hand, on_hand, ..pb::CountResult::default() }
    }

    fn set(&mut self, key: &(String, String), count: &pb::Count, by: &str, moment: Moment) -> pb::CountOutcome {
        let quantity = count.quantity;
        let known = self.rows.get(key);
        if known.is_some_and(|row| (row.as_of, row.sequence) >= moment) {
            return pb::CountOutcome::Stale;
        }
        if count.expected_on_hand.is_some_and(|expected| expected != known.map_or(0, |row| row.on_hand)) {
            return pb::CountOutcome::Conflict;
        }
        let is_new = known.is_none();
        let row = self.rows.entry(key.clone()).or_default();
        let unchanged = !is_new && row.on_hand == quantity;
        (row.on_hand, row.as_of, row.sequence, row.taken) = (quantity, moment.0, moment.1, row.taken + 1);
        by.clone_into(&mut row.counted_by);
        row.limit = row.limit.filter(|(_, of)| *of > moment);
        if unchanged { pb::CountOutcome::Unchanged } else { pb::CountOutcome::Applied }
    }

    fn limit(&mut self, key: &(String, String), quantity: i64, moment: Moment) -> pb::CountOutcome {
        let Some(row) = self.rows.get_mut(key) else { return pb::CountOutcome::Unchanged };
        if (row.as_of, row.sequence) >= moment || row.limit.is_some_and(|(_, of)| of >= moment) {
            return pb::CountOutcome::Stale;
        }
        row.limit = Some((quantity, moment));
        pb::CountOutcome::Applied
    }

    fn unlimit(&mut self, key: &(String, String), moment: Moment) -> pb::CountOutcome {
        let Some(row) = self.rows.get_mut(key) else { return pb::CountOutcome::Unchanged };
        if row.limit.is_none_or(|(_, of)| of != moment) {
            return pb::CountOutcome::Stale;
        }
        row.limit = None;
        pb::CountOutcome::Applied
    }

    /// One key, one effect; all adjustments or none.
    fn adjust(&mut self, request: pb::AdjustStockRequest) -> Result<pb::AdjustStockResponse, Problem> {
        if let Some((first, levels)) = self.adjustments.get(&request.request_id) {
            if *first != request {
                return Err(Problem::new(ErrorReason::KeyReused, "the request_id was used before"));
            }
            return Ok(pb::AdjustStockResponse { levels: levels.clone(), replayed: true });
        }
        check_adjustments(&request).into_result()?;
        let mut rows = self.rows.clone();
        for adjustment in &request.adjustments {
            let row = rows.entry((adjustment.sku.clone(), adjustment.location.clone())).or_default();
            let sellable = adjustment.condition() == pb::Condition::Sellable;
            let units = if sellable { &mut row.on_hand } else { &mut row.unsellable };
            *units += adjustment.delta;
            if *units < 0 {
                return Err(Problem::new(ErrorReason::StockWouldBeNegative, "fewer units than that are there"));
            }
        }
        self.rows = rows;
        let touched: BTreeSet<(String, String)> =
            request.adjustments.iter().map(|of| (of.sku.clone(), of.location.clone())).collect();
        let levels: Vec<_> = touched.iter().map(|key| self.rows[key].level(key)).collect();
        self.adjustments.insert(request.request_id.clone(), (request.clone(), levels.clone()));
        self.adjusted.push(request);
        Ok(pb::AdjustStockResponse { levels, replayed: false })
    }
}

fn check(request: &pb::ApplyCountsRequest) -> Violations {
    let mut violations = Violations::new();
    violations.check_uuid("request_id", &request.request_id);
    violations.check_text("connection", &request.connection, 1..=128);
    violations.check_text("run", &request.run, 1..=128);
    violations.check_range("sequence", request.sequence, 0..=i64::MAX);
    if request.as_of_time.is_none() {
        violations.add("as_of_time", "is required");
    }
    if request.meaning() == pb::CountMeaning::Unspecified {
        violations.add("meaning", "is required");
    }
    if !(1..=1000).contains(&request.counts.len()) {
        violations.add("counts", "must have 1 to 1000 entries");
    }
    let mut seen = HashSet::new();
    for (index, count) in request.counts.iter().enumerate() {
        violations.check_sku(format_args!("counts[{index}].sku"), &count.sku);
        violations.check_code(format_args!("counts[{index}].location"), &count.location);
        violations.check_range(format_args!("counts[{index}].quantity"), count.quantity, 0..=1_000_000_000);
        let expected = count.expected_on_hand.unwrap_or_default();
        violations.check_range(format_args!("counts[{index}].expected_on_hand"), expected, 0..=1_000_000_000);
        if !seen.insert((&count.sku, &count.location)) {
            violations.add(format_args!("counts[{index}]"), "stands in the request before");
        }
    }
    violations
}

fn check_adjustments(request: &pb::AdjustStockRequest) -> Violations {
    let mut violations = Violations::new();
    violations.check_uuid("request_id", &request.request_id);
    violations.check_text("actor", &request.actor, 1..=128);
    violations.check_text("note", &request.note, 0..=500);
    if !(1..=100).contains(&request.adjustments.len()) {
        violations.add("adjustments", "must have 1 to 100 entries");
    }
    for (index, adjustment) in request.adjustments.iter().enumerate() {
        violations.check_sku(format_args!("adjustments[{index}].sku"), &adjustment.sku);
        violations.check_code(format_args!("adjustments[{index}].location"), &adjustment.location);
        violations.check_range(format_args!("adjustments[{index}].delta"), adjustment.delta, -1_000_000..=1_000_000);
        if adjustment.condition() == pb::Condition::Unspecified {
            violations.add(format_args!("adjustments[{index}].condition"), "is required");
        }
        if adjustment.reason() == pb::AdjustmentReason::Unspecified {
            violations.add(format_args!("adjustments[{index}].reason"), "is required");
        }
    }
    violations
}

#[tonic::async_trait]
impl StockService for Peers {
    async fn apply_counts(&self, request: Request<pb::ApplyCountsRequest>) -> Answer<pb::ApplyCountsResponse> {
        let faults = &self.faults;
        self.let_in().await?;
        let request = request.into_inner();
        if take(&faults.refused_requests) {
            let mut violations = Violations::new();
            violations.add("as_of_time", "is too far ahead");
            return Err(violations.into_problem().into());
        }
        let prefix = faults.refused_prefix.lock().unwrap().clone();
        if let Some(prefix) = prefix {
            let mut violations = Violations::new();
            for (index, count) in request.counts.iter().enumerate().filter(|(_, count)| count.sku.starts_with(&prefix))
            {
                violations.add(format_args!("counts[{index}].sku"), format_args!("{:?} is odd", count.sku));
            }
            violations.into_result()?;
        }
        let answer = self.stock.lock().unwrap().apply(request)?;
        self.let_out()?;
        Ok(Response::new(answer))
    }

    async fn adjust_stock(&self, request: Request<pb::AdjustStockRequest>) -> Answer<pb::AdjustStockResponse> {
        self.let_in().await?;
        let answer = self.stock.lock().unwrap().adjust(request.into_inner())?;
        self.let_out()?;
        Ok(Response::new(answer))
    }

    async fn complete_run(&self, request: Request<pb::CompleteRunRequest>) -> Answer<pb::CompleteRunResponse> {
        if self.faults.down.load(Ordering::SeqCst) {
            return Err(Problem::new(ErrorReason::StoreUnavailable, "down").into());
        }
        let request = request.into_inner();
        let feed = pb::Feed {
            connection: request.connection.clone(),
            location: request.location.clone(),
            as_of_time: request.as_of_time,
            sequence: request.sequence,
            promised_interval: request.promised_interval,
            ..pb::Feed::default()
        };
        self.stock.lock().unwrap().completed.push(request);
        Ok(Response::new(pb::CompleteRunResponse { feed: Some(feed) }))
    }

    async fn get_stock(&self, request: Request<pb::GetStockRequest>) -> Answer<pb::GetStockResponse> {
        let sku = request.into_inner().sku;
        let stock = self.stock.lock().unwrap();
        let levels: Vec<_> =
            stock.rows.iter().filter(|((of, _), _)| *of == sku).map(|(key, row)| row.level(key)).collect();
        if levels.is_empty() {
            return Err(Problem::new(ErrorReason::NotFound, "no stock is recorded for this SKU").into());
        }
        Ok(Response::new(pb::GetStockResponse { levels }))
    }

    async fn batch_get_stock(&self, request: Request<pb::BatchGetStockRequest>) -> Answer<pb::BatchGetStockResponse> {
        if self.faults.down.load(Ordering::SeqCst) {
            return Err(Problem::new(ErrorReason::StoreUnavailable, "down").into());
        }
        let request = request.into_inner();
        let meaning = request.reflect_meaning();
        let pb::BatchGetStockRequest { location, skus, reflect_as_of_time, .. } = request;
        let mut violations = Violations::new();
        if reflect_as_of_time.is_some() != (meaning != pb::CountMeaning::Unspecified) {
            violations.add("reflect_meaning", "is required with reflect_as_of_time, and says nothing without it");
        }
        let latest = time::OffsetDateTime::now_utc().unix_timestamp() + 300;
        if reflect_as_of_time.is_some_and(|time| time.seconds > latest) {
            violations.add("reflect_as_of_time", "is more than 5 minutes ahead");
        }
        if !(1..=1000).contains(&skus.len()) {
            violations.add("skus", "must have 1 to 1000 entries");
        }
        violations.check_code("location", &location);
        violations.into_result()?;
        let stock = self.stock.lock().unwrap();
        let asked: BTreeSet<(String, String)> = skus.into_iter().map(|sku| (sku, location.clone())).collect();
        let level = |key: &(String, String)| {
            let row = stock.rows.get(key)?;
            let reflectable = reflect_as_of_time.map(|time| row.reflectable((time.seconds, time.nanos), meaning));
            Some(pb::StockLevel { reflectable_quantity: reflectable.unwrap_or(0), ..row.level(key) })
        };
        let levels = asked.iter().filter_map(level).collect();
        Ok(Response::new(pb::BatchGetStockResponse { levels }))
    }

    async fn batch_get_availability(
        &self,
        _: Request<pb::BatchGetAvailabilityRequest>,
    ) -> Answer<pb::BatchGetAvailabilityResponse> {
        Err(uncalled())
    }

    async fn list_stock(&self, _: Request<pb::ListStockRequest>) -> Answer<pb::ListStockResponse> {
        Err(uncalled())
    }

    async fn list_feeds(&self, _: Request<pb::ListFeedsRequest>) -> Answer<pb::ListFeedsResponse> {
        Err(uncalled())
    }

    async fn apply_policies(&self, _: Request<pb::ApplyPoliciesRequest>) -> Answer<pb::ApplyPoliciesResponse> {
        Err(uncalled())
    }

    async fn move_stock(&self, _: Request<pb::MoveStockRequest>) -> Answer<pb::MoveStockResponse> {
        Err(uncalled())
    }

    async fn pause_selling(&self, _: Request<pb::PauseSellingRequest>) -> Answer<pb::PauseSellingResponse> {
        Err(uncalled())
    }

    async fn resume_selling(&self, _: Request<pb::ResumeSellingRequest>) -> Answer<pb::ResumeSellingResponse> {
        Err(uncalled())
    }

    async fn list_paused_skus(&self, _: Request<pb::ListPausedSkusRequest>) -> Answer<pb::ListPausedSkusResponse> {
        Err(uncalled())
    }

    async fn list_ledger_entries(
        &self,
        _: Request<pb::ListLedgerEntriesRequest>,
    ) -> Answer<pb::ListLedgerEntriesResponse> {
        Err(uncalled())
    }

    async fn get_stock_as_of(&self, _: Request<pb::GetStockAsOfRequest>) -> Answer<pb::GetStockAsOfResponse> {
        Err(uncalled())
    }

    type WatchAvailabilityStream = tonic::codegen::BoxStream<pb::WatchAvailabilityResponse>;

    async fn watch_availability(
        &self,
        _: Request<pb::WatchAvailabilityRequest>,
    ) -> Answer<Self::WatchAvailabilityStream> {
        Err(uncalled())
    }
}

impl Peers {
    /// What happens before a change: it waits to be let through, is counted, and may find reservation down.
    async fn let_in(&self) -> Result<(), Problem> {
        let waiting = self.faults.waiting.acquire().await.unwrap();
        self.faults.calls.acquire().await.unwrap().forget();
        drop(waiting);
        self.stock.lock().unwrap().calls += 1;
        if self.faults.down.load(Ordering::SeqCst) {
            return Err(Problem::new(ErrorReason::StoreUnavailable, "down"));
        }
        Ok(())
    }

    /// What happens after a change: its answer may be lost.
    fn let_out(&self) -> Result<(), Problem> {
        if take(&self.faults.lost_answers) {
            return Err(Problem::new(ErrorReason::StoreUnavailable, "the answer is lost"));
        }
        Ok(())
    }
}
