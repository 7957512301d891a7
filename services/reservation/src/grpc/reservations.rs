//! What a checkout calls.

use std::sync::Arc;

use holdfast_api::reservation::v1 as pb;
use holdfast_api::reservation::v1::reservation_service_server::ReservationService;
use holdfast_kit::page::{self, Token};
use holdfast_kit::{ErrorReason, Problem, Violations};
use holdfast_stock::{Location, Name, Op, Refusal, ReservationAnswer, ReservationId, Shortage, Sku};
use tokio::task::JoinSet;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::{Asker, Watching, watching};
use crate::changes::WholePlace;
use crate::clock::PostgresClock;
use crate::committer::{Committer, Failure};
use crate::config::HoldsConfig;
use crate::convert::{self, Reader, ReserveAsk};
use crate::metrics::Decided;
use crate::reserve::{self, Reserver};
use crate::store::{ReservationFilter, Store};

const PAGE_DEFAULT: i32 = 50;
const PAGE_MAX: i32 = 500;
/// Carts of one batch that are under way at once: enough to fill a commit, few enough that a batch does not stand before everybody else.
const BATCH_AT_ONCE_MAX: usize = 16;

/// The service's handlers.
#[derive(Debug, Clone)]
pub struct Reservations {
    reserver: Reserver,
    committer: Committer,
    store: Store,
    clock: PostgresClock,
    holds: HoldsConfig,
    watching: Watching,
}

impl Reservations {
    pub(crate) const fn new(
        reserver: Reserver,
        committer: Committer,
        store: Store,
        clock: PostgresClock,
        holds: HoldsConfig,
        watching: Watching,
    ) -> Self {
        Self { reserver, committer, store, clock, holds, watching }
    }

    fn reader(&self, transport_attempt: u32) -> Reader<'_> {
        Reader { holds: &self.holds, now: self.clock.now(), transport_attempt }
    }

    /// # Errors
    /// Why nothing is held, for the caller.
    async fn held(&self, asker: &Asker, mut ask: ReserveAsk) -> Result<ReservationAnswer, NotHeld> {
        let Some(complete) = ask.complete.take() else {
            return Err(NotHeld { problem: self.malformed(ask).await, shortages: Vec::new() });
        };
        self.reserver.reserve(complete, asker.by()).await.map_err(|failure| match failure {
            Failure::Refused(Refusal::UnknownSku(unknown)) => {
                let ReserveAsk { violations, reason, lines, within, .. } = ask;
                let problem = convert::unknown_sku_problem(&lines, &unknown, violations, reason, within);
                NotHeld { problem, shortages: Vec::new() }
            }
            Failure::Refused(Refusal::Insufficient(shortages)) => {
                let problem = convert::problem(Failure::Refused(Refusal::Insufficient(shortages.clone())));
                NotHeld { problem, shortages }
            }
            failure => NotHeld { problem: convert::problem(failure), shortages: Vec::new() },
        })
    }

    /// What Reserve would have answered, or failed with.
    async fn one_of_batch(&self, asker: &Asker, attempt: u32, request: &pb::ReserveRequest) -> pb::BatchReserveResult {
        use pb::batch_reserve_result::Outcome;
        let outcome = match self.held(asker, self.reader(attempt).reserve(request)).await {
            Ok(answer) => Outcome::Reserved(reserved(&answer)),
            Err(NotHeld { problem, shortages }) => {
                Outcome::Failure(convert::batch_failure(&shortages, &Status::from(problem)))
            }
        };
        pb::BatchReserveResult { reservation_id: request.reservation_id.clone(), outcome: Some(outcome) }
    }

    /// # Errors
    /// What went wrong, for the caller.
    async fn changed<T>(
        &self,
        verb: &'static str,
        request: &Request<T>,
        op: Op,
        dry: bool,
    ) -> Result<ReservationAnswer, Problem> {
        let outcome = Asker::of(request).commit_or_try(&self.committer, op, dry).await;
        let answer = reserve::reservation(outcome);
        if !dry {
            self.reserver.metrics.decided(verb, Decided::of(&answer));
        }
        answer.map_err(convert::problem)
    }

    /// Everything that is wrong with a request at once: SKUs that nobody knows, too.
    async fn malformed(&self, ask: ReserveAsk) -> Problem {
        let skus: Vec<Sku> = ask.lines.iter().map(|(_, sku, _)| sku.clone()).collect();
        let unknown = match self.reserver.looker.look(None, skus).await {
            Ok(sight) => unknown_rows(&ask.lines, sight.availability()),
            // The request is wrong without it; what cannot be looked up is left out.
            Err(_) => Vec::new(),
        };
        convert::unknown_sku_problem(&ask.lines, &unknown, ask.violations, ask.reason, ask.within)
    }

    /// A key outside the window may be released if its reservation is there; to close it unused would say something about what nobody remembers.
    async fn check_release_key(&self, id: ReservationId) -> Result<(), Problem> {
        let Err(error) = self.holds.window().check(id, self.clock.now()) else { return Ok(()) };
        let sight = self.reserver.looker.look(Some(id), Vec::new()).await.map_err(convert::problem)?;
        if sight.record(id).is_some() {
            return Ok(());
        }
        let mut violations = Violations::new();
        violations.add("reservation_id", error);
        Err(violations.into_problem_as(ErrorReason::KeyOutOfWindow))
    }
}

