//! The offers that catalog tells.

use holdfast_api::vendorsync::v1 as wire;
use holdfast_kit::Problem;
use tonic::Response;
use tracing::Instrument as _;

use super::{Answer, Grpc};
use crate::convert;

impl Grpc {
    pub(super) async fn take_offers(&self, request: wire::ApplyOffersRequest) -> Answer<wire::ApplyOffersResponse> {
        let told = convert::told_offers(request)?;
        let skus = told.len() as u64;
        let store = self.store.clone();
        let apply = async move { store.apply_offers(&told).await };
        let applied = self.tasks.spawn(apply.in_current_span()).await.map_err(Problem::defect)?;
        let applied = applied.map_err(Problem::from)?;
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        Ok(Response::new(wire::ApplyOffersResponse { applied: count(applied), known: count(skus - applied) }))
    }
}
