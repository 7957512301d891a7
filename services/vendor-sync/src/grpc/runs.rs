//! Held runs: believed or not.

use std::time::Instant;

use holdfast_api::vendorsync::v1 as wire;
use holdfast_kit::{Problem, Violations, deadline};
use time::OffsetDateTime;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::{Answer, Grpc, decided_anyway};
use crate::convert::{self, ToDecide};
use crate::model::RunState;

impl Grpc {
    pub(super) async fn approve(&self, request: Request<wire::ApproveRunRequest>) -> Answer<wire::ApproveRunResponse> {
        let until = self.until(deadline(&request).remaining());
        let wire::ApproveRunRequest { request_id, run_id, actor, reason } = request.into_inner();
        let to_decide = convert::decide_run(&request_id, &run_id, actor, reason, true)?;
        // Nothing could be taken of it, and every file until then would look old beside it.
        if let Some(run) = self.store.run(to_decide.id).await.map_err(Problem::from)?
            && run.state == RunState::Held
            && run.moment.as_of > OffsetDateTime::now_utc() + convert::AHEAD_MAX
        {
            let mut violations = Violations::new();
            violations.add(
                "run_id",
                "says that it was counted more than 5 minutes from now: approve it when that time has come",
            );
            return Err(violations.into_problem().into());
        }
        let run = self.decide(to_decide, until).await?;
        Ok(Response::new(wire::ApproveRunResponse { run: Some(run) }))
    }

    pub(super) async fn reject(&self, request: wire::RejectRunRequest) -> Answer<wire::RejectRunResponse> {
        let wire::RejectRunRequest { request_id, run_id, actor, reason } = request;
        let to_decide = convert::decide_run(&request_id, &run_id, actor, reason, false)?;
        let run = self.decide(to_decide, Instant::now()).await?;
        Ok(Response::new(wire::RejectRunResponse { run: Some(run) }))
    }

    /// Keeps the decision and waits for what comes of it.
    async fn decide(&self, to_decide: ToDecide, until: Instant) -> Result<wire::Run, Status> {
        let (store, runs, run_id) = (self.store.clone(), self.runs.clone(), to_decide.id);
        let decide = async move {
            let decided = store.decide_run(&to_decide.key, to_decide.id, &to_decide.decision).await;
            runs.wake();
            decided
        };
        let decided = self.tasks.spawn(decide.in_current_span()).await.map_err(Problem::defect)?;
        decided.map_err(Problem::from)?;
        let run = self.runs.wait(run_id, until).await.map_err(decided_anyway)?;
        Ok(convert::run(run.ok_or_else(|| convert::no_run(run_id))?))
    }
}
