//! Numbers that the shop types itself.

use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::house_service_server::HouseService;
use tonic::Request;

use super::{Answer, Grpc, unbuilt};

#[tonic::async_trait]
impl HouseService for Grpc {
    async fn submit_counts(&self, _: Request<wire::SubmitCountsRequest>) -> Answer<wire::SubmitCountsResponse> {
        Err(unbuilt())
    }

    async fn submit_adjustments(
        &self,
        _: Request<wire::SubmitAdjustmentsRequest>,
    ) -> Answer<wire::SubmitAdjustmentsResponse> {
        Err(unbuilt())
    }
}
