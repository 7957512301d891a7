//! Held runs: believed or not.

use holdfast_api::vendorsync::v1 as wire;
use tonic::Request;

use super::{Answer, Grpc, unbuilt};

impl Grpc {
    pub(super) async fn approve(&self, _: Request<wire::ApproveRunRequest>) -> Answer<wire::ApproveRunResponse> {
        Err(unbuilt())
    }

    pub(super) async fn reject(&self, _: wire::RejectRunRequest) -> Answer<wire::RejectRunResponse> {
        Err(unbuilt())
    }
}
