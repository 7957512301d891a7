//! Connections: created, changed, paused, resumed, looked at now.

use holdfast_api::error::v1::ErrorReason;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_kit::{Problem, deadline};
use prost::Message as _;
use tonic::{Request, Response};
use tracing::Instrument as _;

use super::{Answer, Grpc, RETRY, unreachable};
use crate::convert::{self, Switch};

/// How often a change is made anew because the connection was changed meanwhile.
const ATTEMPTS_MAX: u32 = 5;

impl Grpc {
    pub(super) async fn create(
        &self,
        request: wire::CreateConnectionRequest,
    ) -> Answer<wire::CreateConnectionResponse> {
        let (request_id, new) = convert::create_connection(request, &self.fetchable)?;
        let key = convert::connection_key(request_id, &new);
        // A replay is answered without catalog.
        let answered = self.store.answered(&key).await.map_err(Problem::from)?;
        let answer = match answered {
            Some(answer) => answer,
            None => {
                let unknown = self.peers.unknown_references(&new).await.map_err(unreachable)?;
                if !unknown.is_empty() {
                    return Err(convert::unknown_references(unknown).into());
                }
                let store = self.store.clone();
                let create = async move { store.create_connection(&key, &new, convert::created).await };
                let created = self.tasks.spawn(create.in_current_span()).await.map_err(Problem::defect)?;
                created.map_err(Problem::from)?
            }
        };
        Ok(Response::new(wire::CreateConnectionResponse::decode(answer.as_slice()).map_err(Problem::defect)?))
    }

    pub(super) async fn update(
        &self,
        request: wire::UpdateConnectionRequest,
    ) -> Answer<wire::UpdateConnectionResponse> {
        let change = convert::update_connection(request)?;
        let mut answer = self.store.answered(&change.key).await.map_err(Problem::from)?;
        for _ in 0..ATTEMPTS_MAX {
            if answer.is_some() {
                break;
            }
            let found = self.store.connection(change.code()).await.map_err(Problem::from)?;
            let current = found.ok_or_else(|| convert::no_connection(change.code()))?.connection;
            let new = change.of(&current, &self.fetchable)?;
            let (store, key, fields) = (self.store.clone(), change.key.clone(), change.named());
            let update =
                async move { store.update_connection(&key, &new, current.revision, &fields, convert::changed).await };
            let updated = self.tasks.spawn(update.in_current_span()).await.map_err(Problem::defect)?;
            answer = updated.map_err(Problem::from)?;
        }
        let answer = answer.ok_or_else(|| {
            let message = "the connection is being changed by others all the time; nothing was changed";
            Problem::new(ErrorReason::Overloaded, message).retry_after(RETRY)
        })?;
        Ok(Response::new(wire::UpdateConnectionResponse::decode(answer.as_slice()).map_err(Problem::defect)?))
    }

    pub(super) async fn pause(&self, request: wire::PauseConnectionRequest) -> Answer<wire::PauseConnectionResponse> {
        let wire::PauseConnectionRequest { request_id, code, actor, reason } = request;
        let answer = self.switch(convert::switch(&request_id, code, actor, reason, true)?).await?;
        Ok(Response::new(wire::PauseConnectionResponse::decode(answer.as_slice()).map_err(Problem::defect)?))
    }

    pub(super) async fn resume(
        &self,
        request: wire::ResumeConnectionRequest,
    ) -> Answer<wire::ResumeConnectionResponse> {
        let wire::ResumeConnectionRequest { request_id, code, actor, reason } = request;
        let answer = self.switch(convert::switch(&request_id, code, actor, reason, false)?).await?;
        Ok(Response::new(wire::ResumeConnectionResponse::decode(answer.as_slice()).map_err(Problem::defect)?))
    }

    async fn switch(&self, switch: Switch) -> Result<Vec<u8>, Problem> {
        let store = self.store.clone();
        let switch = async move { store.switch_connection(&switch, convert::changed).await };
        let switched = self.tasks.spawn(switch.in_current_span()).await.map_err(Problem::defect)?;
        Ok(switched?)
    }

    /// Looks at a folder or an address now, and waits for the runs that this leads to like an upload does.
    pub(super) async fn fetch(&self, request: Request<wire::FetchNowRequest>) -> Answer<wire::FetchNowResponse> {
        let until = self.until(deadline(&request).remaining());
        let code = convert::code(request.into_inner().code)?;
        let found = self.store.connection(&code).await.map_err(Problem::from)?;
        let found = found.ok_or_else(|| convert::no_connection(&code))?;
        if found.connection.content.source.is_none() {
            return Err(convert::nothing_to_look_at().into());
        }
        let look = self.fetcher.clone().look_now(code, until);
        let look = self.tasks.spawn(look.in_current_span()).await.map_err(Problem::defect)??;
        let mut runs = Vec::with_capacity(look.runs.len());
        for run_id in look.runs {
            let run = self.runs.wait(run_id, until).await.map_err(Problem::from)?;
            runs.extend(run.map(convert::run));
        }
        Ok(Response::new(wire::FetchNowResponse { runs, fetch_status: look.status }))
    }
}
