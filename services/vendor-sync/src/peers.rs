//! The two services that vendor-sync calls: catalog says what a vendor's codes are, reservation takes the counts.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use holdfast_api::catalog::v1::BatchGetOffersRequest;
use holdfast_api::error::v1::ErrorReason;
use holdfast_api::reservation::v1 as pb;
use holdfast_api::reservation::v1::{
    Adjustment, ApplyCountsRequest, BatchGetStockRequest, CompleteRunRequest, Count, CountMeaning, CountOutcome,
    CountResult, StockLevel,
};
use holdfast_client::{CatalogClient, Connection, Error, RequestKey, Settings, StockClient, Violation};
use holdfast_feeds::observation::Class;
use holdfast_feeds::plan::Offer;
use secrecy::ExposeSecret as _;
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::config::{Config, PeerConfig};
use crate::convert::timestamp;
use crate::model::{CountEffect, CountLine, CountsOf, NewConnection, Promise, RowOutcome, Verdict};

/// Codes in one request to catalog: the most that it takes.
const CODES_PER_REQUEST: usize = 1000;

/// Catalog and reservation. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Peers {
    catalog: CatalogClient,
    catalog_requests_at_once_max: usize,
    stock: StockClient,
}

/// What reservation has of a SKU at a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnHand {
    /// Units on hand.
    pub units: u64,
    /// Sold units that are not taken off it yet and that a count to come reflects; 0 if none was named.
    pub reflectable: u64,
    /// The connection whose count it was; empty if it was never counted.
    pub counted_by: String,
}

/// A peer that did not do its part.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It did not answer, is full, or does not let us in: it may do so later. With the same key nothing happens twice.
    #[error("waiting for {peer}: {message}")]
    Later {
        /// Which.
        peer: &'static str,
        /// What it said, or what the network said.
        message: String,
    },
    /// Reservation does not take some counts, and took none of the request.
    #[error("reservation refuses {} counts", .0.len())]
    Counts(Vec<Verdict>),
    /// Reservation does not take the request as it is.
    #[error("reservation refuses the request: {0}")]
    Request(String),
}