/// Why nothing is held: what the caller is told, and what was missing.
struct NotHeld {
    problem: Problem,
    shortages: Vec<Shortage>,
}

fn reserved(answer: &ReservationAnswer) -> pb::ReserveResponse {
    pb::ReserveResponse {
        current_state: convert::state(answer.current_state).into(),
        current_expire_time: answer.current_expires_at.map(convert::timestamp),
        replayed: answer.replayed,
        reservation: Some(convert::reservation(&answer.first)),
    }
}

/// The answer to a change of a reservation that stands: they all have the same fields.
macro_rules! answered {
    ($message:ident, $answer:expr) => {{
        let answer = $answer;
        Response::new(pb::$message {
            reservation: Some(convert::reservation(&answer.first)),
            current_state: convert::state(answer.current_state).into(),
            replayed: answer.replayed,
        })
    }};
}

fn unknown_rows(
    lines: &[(usize, Sku, Option<Location>)],
    availability: &holdfast_stock::Availability,
) -> Vec<(Sku, Option<Location>)> {
    let is_known = |sku: &Sku, location: Option<&Location>| match (availability.locations(sku), location) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(rows), Some(named)) => rows.iter().any(|(at, _)| at == named),
    };
    let unknown = lines.iter().filter(|(_, sku, location)| !is_known(sku, location.as_ref()));
    unknown.map(|(_, sku, location)| (sku.clone(), location.clone())).collect()
}

#[tonic::async_trait]
impl ReservationService for Reservations {
    async fn reserve(&self, request: Request<pb::ReserveRequest>) -> Result<Response<pb::ReserveResponse>, Status> {
        let asker = Asker::of(&request);
        let ask = self.reader(holdfast_kit::attempt(&request).0).reserve(request.get_ref());
        let answer = self.held(&asker, ask).await.map_err(|refused| refused.problem)?;
        Ok(Response::new(reserved(&answer)))
    }

    async fn batch_reserve(
        &self,
        request: Request<pb::BatchReserveRequest>,
    ) -> Result<Response<pb::BatchReserveResponse>, Status> {
        let asker = Arc::new(Asker::of(&request));
        let attempt = holdfast_kit::attempt(&request).0;
        let requests = request.into_inner().requests;
        convert::check_batch(&requests).into_result()?;
        let mut results: Vec<Option<pb::BatchReserveResult>> = vec![None; requests.len()];
        let mut waiting = requests.into_iter().enumerate();
        let mut running = JoinSet::new();
        loop {
            for (index, request) in waiting.by_ref().take(BATCH_AT_ONCE_MAX - running.len()) {
                let (service, asker) = (self.clone(), Arc::clone(&asker));
                let one = async move { (index, service.one_of_batch(&asker, attempt, &request).await) };
                running.spawn(one.in_current_span());
            }
            let Some(done) = running.join_next().await else { break };
            let (index, result) = done.map_err(Problem::defect)?;
            results[index] = Some(result);
        }
        Ok(Response::new(pb::BatchReserveResponse { results: results.into_iter().flatten().collect() }))
    }

