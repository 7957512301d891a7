//! What vendor-sync relies on of reservation's ApplyCounts: a suite that the stand-in of these tests passes. It knows nothing but the protos, so that the
//! scenarios over the whole cluster can include this very file and run it against the real service.

use holdfast_api::reservation::v1 as pb;
use holdfast_api::reservation::v1::stock_service_client::StockServiceClient;
use tonic::transport::Channel;
use uuid::Uuid;

/// Runs the suite against a stock service that has none of the SKUs named here.
pub(crate) async fn holds(stock: StockServiceClient<Channel>) {
    one_key_has_one_effect(stock.clone()).await;
    the_same_key_for_another_payload_is_refused(stock.clone()).await;
    only_a_later_moment_or_sequence_is_taken(stock.clone()).await;
    results_stand_in_the_order_of_the_counts(stock.clone()).await;
    a_count_that_expects_something_else_changes_nothing_and_stops_no_other(stock.clone()).await;
    a_refused_request_names_its_counts_and_leaves_the_key_free(stock).await;
}

async fn one_key_has_one_effect(mut stock: StockServiceClient<Channel>) {
    let request = counts(100, 0, &[("suite-once", 7)]);
    let first = stock.apply_counts(request.clone()).await.unwrap().into_inner();
    assert_eq!((outcomes(&first), first.replayed), (vec![pb::CountOutcome::Applied], false));
    let again = stock.apply_counts(request).await.unwrap().into_inner();
    assert_eq!((&again.results, again.replayed), (&first.results, true));
}

async fn the_same_key_for_another_payload_is_refused(mut stock: StockServiceClient<Channel>) {
    let request = counts(100, 0, &[("suite-reused", 7)]);
    stock.apply_counts(request.clone()).await.unwrap();
    let other = pb::ApplyCountsRequest { request_id: request.request_id, ..counts(100, 0, &[("suite-reused", 8)]) };
    assert_eq!(stock.apply_counts(other).await.unwrap_err().code(), tonic::Code::AlreadyExists);
    assert_eq!(on_hand(&mut stock, "suite-reused").await, 7);
}

async fn only_a_later_moment_or_sequence_is_taken(mut stock: StockServiceClient<Channel>) {
    use pb::CountOutcome::{Applied, Stale, Unchanged};
    for (as_of, sequence, quantity, outcome, after) in [
        (200, 0, 5, Applied, 5),
        (100, 9, 6, Stale, 5),
        (200, 0, 6, Stale, 5),
        (200, 1, 6, Applied, 6),
        (201, 0, 6, Unchanged, 6),
        (200, 2, 7, Stale, 6),
        (202, 0, 0, Applied, 0),
    ] {
        let request = counts(as_of, sequence, &[("suite-order", quantity)]);
        let answer = stock.apply_counts(request).await.unwrap().into_inner();
        assert_eq!(outcomes(&answer), [outcome], "{as_of} {sequence} {quantity}");
        assert_eq!(on_hand(&mut stock, "suite-order").await, after, "{as_of} {sequence} {quantity}");
    }
}

async fn results_stand_in_the_order_of_the_counts(mut stock: StockServiceClient<Channel>) {
    let asked: Vec<(String, i64)> =
        (0..1000_i64).rev().map(|number| (format!("suite-many-{number}"), number)).collect();
    let asked: Vec<(&str, i64)> = asked.iter().map(|(sku, quantity)| (sku.as_str(), *quantity)).collect();
    let answer = stock.apply_counts(counts(100, 0, &asked)).await.unwrap().into_inner();
    let seen: Vec<(&str, i64)> = answer.results.iter().map(|result| (result.sku.as_str(), result.on_hand)).collect();
    assert_eq!(seen, asked);
    assert!(answer.results.iter().all(|result| result.previous_on_hand == 0 && result.shortfall == 0));
}

async fn a_count_that_expects_something_else_changes_nothing_and_stops_no_other(
    mut stock: StockServiceClient<Channel>,
) {
    use pb::CountOutcome::{Applied, Conflict, Unchanged};
    let expecting = |as_of, of: &[(&str, i64, i64)]| {
        let plain: Vec<(&str, i64)> = of.iter().map(|(sku, quantity, _)| (*sku, *quantity)).collect();
        let mut request = counts(as_of, 0, &plain);
        for (count, (_, _, expected)) in request.counts.iter_mut().zip(of) {
            count.expected_on_hand = Some(*expected);
        }
        request
    };
    let request = expecting(300, &[("suite-seen-a", 5, 0), ("suite-seen-b", 5, 3)]);
    let first = stock.apply_counts(request.clone()).await.unwrap().into_inner();
    assert_eq!(outcomes(&first), [Applied, Conflict], "where there is no row, 0 is expected");
    let again = stock.apply_counts(request).await.unwrap().into_inner();
    assert_eq!((&again.results, again.replayed), (&first.results, true), "its own effect is no conflict");
    let later = expecting(301, &[("suite-seen-a", 7, 4), ("suite-seen-b", 0, 0)]);
    let later = stock.apply_counts(later).await.unwrap().into_inner();
    assert_eq!(outcomes(&later)[0], Conflict);
    assert_eq!((later.results[0].previous_on_hand, later.results[0].on_hand), (5, 5));
    let same = stock.apply_counts(expecting(302, &[("suite-seen-a", 5, 5)])).await.unwrap().into_inner();
    assert_eq!(outcomes(&same), [Unchanged]);
}

async fn a_refused_request_names_its_counts_and_leaves_the_key_free(mut stock: StockServiceClient<Channel>) {
    let wrong = counts(100, 0, &[("suite-right", 1), ("suite-wrong", -1)]);
    let refused = stock.apply_counts(wrong.clone()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().starts_with("counts[1].quantity"), "{}", refused.message());
    let mut right = wrong;
    right.counts.pop();
    let answer = stock.apply_counts(right).await.unwrap().into_inner();
    assert_eq!((outcomes(&answer), answer.replayed), (vec![pb::CountOutcome::Applied], false));
}

/// A request with a key of its own; the moment in seconds after a day of 2026.
fn counts(as_of: i64, sequence: i64, counts: &[(&str, i64)]) -> pb::ApplyCountsRequest {
    let count = |(sku, quantity): &(&str, i64)| pb::Count {
        sku: (*sku).to_owned(),
        location: "suite".to_owned(),
        quantity: *quantity,
        effect: pb::CountEffect::Set.into(),
        expected_on_hand: None,
    };
    pb::ApplyCountsRequest {
        request_id: Uuid::now_v7().to_string(),
        connection: "suite".to_owned(),
        run: "suite".to_owned(),
        as_of_time: Some(prost_types::Timestamp { seconds: 1_767_225_600 + as_of, nanos: 0 }),
        sequence,
        meaning: pb::CountMeaning::OnHand.into(),
        counts: counts.iter().map(count).collect(),
        covers_all: false,
        validate_only: false,
    }
}

fn outcomes(answer: &pb::ApplyCountsResponse) -> Vec<pb::CountOutcome> {
    answer.results.iter().map(pb::CountResult::outcome).collect()
}

async fn on_hand(stock: &mut StockServiceClient<Channel>, sku: &str) -> i64 {
    let request = pb::GetStockRequest { sku: sku.to_owned() };
    let levels = stock.get_stock(request).await.unwrap().into_inner().levels;
    levels.iter().map(|level| level.on_hand).sum()
}