impl Peers {
    /// As configured. Connects when first used.
    ///
    /// # Errors
    /// When an endpoint or a token cannot be used. Nothing was sent.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            catalog: CatalogClient::new(&connection("catalog", &config.catalog)?),
            catalog_requests_at_once_max: config.catalog.requests_at_once_max,
            stock: StockClient::new(&connection("reservation", &config.reservation)?),
        })
    }

    /// Which of a connection's vendor and location catalog does not know: `vendor`, `location`, with their codes.
    ///
    /// # Errors
    /// [`PeerError::Later`].
    pub async fn unknown_references(&self, new: &NewConnection) -> Result<Vec<(&'static str, String)>, PeerError> {
        let (vendor, location) =
            tokio::join!(self.catalog.get_vendor(&new.vendor), self.catalog.get_location(&new.location));
        let mut unknown = Vec::new();
        for (kind, code, found) in
            [("vendor", &new.vendor, vendor.map(drop)), ("location", &new.location, location.map(drop))]
        {
            match found {
                Ok(()) => {}
                Err(Error::NotFound { .. }) => unknown.push((kind, code.clone())),
                Err(error) => return Err(later("catalog", &error)),
            }
        }
        Ok(unknown)
    }

    /// The offers of a vendor's codes at a location, by code. Codes without an offer are left out.
    ///
    /// # Errors
    /// [`PeerError::Later`].
    pub async fn offers(&self, of: &NewConnection, codes: &[&str]) -> Result<HashMap<String, Offer>, PeerError> {
        let mut requests = codes.chunks(CODES_PER_REQUEST).map(|codes| BatchGetOffersRequest {
            vendor: of.vendor.clone(),
            location: of.location.clone(),
            vendor_skus: codes.iter().map(|code| (*code).to_owned()).collect(),
        });
        let mut calls = JoinSet::new();
        let mut call = |calls: &mut JoinSet<_>| {
            if let Some(request) = requests.next() {
                let catalog = self.catalog.clone();
                calls.spawn(async move { catalog.batch_get_offers(request).await }.in_current_span());
            }
        };
        for _ in 0..self.catalog_requests_at_once_max {
            call(&mut calls);
        }
        let mut offers = HashMap::with_capacity(codes.len());
        while let Some(answer) = calls.join_next().await {
            let answer =
                answer.map_err(|panicked| PeerError::Later { peer: "catalog", message: panicked.to_string() })?;
            for offer in answer.map_err(|error| later("catalog", &error))?.offers {
                let pack_size = u64::try_from(offer.pack_size).unwrap_or(0).max(1);
                offers.insert(offer.vendor_sku, Offer { sku: offer.sku, pack_size });
            }
            call(&mut calls);
        }
        Ok(offers)
    }

    /// Hands counts to reservation, under a key: however often, they have their effect once. Verdicts are in the order of the counts.
    ///
    /// # Errors
    /// [`PeerError::Counts`], [`PeerError::Request`]: nothing was applied. [`PeerError::Later`]: all or nothing was; hand it over again.
    pub async fn apply(
        &self,
        request_id: Uuid,
        of: &CountsOf,
        counts: &[CountLine],
    ) -> Result<Vec<Verdict>, PeerError> {
        let count = |line: &CountLine| Count {
            sku: line.sku.clone(),
            location: of.location.clone(),
            quantity: line.units,
            effect: match line.effect {
                CountEffect::Set => pb::CountEffect::Set,
                CountEffect::Limit => pb::CountEffect::Limit,
                CountEffect::Unlimit => pb::CountEffect::Unlimit,
            }
            .into(),
            expected_on_hand: line.expected,
        };
        let request = ApplyCountsRequest {
            request_id: String::new(),
            connection: of.connection.clone(),
            run: of.run_id.to_string(),
            as_of_time: Some(timestamp(of.moment.as_of)),
            sequence: sequence(of),
            meaning: meaning(of.class).into(),
            counts: counts.iter().map(count).collect(),
            covers_all: of.covers_all,
            validate_only: false,
        };
        match self.stock.apply_counts(key(request_id), request).await {
            Ok(answer) => verdicts(counts, answer.results),
            Err(Error::Invalid { violations, message, .. }) => Err(refused(counts, &violations, message)),
            Err(Error::KeyReused { message }) => Err(PeerError::Request(message)),
            Err(error) => Err(later("reservation", &error)),
        }
    }

    /// Tells reservation that a run was applied whole, with what its connection promises. Harmless when repeated.
    ///
    /// # Errors
    /// [`PeerError::Request`]: it does not take it as it is. [`PeerError::Later`]: tell it again.
    pub async fn complete(&self, of: &CountsOf, promise: Promise) -> Result<(), PeerError> {
        let wire = |duration: Option<Duration>| duration.and_then(|duration| duration.try_into().ok());
        let request = CompleteRunRequest {
            connection: of.connection.clone(),
            location: of.location.clone(),
            as_of_time: Some(timestamp(of.moment.as_of)),
            sequence: sequence(of),
            promised_interval: wire(promise.cadence),
            covers_all: of.covers_all,
            clock_margin: wire(promise.clock_margin),
            reflection_lag: wire(promise.reflection_lag),
        };
        match self.stock.complete_run(request).await {
            Ok(_) => Ok(()),
            Err(Error::Invalid { message, .. }) => Err(PeerError::Request(message)),
            Err(error) => Err(later("reservation", &error)),
        }
    }

    /// What is on hand of SKUs at a location, by SKU; with a count to come, also how many sold units it will reflect. SKUs without stock there are left out.
    ///
    /// # Errors
    /// [`PeerError::Later`].
    pub async fn on_hand(
        &self,
        location: &str,
        skus: &[String],
        to_come: Option<(OffsetDateTime, Class)>,
    ) -> Result<HashMap<String, OnHand>, PeerError> {
        let mut on_hand = HashMap::with_capacity(skus.len());
        for skus in skus.chunks(CODES_PER_REQUEST) {
            let request = BatchGetStockRequest {
                location: location.to_owned(),
                skus: skus.to_vec(),
                reflect_as_of_time: to_come.map(|(as_of, _)| timestamp(as_of)),
                reflect_meaning: to_come.map_or(CountMeaning::Unspecified, |(_, class)| meaning(class)).into(),
            };
            let answer = self.stock.batch_get_reflectable(request).await;
            for level in answer.map_err(|error| later("reservation", &error))?.levels {
                let units = u64::try_from(level.on_hand).unwrap_or(0);
                let reflectable = u64::try_from(level.reflectable_quantity).unwrap_or(0);
                on_hand.insert(level.sku, OnHand { units, reflectable, counted_by: level.connection });
            }
        }
        Ok(on_hand)
    }

    /// Which of these SKUs catalog does not know.
    ///
    /// # Errors
    /// [`PeerError::Later`].
    pub async fn unknown_skus(&self, skus: &[&str]) -> Result<HashSet<String>, PeerError> {
        let mut unknown = HashSet::new();
        for skus in skus.chunks(CODES_PER_REQUEST) {
            let asked = skus.iter().map(|sku| (*sku).to_owned()).collect();
            let answer = self.catalog.batch_get_skus(asked).await.map_err(|error| later("catalog", &error))?;
            unknown.extend(answer.missing_codes);
        }
        Ok(unknown)
    }

    /// Which of these locations catalog does not know.
    ///
    /// # Errors
    /// [`PeerError::Later`].
    pub async fn unknown_locations(&self, codes: &BTreeSet<&str>) -> Result<Vec<String>, PeerError> {
        let mut unknown = Vec::new();
        for code in codes {
            match self.catalog.get_location(code).await {
                Ok(_) => {}
                Err(Error::NotFound { .. }) => unknown.push((*code).to_owned()),
                Err(error) => return Err(later("catalog", &error)),
            }
        }
        Ok(unknown)
    }

    /// Hands adjustments to reservation, under a key: however often, they have their effect once.
    ///
    /// # Errors
    /// [`AdjustError::Refused`]: nothing was changed, and the key is free. [`AdjustError::Later`]: all or nothing was; hand them over again.
    pub async fn adjust(
        &self,
        request_id: Uuid,
        adjustments: Vec<Adjustment>,
        actor: &str,
        note: &str,
    ) -> Result<Vec<StockLevel>, AdjustError> {
        let answer = self.stock.adjust_stock(key(request_id), adjustments, actor, note).await;
        let refused = |reason, message: String| Err(AdjustError::Refused { reason, message });
        match answer {
            Ok(answer) => Ok(answer.levels),
            Err(Error::StockWouldBeNegative { message, .. }) => refused(ErrorReason::StockWouldBeNegative, message),
            Err(Error::UnknownSku { message, .. }) => refused(ErrorReason::UnknownSku, message),
            Err(Error::Invalid { message, .. }) => refused(ErrorReason::InvalidField, message),
            Err(Error::KeyReused { message }) => refused(ErrorReason::KeyReused, message),
            Err(error) => Err(AdjustError::Later(later("reservation", &error))),
        }
    }
}

