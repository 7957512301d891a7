//! Numbers that a guard stopped: read, listed, decided.

use std::time::Instant;

use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::quarantine_service_server::QuarantineService;
use holdfast_kit::page::Token;
use holdfast_kit::{Problem, deadline};
use tonic::{Request, Response, Status};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Answer, Grpc, decided_anyway};
use crate::convert::{self, ToDecide};
use crate::model::{Decision, Quarantined};
use crate::store::{QuarantineCursor, QuarantineFilter};

/// Default and most items of a page.
const PAGE: (i32, i32) = (100, 1000);

#[tonic::async_trait]
impl QuarantineService for Grpc {
    async fn get_quarantined_row(
        &self,
        request: Request<wire::GetQuarantinedRowRequest>,
    ) -> Answer<wire::GetQuarantinedRowResponse> {
        let id = convert::quarantine_id(&request.into_inner().quarantine_id)?;
        let found = self.store.quarantined(id).await.map_err(Problem::from)?;
        Ok(Response::new(wire::GetQuarantinedRowResponse { row: Some(row(id, found)?) }))
    }

    async fn list_quarantined_rows(
        &self,
        request: Request<wire::ListQuarantinedRowsRequest>,
    ) -> Answer<wire::ListQuarantinedRowsResponse> {
        let request = request.into_inner();
        let mut filter = None;
        let size = convert::page_size(request.page_size, PAGE, |violations| {
            filter = Some(convert::quarantine_filter(violations, &request));
        })?;
        let filter: QuarantineFilter = filter.ok_or_else(|| Problem::defect("a filter was not made"))?;
        let run_id = filter.run_id.map(|run_id| run_id.to_string()).unwrap_or_default();
        let filters = ["ListQuarantinedRows", filter.state.name(), &request.connection, &run_id, &request.sku];
        let after: Option<QuarantineCursor> = Token::decode(&request.page_token, &filters)?;
        let page = self.store.list_quarantined(after.as_ref(), &filter, size).await.map_err(Problem::from)?;
        let next = page.items.last().filter(|_| page.more);
        let next = next.map(|last| Token::encode(&filters, &QuarantineCursor::from(last)));
        let rows = page.items.into_iter().map(convert::quarantined_row).collect::<Result<_, _>>();
        Ok(Response::new(wire::ListQuarantinedRowsResponse {
            rows: rows.map_err(Problem::from)?,
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn approve_quarantined_row(
        &self,
        request: Request<wire::ApproveQuarantinedRowRequest>,
    ) -> Answer<wire::ApproveQuarantinedRowResponse> {
        let until = self.until(deadline(&request).remaining());
        let wire::ApproveQuarantinedRowRequest { request_id, quarantine_id, actor, reason, quantity } =
            request.into_inner();
        let decision = Decision { approves: true, actor, reason };
        let to_decide = convert::decide_quarantined(&request_id, &quarantine_id, decision, quantity)?;
        let row = self.decide_row(to_decide, until).await?;
        Ok(Response::new(wire::ApproveQuarantinedRowResponse { row: Some(row) }))
    }

    async fn reject_quarantined_row(
        &self,
        request: Request<wire::RejectQuarantinedRowRequest>,
    ) -> Answer<wire::RejectQuarantinedRowResponse> {
        let until = self.until(deadline(&request).remaining());
        let wire::RejectQuarantinedRowRequest { request_id, quarantine_id, actor, reason } = request.into_inner();
        let decision = Decision { approves: false, actor, reason };
        let to_decide = convert::decide_quarantined(&request_id, &quarantine_id, decision, None)?;
        let row = self.decide_row(to_decide, until).await?;
        Ok(Response::new(wire::RejectQuarantinedRowResponse { row: Some(row) }))
    }
}

impl Grpc {
    /// Keeps the decision and waits until it is carried out, or for as long as the caller does.
    async fn decide_row(&self, to_decide: ToDecide, until: Instant) -> Result<wire::QuarantinedRow, Status> {
        let (store, runs, id) = (self.store.clone(), self.runs.clone(), to_decide.id);
        let decide = async move {
            let ToDecide { key, id, decision, quantity } = to_decide;
            let decided = store.decide_quarantined(&key, id, &decision, quantity).await;
            runs.wake();
            decided
        };
        let decided = self.tasks.spawn(decide.in_current_span()).await.map_err(Problem::defect)?;
        decided.map_err(Problem::from)?;
        let found = self.runs.wait_decided(id, until).await.map_err(decided_anyway)?;
        row(id, found)
    }
}

fn row(id: Uuid, found: Option<Quarantined>) -> Result<wire::QuarantinedRow, Status> {
    let found = found.ok_or_else(|| convert::not_quarantined(id))?;
    Ok(convert::quarantined_row(found).map_err(Problem::from)?)
}