    async fn replace(&self, request: Request<pb::ReplaceRequest>) -> Result<Response<pb::ReplaceResponse>, Status> {
        let asker = Asker::of(&request);
        let ask = self.reader(holdfast_kit::attempt(&request).0).replace(request.get_ref());
        let answer = self.held(&asker, ask).await.map_err(|refused| refused.problem)?;
        let pb::ReserveResponse { reservation, current_state, current_expire_time, replayed } = reserved(&answer);
        Ok(Response::new(pb::ReplaceResponse { reservation, current_state, current_expire_time, replayed }))
    }

    async fn confirm(&self, request: Request<pb::ConfirmRequest>) -> Result<Response<pb::ConfirmResponse>, Status> {
        let op = convert::confirm(request.get_ref(), &self.holds, self.clock.now())?;
        let answer = self.changed("confirm", &request, op, request.get_ref().validate_only).await?;
        Ok(answered!(ConfirmResponse, answer))
    }

    async fn fulfil(&self, request: Request<pb::FulfilRequest>) -> Result<Response<pb::FulfilResponse>, Status> {
        let op = convert::fulfil(request.get_ref(), self.clock.now())?;
        let answer = self.changed("fulfil", &request, op, request.get_ref().validate_only).await?;
        Ok(answered!(FulfilResponse, answer))
    }

    async fn cancel(&self, request: Request<pb::CancelRequest>) -> Result<Response<pb::CancelResponse>, Status> {
        let op = convert::cancel(request.get_ref(), &Asker::of(&request).name)?;
        let answer = self.changed("cancel", &request, op, request.get_ref().validate_only).await?;
        Ok(answered!(CancelResponse, answer))
    }

