//! What a checkout calls.

use holdfast_api::reservation::v1 as pb;
use holdfast_api::reservation::v1::reservation_service_server::ReservationService;
use holdfast_kit::page::{self, Token};
use holdfast_kit::{ErrorReason, Problem, Violations};
use holdfast_stock::{Location, Op, ReservationAnswer, ReservationId, Sku};
use tonic::{Request, Response, Status};

use super::{Asker, Watching, watching};
use crate::changes::WholePlace;
use crate::clock::PostgresClock;
use crate::committer::{Committer, Failure};
use crate::config::HoldsConfig;
use crate::convert::{self, ReserveAsk};
use crate::reserve::{self, Reserver};
use crate::store::{ReservationFilter, Store};

const PAGE_DEFAULT: i32 = 50;
const PAGE_MAX: i32 = 500;

/// The service's handlers.
#[derive(Debug)]
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

    /// Everything that is wrong with a request at once: SKUs that nobody knows, too.
    async fn malformed(&self, ask: ReserveAsk) -> Problem {
        let skus: Vec<Sku> = ask.lines.iter().map(|(_, sku, _)| sku.clone()).collect();
        let unknown = match self.reserver.looker.look(None, skus).await {
            Ok(sight) => unknown_rows(&ask.lines, sight.availability()),
            // The request is wrong without it; what cannot be looked up is left out.
            Err(_) => Vec::new(),
        };
        convert::unknown_sku_problem(&ask.lines, &unknown, ask.violations, ask.reason)
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
        let attempt = holdfast_kit::attempt(&request).0;
        let mut ask = convert::reserve_ask(request.get_ref(), attempt, &self.holds, self.clock.now());
        let Some(complete) = ask.complete.take() else {
            return Err(self.malformed(ask).await.into());
        };
        let answer = match self.reserver.reserve(complete, &asker.name, asker.deadline).await {
            Ok(answer) => answer,
            Err(Failure::Refused(holdfast_stock::Refusal::UnknownSku(unknown))) => {
                let problem = convert::unknown_sku_problem(&ask.lines, &unknown, ask.violations, ask.reason);
                return Err(problem.into());
            }
            Err(failure) => return Err(convert::problem(failure).into()),
        };
        Ok(Response::new(pb::ReserveResponse {
            current_state: convert::state(answer.current_state).into(),
            current_expire_time: answer.current_expires_at.map(convert::timestamp),
            replayed: answer.replayed,
            reservation: Some(convert::reservation(&answer.first)),
        }))
    }

    async fn confirm(&self, request: Request<pb::ConfirmRequest>) -> Result<Response<pb::ConfirmResponse>, Status> {
        let asker = Asker::of(&request);
        let message = request.get_ref();
        let ask = convert::transition_ask("Confirm", &message.request_id, &message.reservation_id)?;
        let op = Op::Confirm { request: ask.request, payload: ask.payload, id: ask.id };
        let answer = transition(asker.commit(&self.committer, op).await)?;
        Ok(Response::new(pb::ConfirmResponse {
            reservation: Some(convert::reservation(&answer.first)),
            current_state: convert::state(answer.current_state).into(),
            replayed: answer.replayed,
        }))
    }

    async fn release(&self, request: Request<pb::ReleaseRequest>) -> Result<Response<pb::ReleaseResponse>, Status> {
        let asker = Asker::of(&request);
        let message = request.get_ref();
        let ask = convert::transition_ask("Release", &message.request_id, &message.reservation_id)?;
        self.check_release_key(ask.id).await?;
        let op = Op::Release { request: ask.request, payload: ask.payload, id: ask.id };
        let answer = transition(asker.commit(&self.committer, op).await)?;
        Ok(Response::new(pb::ReleaseResponse {
            reservation: Some(convert::reservation(&answer.first)),
            current_state: convert::state(answer.current_state).into(),
            replayed: answer.replayed,
        }))
    }

    async fn extend(&self, request: Request<pb::ExtendRequest>) -> Result<Response<pb::ExtendResponse>, Status> {
        let asker = Asker::of(&request);
        let (ask, hold) = convert::extend_ask(request.get_ref(), &self.holds)?;
        let op = Op::Extend { request: ask.request, payload: ask.payload, id: ask.id, hold };
        let answer = transition(asker.commit(&self.committer, op).await)?;
        Ok(Response::new(pb::ExtendResponse {
            reservation: Some(convert::reservation(&answer.first)),
            current_state: convert::state(answer.current_state).into(),
            replayed: answer.replayed,
        }))
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
        violations.into_result()?;
        let filters = [request.owner.as_str(), state];
        let before: Option<[u8; 16]> = Token::decode(&request.page_token, &filters)?;
        let before = ReservationId::from_bytes(before.unwrap_or([0xff; 16]));
        let filter = ReservationFilter { owner: request.owner.clone(), state: state.to_owned() };
        let store = self.store.clone();
        let page = holdfast_kit::tasks::to_the_end(async move { store.list_reservations(before, &filter, size).await });
        let records = page.await.map_err(|error| convert::problem(Failure::Store(error)))?;
        let is_full = records.len() as u64 == size.unsigned_abs();
        let next = records.last().filter(|_| is_full).map(|(record, _)| record.id.to_bytes());
        Ok(Response::new(pb::ListReservationsResponse {
            reservations: records.iter().map(|(record, now)| convert::reservation_at(record, *now)).collect(),
            next_page_token: next.map(|id| Token::encode(&filters, &id)).unwrap_or_default(),
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

/// # Errors
/// What went wrong, for the caller.
fn transition(outcome: crate::committer::Outcome) -> Result<ReservationAnswer, Problem> {
    reserve::reservation(outcome).map_err(convert::problem)
}
