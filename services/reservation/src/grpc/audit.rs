//! The auditor's findings, a whole audit on demand, and repair.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use holdfast_api::reservation::v1 as pb;
use holdfast_api::reservation::v1::audit_service_server::AuditService;
use holdfast_api::reservation::v1::run_audit_response::Event;
use holdfast_kit::page::{self, Token};
use holdfast_kit::{CancellationToken, ErrorReason, Problem, Violations};
use holdfast_stock::{Answer, Op, ReservationId, RowKey, Sku};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Asker;
use crate::auditor::{AuditorConfig, CHANNEL, COUNTER, Checker, Whole};
use crate::committer::{Committer, Failure};
use crate::convert;
use crate::gate::GateError;
use crate::metrics::AuditorMetrics;
use crate::reconciler::published;
use crate::store::{Discrepancy, StoreError};

const PAGE_DEFAULT: i32 = 100;
const PAGE_MAX: i32 = 1_000;
/// Messages that wait for a slow reader.
const MESSAGES_WAITING_MAX: usize = 16;
/// What a caller is told to wait while another audit is under way, and how long the last message waits for a reader who does not read.
const RETRY: Duration = Duration::from_secs(5);

/// The service's handlers.
#[derive(Debug)]
pub struct Audit {
    pub(crate) checker: Checker,
    pub(crate) committer: Committer,
    pub(crate) config: AuditorConfig,
    pub(crate) metrics: AuditorMetrics,
    pub(crate) shutdown: CancellationToken,
    /// One whole audit at a time.
    pub(crate) runs: Arc<Semaphore>,
}

#[tonic::async_trait]
impl AuditService for Audit {
    type RunAuditStream = ReceiverStream<Result<pb::RunAuditResponse, Status>>;

