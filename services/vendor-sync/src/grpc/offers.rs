//! The offers that catalog tells.

use holdfast_api::vendorsync::v1 as wire;

use super::{Answer, Grpc, unbuilt};

impl Grpc {
    pub(super) async fn take_offers(&self, _: wire::ApplyOffersRequest) -> Answer<wire::ApplyOffersResponse> {
        Err(unbuilt())
    }
}
