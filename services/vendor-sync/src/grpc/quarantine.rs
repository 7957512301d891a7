//! Numbers that a guard stopped: read, listed, decided.

use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::quarantine_service_server::QuarantineService;
use tonic::Request;

use super::{Answer, Grpc, unbuilt};

#[tonic::async_trait]
impl QuarantineService for Grpc {
    async fn get_quarantined_row(
        &self,
        _: Request<wire::GetQuarantinedRowRequest>,
    ) -> Answer<wire::GetQuarantinedRowResponse> {
        Err(unbuilt())
    }

    async fn list_quarantined_rows(
        &self,
        _: Request<wire::ListQuarantinedRowsRequest>,
    ) -> Answer<wire::ListQuarantinedRowsResponse> {
        Err(unbuilt())
    }

    async fn approve_quarantined_row(
        &self,
        _: Request<wire::ApproveQuarantinedRowRequest>,
    ) -> Answer<wire::ApproveQuarantinedRowResponse> {
        Err(unbuilt())
    }

    async fn reject_quarantined_row(
        &self,
        _: Request<wire::RejectQuarantinedRowRequest>,
    ) -> Answer<wire::RejectQuarantinedRowResponse> {
        Err(unbuilt())
    }
}
