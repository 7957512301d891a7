//! Numbers that the shop's own people type: counts and adjustments, which pass the same guards as a vendor's.

use std::time::Duration;

use holdfast_api::vendorsync::v1::house_service_client::HouseServiceClient;
use holdfast_api::vendorsync::v1::{
    HouseAdjustment, SubmitAdjustmentsRequest, SubmitAdjustmentsResponse, SubmitCountsRequest, SubmitCountsResponse,
};
use tonic::transport::Channel;

use crate::connection::{ANSWER_BYTES_MAX, Connection, unary};
use crate::error::Error;
use crate::keys::RequestKey;
use crate::retry::RetryPolicy;

/// Takes what the shop's own people count and change. The connection is the same as vendor-sync's.
#[derive(Debug, Clone)]
pub struct HouseClient {
    connection: Connection,
    grpc: HouseServiceClient<Channel>,
}

impl HouseClient {
    /// A handle on the service that `connection` reaches.
    pub fn new(connection: &Connection) -> Self {
        let grpc = HouseServiceClient::new(connection.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
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

    /// Takes what somebody counted at a location: SKUs that a guard stops are quarantined, the others applied. `request.request_id` is replaced by `key`.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::UnknownReference`] (the location), [`Error::UnknownSku`], [`Error::KeyReused`], [`Error::Overloaded`]: nothing was
    /// applied. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn submit_counts(
        &self,
        key: RequestKey,
        request: SubmitCountsRequest,
    ) -> Result<SubmitCountsResponse, Error> {
        unary!(self, submit_counts, SubmitCountsRequest { request_id: key.to_string(), ..request.clone() })
    }

    /// Adds or removes units for a stated reason; all adjustments, or none. If a guard stops one of them, all wait for a person: the answer has
    /// `quarantined` then, and nothing was applied yet.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::UnknownReference`] (a location), [`Error::UnknownSku`], [`Error::StockWouldBeNegative`], [`Error::KeyReused`]: nothing
    /// was changed. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn submit_adjustments(
        &self,
        key: RequestKey,
        adjustments: Vec<HouseAdjustment>,
        actor: &str,
        note: &str,
    ) -> Result<SubmitAdjustmentsResponse, Error> {
        unary!(
            self,
            submit_adjustments,
            SubmitAdjustmentsRequest {
                request_id: key.to_string(),
                adjustments: adjustments.clone(),
                actor: actor.to_owned(),
                note: note.to_owned(),
            }
        )
    }
}