/// Adjustments that reservation did not make.
#[derive(Debug, thiserror::Error)]
pub enum AdjustError {
    /// It does not take them: nothing was changed.
    #[error("reservation refuses them: {message}")]
    Refused {
        /// Why.
        reason: ErrorReason,
        /// In its words.
        message: String,
    },
    /// It did not answer.
    #[error(transparent)]
    Later(PeerError),
}

/// The sequence by which reservation orders what is said of one moment: first by the file, then by what was decided of the file later, so that a late decision
/// counts for more than its own file and for less than the next one.
fn sequence(of: &CountsOf) -> i64 {
    of.moment.sequence.saturating_mul(1 << 32).saturating_add(of.place.into())
}

fn meaning(class: Class) -> CountMeaning {
    match class {
        Class::OnHand => CountMeaning::OnHand,
        Class::Available => CountMeaning::Available,
    }
}

fn connection(name: &str, config: &PeerConfig) -> anyhow::Result<Connection> {
    // A batch of a thousand counts takes as long as it takes: an attempt may have half of the time, so that there is a second one.
    let settings =
        Settings { deadline: config.call_timeout(), attempt_timeout: config.call_timeout() / 2, ..Settings::default() };
    let builder = Connection::builder_with([config.endpoint.clone()], settings);
    let token = config.token.expose_secret();
    let builder = if token.is_empty() { builder } else { builder.token(token) };
    builder.build().map_err(|error| anyhow::anyhow!("{name}.endpoint: {error}"))
}

fn key(request_id: Uuid) -> RequestKey {
    let text = request_id.as_hyphenated().to_string();
    text.parse().expect("a UUID in its usual spelling is a request's key")
}

fn later(peer: &'static str, error: &Error) -> PeerError {
    PeerError::Later { peer, message: error.to_string() }
}

