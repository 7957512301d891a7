//! Numbers that the shop types itself: they pass the same guards as vendors'.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use holdfast_api::error::v1::ErrorReason;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::house_service_server::HouseService;
use holdfast_feeds::guards::typed::{self, Addition};
use holdfast_kit::{Problem, deadline};
use prost::Message as _;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;
use uuid::Uuid;

use super::upload::received_anyway;
use super::{Answer, Grpc, unreachable};
use crate::convert::{self, Adjust, TypedCounts};
use crate::fingerprint::adjustment_key;
use crate::model::HOUSE;
use crate::peers::AdjustError;
use crate::store::{Received, RequestKey, StoppedAdjustments, StoreError};

#[tonic::async_trait]
impl HouseService for Grpc {
    async fn submit_counts(&self, request: Request<wire::SubmitCountsRequest>) -> Answer<wire::SubmitCountsResponse> {
        let until = self.until(deadline(&request).remaining());
        let typed = convert::submit_counts(request.into_inner())?;
        let received = self.receive_typed(typed).await?;
        let run = self.runs.wait(received.run_id, until).await.map_err(received_anyway)?;
        let run = run.ok_or_else(|| convert::no_run(received.run_id))?;
        let rows = self.store.list_rows(received.run_id, -1, None, COUNTS_MAX).await.map_err(received_anyway)?;
        Ok(Response::new(wire::SubmitCountsResponse {
            run: Some(convert::run(run)),
            rows: rows.items.into_iter().map(convert::row).collect(),
            replayed: received.replayed,
        }))
    }

    async fn submit_adjustments(
        &self,
        request: Request<wire::SubmitAdjustmentsRequest>,
    ) -> Answer<wire::SubmitAdjustmentsResponse> {
        let adjust = convert::submit_adjustments(request.into_inner())?;
        let key = convert::adjust_key(&adjust);
        let kept = self.store.kept_adjustments(&key).await.map_err(Problem::from)?;
        let replayed = kept.is_some();
        let waiting = match kept {
            Some(waiting) => waiting,
            None => self.judge_adjustments(&key, &adjust).await?,
        };
        // What the guards said is in the record: from here on a repetition does the same, whatever stock has become meanwhile.
        match waiting {
            Some(id) => {
                let row = self.store.quarantined(id).await.map_err(Problem::from)?;
                let row = row.ok_or_else(|| convert::not_quarantined(id))?;
                let quarantined = Some(convert::quarantined_row(row).map_err(Problem::from)?);
                Ok(Response::new(wire::SubmitAdjustmentsResponse { quarantined, levels: Vec::new(), replayed }))
            }
            None => {
                let levels = self.adjust(&adjust).await?;
                Ok(Response::new(wire::SubmitAdjustmentsResponse { quarantined: None, levels, replayed }))
            }
        }
    }
}

/// The most counts of a request.
const COUNTS_MAX: usize = 1000;

impl Grpc {
    /// Takes typed counts into the record, as a file of the house.
    async fn receive_typed(&self, typed: TypedCounts) -> Result<Received, Status> {
        let key = typed.key();
        // A replay is answered without catalog.
        if let Some(received) = self.store.received(&key).await.map_err(Problem::from)? {
            self.rouse(received.run_id).await;
            return Ok(received);
        }
        self.check_house(
            &[typed.file.location.as_str()].into(),
            "counts",
            typed.counts.iter().map(|of| of.sku.as_str()),
        )
        .await?;
        let found = self.store.connection(HOUSE).await.map_err(Problem::from)?;
        let found = found.ok_or_else(|| Problem::from(StoreError::UnknownConnection(HOUSE.to_owned())))?;
        let upload = typed.file(found.present_time)?;
        let (store, runs) = (self.store.clone(), self.runs.clone());
        let keep = async move {
            let received = store.receive(&key, &upload).await;
            runs.wake();
            received
        };
        let kept = self.tasks.spawn(keep.in_current_span()).await.map_err(Problem::defect)?;
        Ok(kept.map_err(Problem::from)?)
    }

    /// Has somebody's run worked on at once.
    async fn rouse(&self, run_id: Uuid) {
        if let Err(error) = self.store.rouse(run_id).await {
            tracing::warn!(%error, "a run could not be roused; it is looked for anyway");
        }
        self.runs.wake();
    }