    async fn r#return(&self, request: Request<pb::ReturnRequest>) -> Result<Response<pb::ReturnResponse>, Status> {
        let op = convert::take_back(request.get_ref(), &Asker::of(&request).name)?;
        let answer = self.changed("return", &request, op, request.get_ref().validate_only).await?;
        Ok(answered!(ReturnResponse, answer))
    }

    async fn record_evidence(
        &self,
        request: Request<pb::RecordEvidenceRequest>,
    ) -> Result<Response<pb::RecordEvidenceResponse>, Status> {
        let op = convert::evidence(request.get_ref(), self.clock.now())?;
        let answer = self.changed("record_evidence", &request, op, request.get_ref().validate_only).await?;
        Ok(answered!(RecordEvidenceResponse, answer))
    }

    async fn release(&self, request: Request<pb::ReleaseRequest>) -> Result<Response<pb::ReleaseResponse>, Status> {
        let (op, id) = convert::release(request.get_ref())?;
        self.check_release_key(id).await?;
        let answer = self.changed("release", &request, op, false).await?;
        Ok(answered!(ReleaseResponse, answer))
    }

    async fn extend(&self, request: Request<pb::ExtendRequest>) -> Result<Response<pb::ExtendResponse>, Status> {
        let op = convert::extend(request.get_ref(), &self.holds)?;
        let answer = self.changed("extend", &request, op, false).await?;
        Ok(answered!(ExtendResponse, answer))
    }

    async fn get_reservation(
        &self,
        request: Request<pb::GetReservationRequest>,
    ) -> Result<Response<pb::GetReservationResponse>, Status> {
        let id = convert::reservation_id(&request.get_ref().reservation_id)?;
        let sight = self.reserver.looker.look(Some(id), Vec::new()).await.map_err(convert::problem)?;
        let Some(record) = sight.record(id) else {
            let problem = Problem::new(ErrorReason::NotFound, "there is no such reservation");
            return Err(problem.resource("reservation", id.to_string()).into());
        };
        let reservation = convert::reservation_at(record, sight.read_at);
        Ok(Response::new(pb::GetReservationResponse { reservation: Some(reservation) }))
    }

    async fn list_reservations(
        &self,
        request: Request<pb::ListReservationsRequest>,
    ) -> Result<Response<pb::ListReservationsResponse>, Status> {
        let request = request.get_ref();
        let mut violations = Violations::new();
        let size = page::page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX, &mut violations);
        let state = convert::parse_state(&mut violations, request.state);
        if !request.owner.is_empty() {
            violations.check_owner("owner", &request.owner);
        }
        let order = request.order_reference.as_str();
        if !order.is_empty() {
            violations.check_text("order_reference", order, 1..=Name::BYTES_MAX);
        }
        violations.into_result()?;
        // Tokens of before there were order references go on.
        let filters = [request.owner.as_str(), state, order];
        let filters = if order.is_empty() { &filters[..2] } else { &filters };
        let before: Option<[u8; 16]> = Token::decode(&request.page_token, filters)?;
        let before = ReservationId::from_bytes(before.unwrap_or([0xff; 16]));
        let filter =
            ReservationFilter { owner: request.owner.clone(), state: state.to_owned(), order: order.to_owned() };
        let store = self.store.clone();
        let page = holdfast_kit::tasks::to_the_end(async move { store.list_reservations(before, &filter, size).await });
        let records = page.await.map_err(|error| convert::problem(Failure::Store(error)))?;
        let is_full = records.len() as u64 == size.unsigned_abs();
        let next = records.last().filter(|_| is_full).map(|(record, _)| record.id.to_bytes());
        Ok(Response::new(pb::ListReservationsResponse {
            reservations: records.iter().map(|(record, now)| convert::reservation_at(record, *now)).collect(),
            next_page_token: next.map(|id| Token::encode(filters, &id)).unwrap_or_default(),
        }))
    }

    type WatchReservationsStream = watching::WatchStream<pb::WatchReservationsResponse>;

    async fn watch_reservations(
        &self,
        request: Request<pb::WatchReservationsRequest>,
    ) -> Result<Response<Self::WatchReservationsStream>, Status> {
        Ok(Response::new(self.watching.reservations(request.get_ref()).await?))
    }

    async fn list_at_risk(
        &self,
        request: Request<pb::ListAtRiskRequest>,
    ) -> Result<Response<pb::ListAtRiskResponse>, Status> {
        let request = request.get_ref();
        let mut violations = Violations::new();
        let size = page::page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX, &mut violations);
        let location = convert::named_location(&mut violations, &request.location);
        if !request.sku.is_empty() {
            violations.check_sku("sku", &request.sku);
        }
        violations.into_result()?;
        let filters = [request.sku.clone(), location];
        let texts = [filters[0].as_str(), filters[1].as_str()];
        let after: Option<WholePlace> = Token::decode(&request.page_token, &texts)?;
        let after = after.unwrap_or_else(WholePlace::beginning);
        let (store, named) = (self.store.clone(), filters.clone());
        let page = async move { store.list_at_risk(&after, (&named[0], &named[1]), size).await };
        let page = holdfast_kit::tasks::to_the_end(page).await;
        let found = page.map_err(|error| convert::problem(Failure::Store(error)))?;
        let is_full = found.len() as u64 == size.unsigned_abs();
        let next = found.last().filter(|_| is_full).and_then(|last| {
            let risk = last.risk.as_ref()?;
            Some(WholePlace::after(risk.sku.as_str(), risk.location.as_str(), last.record.id))
        });
        Ok(Response::new(pb::ListAtRiskResponse {
            reservations: found.iter().map(convert::at_risk).collect(),
            next_page_token: next.map(|place| Token::encode(&texts, &place)).unwrap_or_default(),
        }))
    }
}