/// Reservation's answer, result by result.
fn verdicts(counts: &[CountLine], results: Vec<CountResult>) -> Result<Vec<Verdict>, PeerError> {
    let odd = |what: &str| PeerError::Later { peer: "reservation", message: format!("its answer has {what}") };
    if results.len() != counts.len() {
        return Err(odd("another number of results than there were counts"));
    }
    let verdict = |(line, result): (&CountLine, CountResult)| {
        let outcome = match result.outcome() {
            CountOutcome::Applied => RowOutcome::Applied,
            CountOutcome::Unchanged => RowOutcome::Unchanged,
            CountOutcome::Stale => RowOutcome::Stale,
            CountOutcome::Conflict if line.expected.is_none() => {
                return Err(odd("a conflict where nothing was expected"));
            }
            CountOutcome::Conflict => RowOutcome::Conflict,
            CountOutcome::Unspecified => return Err(odd("a result without an outcome")),
        };
        if line.sku != result.sku {
            return Err(odd("its results in another order"));
        }
        let note = match (outcome, line.expected) {
            (RowOutcome::Conflict, Some(expected)) => {
                format!("{} are on hand, not the {expected} that were expected: look again, and count", result.on_hand)
            }
            _ => String::new(),
        };
        Ok(Verdict {
            sku: result.sku,
            outcome,
            previous_on_hand: Some(result.previous_on_hand),
            shortfall: Some(result.shortfall),
            note,
        })
    };
    counts.iter().zip(results).map(verdict).collect()
}

/// The counts that the violations name, each with its reason; or the whole request, if they name none.
fn refused(counts: &[CountLine], violations: &[Violation], message: String) -> PeerError {
    let mut refused: Vec<Verdict> = Vec::new();
    for violation in violations {
        let Some(CountLine { sku, .. }) = index(&violation.field).and_then(|index| counts.get(index)) else { continue };
        if refused.iter().all(|verdict| verdict.sku != *sku) {
            refused.push(Verdict {
                sku: sku.clone(),
                outcome: RowOutcome::Rejected,
                previous_on_hand: None,
                shortfall: None,
                note: format!("reservation refuses it: {}", violation.description),
            });
        }
    }
    if refused.is_empty() { PeerError::Request(message) } else { PeerError::Counts(refused) }
}

/// The index in `counts[12].sku`.
fn index(field: &str) -> Option<usize> {
    field.strip_prefix("counts[")?.split_once(']')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> Vec<CountLine> {
        ["A", "B", "C"]
            .map(|sku| CountLine { sku: sku.to_owned(), units: 1, effect: CountEffect::Set, expected: Some(7) })
            .to_vec()
    }

    fn result(sku: &str, outcome: CountOutcome) -> CountResult {
        CountResult { sku: sku.to_owned(), outcome: outcome.into(), previous_on_hand: 5, ..CountResult::default() }
    }

    #[test]
    fn only_the_counts_that_reservation_names_are_refused() {
        let violation = |field: &str| Violation { field: field.to_owned(), description: "is odd".to_owned() };
        let named = [violation("counts[1].sku"), violation("counts[1].quantity"), violation("counts[7].sku")];
        let PeerError::Counts(refused) = refused(&counts(), &named, String::new()) else { panic!("counts are named") };
        assert_eq!(refused.len(), 1);
        assert_eq!((refused[0].sku.as_str(), refused[0].outcome), ("B", RowOutcome::Rejected));
        let request = super::refused(&counts(), &[violation("as_of_time")], "too far ahead".to_owned());
        assert!(matches!(request, PeerError::Request(message) if message == "too far ahead"));
    }

    #[test]
    fn an_answer_that_does_not_fit_the_request_is_not_believed() {
        let applied = |skus: &[&str]| skus.iter().map(|sku| result(sku, CountOutcome::Applied)).collect::<Vec<_>>();
        assert_eq!(verdicts(&counts(), applied(&["A", "B", "C"])).unwrap().len(), 3);
        assert!(verdicts(&counts(), applied(&["A", "B"])).is_err());
        assert!(verdicts(&counts(), applied(&["A", "C", "B"])).is_err());
        let conflict =
            verdicts(&counts(), ["A", "B", "C"].map(|sku| result(sku, CountOutcome::Conflict)).to_vec()).unwrap();
        assert!(
            conflict.iter().all(|verdict| verdict.outcome == RowOutcome::Conflict && verdict.note.contains("the 7"))
        );
        let without_outcome = ["A", "B", "C"].map(|sku| result(sku, CountOutcome::Unspecified)).to_vec();
        assert!(verdicts(&counts(), without_outcome).is_err());
    }
}
