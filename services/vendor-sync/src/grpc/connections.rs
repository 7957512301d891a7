//! Connections: changed, paused, resumed, looked at now.

use holdfast_api::vendorsync::v1 as wire;

use super::{Answer, Grpc, unbuilt};

impl Grpc {
    pub(super) async fn update(&self, _: wire::UpdateConnectionRequest) -> Answer<wire::UpdateConnectionResponse> {
        Err(unbuilt())
    }

    pub(super) async fn pause(&self, _: wire::PauseConnectionRequest) -> Answer<wire::PauseConnectionResponse> {
        Err(unbuilt())
    }

    pub(super) async fn resume(&self, _: wire::ResumeConnectionRequest) -> Answer<wire::ResumeConnectionResponse> {
        Err(unbuilt())
    }

    pub(super) async fn fetch(&self, _: wire::FetchNowRequest) -> Answer<wire::FetchNowResponse> {
        Err(unbuilt())
    }
}