    async fn list_discrepancies(
        &self,
        request: Request<pb::ListDiscrepanciesRequest>,
    ) -> Result<Response<pb::ListDiscrepanciesResponse>, Status> {
        let request = request.get_ref();
        let mut violations = Violations::new();
        let size = page::page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX, &mut violations);
        violations.into_result()?;
        let (resolved, filter) = (request.show_resolved, request.show_resolved.to_string());
        let before: Option<Uuid> = Token::decode(&request.page_token, &[&filter])?;
        let store = self.checker.store.clone();
        let page = async move { store.list_discrepancies(before.unwrap_or(Uuid::max()), size, resolved).await };
        let found = holdfast_kit::tasks::to_the_end(page).await.map_err(failed)?;
        let is_full = found.len() as u64 == size.unsigned_abs();
        let next = found.last().filter(|_| is_full).map(|last| Token::encode(&[&filter], &last.id));
        Ok(Response::new(pb::ListDiscrepanciesResponse {
            discrepancies: found.into_iter().map(convert::discrepancy).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn run_audit(&self, _: Request<pb::RunAuditRequest>) -> Result<Response<Self::RunAuditStream>, Status> {
        let Ok(place) = Arc::clone(&self.runs).try_acquire_owned() else {
            let problem = Problem::new(ErrorReason::Overloaded, "another whole audit is under way on this replica");
            return Err(problem.retry_after(RETRY).into());
        };
        let (sender, stream) = mpsc::channel(MESSAGES_WAITING_MAX);
        let whole = Whole {
            checker: self.checker.clone(),
            config: self.config,
            metrics: self.metrics.clone(),
            events: sender.clone(),
            encode: |event: Event| Ok(pb::RunAuditResponse { event: Some(event) }),
        };
        let shutdown = self.shutdown.clone();
        let seconds_max = Duration::from_secs(self.config.run_seconds_max.into());
        tokio::spawn(async move {
            let _place = place;
            let ended = tokio::select! {
                () = shutdown.cancelled() => Err(Problem::new(ErrorReason::ShuttingDown, "this replica is going away; run it again")),
                () = sender.closed() => return,
                ended = tokio::time::timeout(seconds_max, whole.run()) => match ended {
                    Ok(ended) => ended.map_err(failed),
                    Err(_elapsed) => {
                        Err(Problem::new(ErrorReason::DeadlineExceeded, "a whole audit takes longer than this service allows"))
                    }
                },
            };
            if let Err(problem) = ended {
                let _not_read = tokio::time::timeout(RETRY, sender.send(Err(problem.into()))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn repair(&self, request: Request<pb::RepairRequest>) -> Result<Response<pb::RepairResponse>, Status> {
        let asker = Asker::of(&request);
        let ask = convert::repair_ask(request.get_ref())?;
        let (store, ids) = (self.checker.store.clone(), ask.discrepancies.clone());
        let found = async move { store.get_discrepancies(&ids).await };
        let found = holdfast_kit::tasks::to_the_end(found).await.map_err(failed)?;
        if let Some(unknown) = ask.discrepancies.iter().find(|id| !found.iter().any(|one| one.id == **id)) {
            let problem = Problem::new(ErrorReason::NotFound, "there is no such discrepancy");
            return Err(problem.resource("discrepancy", unknown.to_string()).into());
        }
        let (channels, found): (Vec<_>, Vec<_>) = found.into_iter().partition(|one| one.kind == CHANNEL);
        let (counters, record): (Vec<_>, Vec<_>) = found.into_iter().partition(|one| one.kind == COUNTER);
        let (actor, reason) = (ask.actor.to_string(), ask.reason.to_string());
        let (mut results, mut replayed): (Vec<_>, bool) = (channels.iter().map(left).collect(), false);
        if !record.is_empty() {
            let (rows, reservations) = self.scope(&record).await.map_err(failed)?;
            let op = Op::Repair {
                request: ask.request,
                payload: ask.payload,
                actor: ask.actor,
                note: ask.reason,
                rows,
                reservations,
                side: ask.side,
                validate_only: ask.validate_only,
            };
            match asker.commit(&self.committer, op).await.map_err(convert::problem)? {
                Answer::Repaired { results: done, replayed: again } => {
                    results.extend(done.into_iter().map(convert::repair_result));
                    replayed = again;
                }
                _ => return Err(Problem::defect("a repair was answered as another operation").into()),
            }
        }
        let (checker, validate_only) = (self.checker.clone(), ask.validate_only);
        let after = async move {
            let published = publish(&checker, &counters, validate_only).await?;
            if !validate_only {
                checker.resolve(&record).await?;
                checker.resolve(&counters).await?;
            }
            Ok(published)
        };
        results.extend(holdfast_kit::tasks::to_the_end(after).await.map_err(failed)?);
        if !validate_only {
            for one in &results {
                let (outcome, detail) = (one.outcome().as_str_name(), &one.detail);
                let pb::RepairResult { sku, location, reservation_id, .. } = one;
                tracing::warn!(actor, reason, sku, location, reservation_id, outcome, detail, "a repair was asked for");
            }
        }
        Ok(Response::new(pb::RepairResponse { results, replayed }))
    }
}

impl Audit {
    /// The stock rows and reservations that a repair of these is about: what is wrong with a row can only be put right as a whole.
    async fn scope(&self, record: &[Discrepancy]) -> Result<(BTreeSet<RowKey>, BTreeSet<ReservationId>), StoreError> {
        let mut rows: BTreeSet<RowKey> = record.iter().filter_map(row).collect();
        let mut reservations: BTreeSet<ReservationId> = record.iter().filter_map(reservation).collect();
        // Reservations bring rows, and rows may have further reservations that are wrong: as far as one step, what lies beyond is left and said to be.
        let skus: BTreeSet<Sku> = rows.iter().map(|(sku, _)| sku.clone()).collect();
        let ids: Vec<ReservationId> = reservations.iter().copied().collect();
        let store = self.checker.store.clone();
        let further = async move {
            let rows = store.rows_of(&ids, &skus.iter().cloned().collect::<Vec<_>>()).await?;
            let skus: Vec<Sku> = skus
                .into_iter()
                .chain(rows.iter().map(|(sku, _)| sku.clone()))
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect();
            let found = store.audit_skus(&skus, crate::auditor::FINDINGS_MAX).await?;
            Ok::<_, StoreError>((rows, found))
        };
        let (further, found) = holdfast_kit::tasks::to_the_end(further).await?;
        rows.extend(further);
        for finding in found.iter().filter(|finding| !finding.reservation_id.is_nil()) {
            if rows.iter().any(|(sku, location)| (sku.as_str(), location.as_str()) == (&finding.sku, &finding.location))
            {
                reservations.insert(ReservationId::from_bytes(finding.reservation_id.into_bytes()));
            }
        }
        let ids: Vec<ReservationId> = reservations.iter().copied().collect();
        let skus: Vec<Sku> = rows.iter().map(|(sku, _)| sku.clone()).collect();
        let store = self.checker.store.clone();
        rows.extend(holdfast_kit::tasks::to_the_end(async move { store.rows_of(&ids, &skus).await }).await?);
        Ok((rows, reservations))
    }
}

fn row(one: &Discrepancy) -> Option<RowKey> {
    Some((Sku::new(&one.sku).ok()?, holdfast_stock::Location::new(&one.location).ok()?))
}

fn reservation(one: &Discrepancy) -> Option<ReservationId> {
    (!one.reservation_id.is_nil()).then(|| ReservationId::from_bytes(one.reservation_id.into_bytes()))
}

/// What channels have stands in no ledger: it is counted anew by a policy, under the locks of all the SKU's rows.
fn left(channel: &Discrepancy) -> pb::RepairResult {
    pb::RepairResult {
        sku: channel.sku.clone(),
        outcome: pb::RepairOutcome::Left.into(),
        detail: format!(
            "{}: delete the SKU's rows of channel_use and apply its policy with a newer version, which counts them anew",
            channel.detail
        ),
        ..pb::RepairResult::default()
    }
}

/// Publishes what Postgres has of the SKUs whose counters were found wrong.
async fn publish(
    checker: &Checker,
    counters: &[Discrepancy],
    validate_only: bool,
) -> Result<Vec<pb::RepairResult>, StoreError> {
    let skus: Vec<Sku> = counters.iter().filter_map(|one| Sku::new(&one.sku).ok()).collect();
    if skus.is_empty() {
        return Ok(Vec::new());
    }
    let records = published(&checker.store.availability(&skus).await?);
    let result = |sku: &Sku, outcome: pb::RepairOutcome, detail: &str| pb::RepairResult {
        sku: sku.to_string(),
        outcome: outcome.into(),
        detail: detail.to_owned(),
        ..pb::RepairResult::default()
    };
    let mut results = Vec::new();
    for sku in &skus {
        let known = records.iter().find(|record| record.sku == *sku).cloned();
        let record = known.unwrap_or_else(|| crate::gate::Published {
            sku: sku.clone(),
            locations: Vec::new(),
            at: holdfast_stock::UnixMicros::default(),
        });
        let total: i64 = record.locations.iter().map(|(_, units)| units).sum();
        let done = match validate_only {
            true => Ok(()),
            false => checker.gate.reconcile(vec![record]).await.and_then(|report| match report.unanswered.as_slice() {
                [] => Ok(()),
                _ => Err(GateError::Unanswered),
            }),
        };
        results.push(match done {
            Ok(()) => result(sku, pb::RepairOutcome::Repaired, &format!("{total} units published anew")),
            Err(error) => result(sku, pb::RepairOutcome::Left, &format!("{error}; it comes right once Redis answers")),
        });
    }
    Ok(results)
}

fn failed(error: StoreError) -> Problem {
    convert::problem(Failure::Store(error))
}