    /// Whether catalog knows the locations and the SKUs of what was typed.
    pub(super) async fn check_house<'a>(
        &self,
        locations: &BTreeSet<&str>,
        list: &str,
        skus: impl Iterator<Item = &'a str> + Clone + Send,
    ) -> Result<(), Status> {
        let unknown = self.peers.unknown_locations(locations).await.map_err(unreachable)?;
        if !unknown.is_empty() {
            let unknown = unknown.into_iter().map(|code| ("location", code)).collect();
            return Err(convert::unknown_references(unknown).into());
        }
        let asked: BTreeSet<&str> = skus.clone().collect();
        if asked.is_empty() {
            return Ok(());
        }
        let unknown = self.peers.unknown_skus(&asked.into_iter().collect::<Vec<_>>()).await.map_err(unreachable)?;
        convert::unknown_sku_fields(list, skus, &unknown).map_or(Ok(()), |problem| Err(problem.into()))
    }

    /// Has the guards look at adjustments and keeps what they say: the id of what they became if one of them stopped one.
    async fn judge_adjustments(&self, key: &RequestKey, adjust: &Adjust) -> Result<Option<Uuid>, Status> {
        let adjustments = &adjust.request.adjustments;
        let locations: BTreeSet<&str> = adjustments.iter().map(|of| of.location.as_str()).collect();
        self.check_house(&locations, "adjustments", adjustments.iter().map(|of| of.sku.as_str())).await?;
        let stopped = self.stopped(adjust).await?;
        let (store, key) = (self.store.clone(), key.clone());
        let keep = async move { store.keep_adjustments(&key, stopped.as_ref()).await };
        let kept = self.tasks.spawn(keep.in_current_span()).await.map_err(Problem::defect)?;
        Ok(kept.map_err(Problem::from)?)
    }

    /// The first addition of units for sale that a guard stops, with the whole request.
    async fn stopped(&self, adjust: &Adjust) -> Result<Option<StoppedAdjustments>, Status> {
        let view = convert::guard_view(&adjust.request.adjustments);
        let mut by_location: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for ((sku, location), _) in view.iter().filter(|(_, typed)| !typed.added.is_empty()) {
            by_location.entry(location).or_default().push(sku.clone());
        }
        let mut on_hand: HashMap<(String, String), u64> = HashMap::new();
        for (location, skus) in by_location {
            let levels = self.peers.on_hand(location, &skus, None).await.map_err(reservation_unreachable)?;
            on_hand.extend(levels.into_iter().map(|(sku, stock)| ((sku, location.to_owned()), stock.units)));
        }
        for (key, convert::Typed { sum, added, comes_in }) in view {
            let old = on_hand.get(&key).copied();
            let sum = u64::try_from(sum).ok().filter(|sum| *sum > 0);
            let mut stops = sum.into_iter().chain(added).filter_map(|added| {
                let stop = typed::check(self.runs.guards(), &Addition { old, added, comes_in })?;
                Some((added, stop))
            });
            let Some((added, stop)) = stops.next() else { continue };
            let number = |units: u64| i64::try_from(units).unwrap_or(i64::MAX);
            let (sku, location) = key;
            return Ok(Some(StoppedAdjustments {
                sku,
                location,
                raw_quantity: format!("+{added}"),
                old_units: old.map(number),
                new_units: number(old.unwrap_or(0).saturating_add(added)),
                rules: stop.rules.iter().map(ToString::to_string).collect(),
                explanation: stop.explanation,
                exposure: number(added),
                typed_by: adjust.request.actor.clone(),
                note: adjust.request.note.clone(),
                request: adjust.request.encode_to_vec(),
            }));
        }
        Ok(None)
    }

    /// Has reservation make adjustments that no guard stopped.
    async fn adjust(&self, adjust: &Adjust) -> Result<Vec<wire::HouseLevel>, Status> {
        let adjustments = adjust.request.adjustments.iter().map(convert::adjustment).collect();
        let (peers, key) = (self.peers.clone(), adjustment_key(adjust.request_id));
        let (actor, note) = (adjust.request.actor.clone(), adjust.request.note.clone());
        let make = async move { peers.adjust(key, adjustments, &actor, &note).await };
        let made = self.tasks.spawn(make.in_current_span()).await.map_err(Problem::defect)?;
        match made {
            Ok(levels) => Ok(levels.into_iter().map(convert::house_level).collect()),
            Err(AdjustError::Refused { reason, message }) => Err(Problem::new(reason, message).into()),
            Err(AdjustError::Later(later)) => {
                let message = "reservation did not answer; whether the stock changed is unknown: send it again";
                Err(Problem::new(ErrorReason::StoreUnavailable, message).because(later).into())
            }
        }
    }
}

/// Reservation was needed for an answer and did not give its own.
fn reservation_unreachable(error: crate::peers::PeerError) -> Problem {
    let message = "reservation did not answer; nothing was done, try again";
    Problem::new(ErrorReason::StoreUnavailable, message).because(error)
}
