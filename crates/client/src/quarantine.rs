//! Numbers that a guard stopped: reading them, and deciding.

use std::time::Duration;

use holdfast_api::vendorsync::v1::quarantine_service_client::QuarantineServiceClient;
use holdfast_api::vendorsync::v1::{
    ApproveQuarantinedRowRequest, ApproveQuarantinedRowResponse, GetQuarantinedRowRequest, GetQuarantinedRowResponse,
    ListQuarantinedRowsRequest, ListQuarantinedRowsResponse, RejectQuarantinedRowRequest, RejectQuarantinedRowResponse,
};
use tonic::transport::Channel;

use crate::connection::{ANSWER_BYTES_MAX, Connection, unary};
use crate::error::Error;
use crate::keys::RequestKey;
use crate::retry::RetryPolicy;
use crate::vendor_sync::Decision;

/// Reads what waits for a person, and decides it. The connection is the same as vendor-sync's.
#[derive(Debug, Clone)]
pub struct QuarantineClient {
    connection: Connection,
    grpc: QuarantineServiceClient<Channel>,
}

impl QuarantineClient {
    /// A handle on the service that `connection` reaches.
    pub fn new(connection: &Connection) -> Self {
        let grpc = QuarantineServiceClient::new(connection.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        Self { connection: connection.clone(), grpc }
    }

    /// The same handle, with calls that may take `deadline` in all.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { connection: self.connection.with_deadline(deadline), grpc: self.grpc.clone() }
    }

    /// The same handle, with another retry policy.
    #[must_use]
    pub fn with_retry(&self, retry: RetryPolicy) -> Self {
        Self { connection: self.connection.with_retry(retry), grpc: self.grpc.clone() }
    }

    /// Reads a quarantined row.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and
    /// those of who may call. Reading changes nothing.
    pub async fn get_quarantined_row(&self, quarantine_id: &str) -> Result<GetQuarantinedRowResponse, Error> {
        unary!(self, get_quarantined_row, GetQuarantinedRowRequest { quarantine_id: quarantine_id.to_owned() })
    }

    /// Reads a page of quarantined rows, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::InvalidPageToken`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and
    /// those of who may call. Reading changes nothing.
    pub async fn list_quarantined_rows(
        &self,
        request: ListQuarantinedRowsRequest,
    ) -> Result<ListQuarantinedRowsResponse, Error> {
        unary!(self, list_quarantined_rows, request.clone())
    }

    /// Believes a number, or with `quantity` the one that the person knows better: it is applied, unless a newer one was meanwhile.
    ///
    /// # Errors
    /// [`Error::Invalid`] (also: the number cannot be read, so `quantity` is needed), [`Error::NotFound`], [`Error::AlreadyDecided`],
    /// [`Error::KeyReused`]: nothing was applied by this call. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn approve_quarantined_row(
        &self,
        key: RequestKey,
        quarantine_id: &str,
        decision: &Decision,
        quantity: Option<i64>,
    ) -> Result<ApproveQuarantinedRowResponse, Error> {
        unary!(
            self,
            approve_quarantined_row,
            ApproveQuarantinedRowRequest {
                request_id: key.to_string(),
                quarantine_id: quarantine_id.to_owned(),
                actor: decision.actor.clone(),
                reason: decision.reason.clone(),
                quantity,
            }
        )
    }

    /// Does not believe a number: what was known stays.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::AlreadyDecided`], [`Error::KeyReused`]: nothing was changed. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn reject_quarantined_row(
        &self,
        key: RequestKey,
        quarantine_id: &str,
        decision: &Decision,
    ) -> Result<RejectQuarantinedRowResponse, Error> {
        unary!(
            self,
            reject_quarantined_row,
            RejectQuarantinedRowRequest {
                request_id: key.to_string(),
                quarantine_id: quarantine_id.to_owned(),
                actor: decision.actor.clone(),
                reason: decision.reason.clone(),
            }
        )
    }
}
