//! The auditor's findings, whole audits on demand, and repair.

use std::time::Duration;

use holdfast_api::reservation::v1::audit_service_client::AuditServiceClient;
use holdfast_api::reservation::v1::run_audit_response::Event;
use holdfast_api::reservation::v1::{
    ListDiscrepanciesRequest, ListDiscrepanciesResponse, RepairRequest, RepairResponse, RunAuditRequest,
    RunAuditResponse,
};
use tonic::Streaming;
use tonic::transport::Channel;

use crate::connection::{ANSWER_BYTES_MAX, Connection, unary};
use crate::error::{Error, Failure};
use crate::keys::RequestKey;

/// Reads what contradicts itself in the record, and puts it right. The connection is the same as the reservations'.
#[derive(Debug, Clone)]
pub struct AuditClient {
    connection: Connection,
    grpc: AuditServiceClient<Channel>,
}

/// A whole audit under way. Dropping it ends the audit.
#[derive(Debug)]
pub struct AuditRun {
    stream: Streaming<RunAuditResponse>,
}

impl AuditClient {
    /// A handle on the service that `connection` reaches.
    pub fn new(connection: &Connection) -> Self {
        let grpc = AuditServiceClient::new(connection.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        Self { connection: connection.clone(), grpc }
    }

    /// The same handle, with calls that may take `deadline` in all.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { connection: self.connection.with_deadline(deadline), grpc: self.grpc.clone() }
    }

    /// Reads a page of discrepancies, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::InvalidPageToken`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and
    /// those of who may call. Reading changes nothing.
    pub async fn list_discrepancies(
        &self,
        request: ListDiscrepanciesRequest,
    ) -> Result<ListDiscrepanciesResponse, Error> {
        unary!(self, list_discrepancies, request.clone())
    }

    /// Begins a whole audit. It is not resumed when it breaks off: run it again.
    ///
    /// # Errors
    /// [`Error::Overloaded`]: another one is under way. As any call: [`Error::Unreachable`], [`Error::Unknown`], and those of who may call. Looking changes
    /// nothing.
    pub async fn run_audit(&self) -> Result<AuditRun, Error> {
        let request = self.connection.endless(RunAuditRequest {});
        let timeout = self.connection.settings().deadline;
        let mut grpc = self.grpc.clone();
        let begun = match tokio::time::timeout(timeout, grpc.run_audit(request)).await {
            Ok(Ok(response)) => return Ok(AuditRun { stream: response.into_inner() }),
            Ok(Err(status)) => Failure::from_status(&status),
            Err(_elapsed) => Failure::no_answer(timeout),
        };
        Err(begun.into_error(1, false))
    }

    /// Puts discrepancies right, or with `validate_only` says what would be done. `request.request_id` is replaced by `key`.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::KeyReused`], [`Error::Overloaded`]: nothing was changed. As any call, [`Error::Unknown`] among them: then
    /// the effect may have happened, call again with the same key.
    pub async fn repair(&self, key: RequestKey, request: RepairRequest) -> Result<RepairResponse, Error> {
        unary!(self, repair, RepairRequest { request_id: key.to_string(), ..request.clone() })
    }
}

impl AuditRun {
    /// Waits for the next event; none once the audit has ended.
    ///
    /// # Errors
    /// The audit broke off: nothing is known of what it had not come to. [`Error::Unreachable`], [`Error::Unknown`], [`Error::Overloaded`].
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            match self.stream.message().await {
                // An event that only a newer server knows.
                Ok(Some(response)) if response.event.is_none() => {}
                Ok(Some(response)) => return Ok(response.event),
                Ok(None) => return Ok(None),
                Err(status) => return Err(Failure::from_status(&status).into_error(1, false)),
            }
        }
    }
}
