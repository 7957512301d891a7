//! What follows a sale: shipping, cancelling, returns, and what the vendor says of it.

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;
use tonic::Status;

use crate::world::{World, all_at_once, cancel, fields, fulfil, key, now, portion, reason, seconds, test};

/// A sale of so many chairs out of ten.
async fn sale(world: &World, units: i64) -> String {
    world.count("CHAIR", 10).await;
    let id = world.hold("CHAIR", units).await;
    world.confirm(&id).await.unwrap();
    id
}

async fn ship(world: &World, request: pb::FulfilRequest) -> Result<pb::Reservation, Status> {
    Ok(world.reservations().fulfil(request).await?.into_inner().reservation.unwrap())
}

async fn call_off(world: &World, request: pb::CancelRequest) -> Result<pb::Reservation, Status> {
    Ok(world.reservations().cancel(request).await?.into_inner().reservation.unwrap())
}

fn back(id: &str, units: i64, condition: pb::Condition) -> pb::ReturnRequest {
    let returned = pb::ReturnedPortion {
        portion: Some(portion("CHAIR", units)),
        condition: condition.into(),
        to_location: String::new(),
    };
    pb::ReturnRequest { request_id: key(), reservation_id: id.into(), returns: vec![returned], ..Default::default() }
}

fn told(id: &str, kind: pb::EvidenceKind, portions: Vec<pb::Portion>) -> pb::RecordEvidenceRequest {
    pb::RecordEvidenceRequest {
        request_id: key(),
        reservation_id: id.into(),
        kind: kind.into(),
        portions,
        ..Default::default()
    }
}

fn parts(reservation: &pb::Reservation) -> (i64, i64, i64) {
    let part = &reservation.lines[0].allocations[0];
    (part.fulfilled_quantity, part.cancelled_quantity, part.returned_quantity)
}

#[test]
fn a_sale_is_shipped_in_parts_and_fulfilled_with_the_last() {
    test(async |world| {
        let id = sale(world, 5).await;
        let first = fulfil(&id, vec![portion("CHAIR", 2)]);
        let shipped = ship(world, first.clone()).await.unwrap();
        assert_eq!((shipped.state(), parts(&shipped)), (pb::ReservationState::Confirmed, (2, 0, 0)));
        let again = world.reservations().fulfil(first.clone()).await.unwrap().into_inner();
        assert_eq!((again.replayed, again.reservation), (true, Some(shipped)));
        let other = pb::FulfilRequest { portions: vec![portion("CHAIR", 1)], ..first.clone() };
        assert_eq!(reason(ship(world, other).await), ErrorReason::KeyReused);
        assert_eq!(reason(ship(world, fulfil(&id, vec![portion("CHAIR", 4)])).await), ErrorReason::QuantityExceeded);
        let rest = ship(world, fulfil(&id, vec![])).await.unwrap();
        assert_eq!((rest.state(), parts(&rest)), (pb::ReservationState::Fulfilled, (5, 0, 0)));
        assert_eq!(reason(ship(world, fulfil(&id, vec![])).await), ErrorReason::ReservationFulfilled);
        assert_eq!(reason(call_off(world, cancel(&id, vec![])).await), ErrorReason::ReservationFulfilled);
        // The first answer stays the first answer.
        let replay = world.reservations().fulfil(first).await.unwrap().into_inner();
        assert_eq!(
            (replay.current_state(), replay.reservation.unwrap().state()),
            (pb::ReservationState::Fulfilled, pb::ReservationState::Confirmed)
        );
    });
}

#[test]
fn what_was_never_sent_can_be_sold_again_at_once_when_it_is_cancelled() {
    test(async |world| {
        let id = sale(world, 5).await;
        let some = call_off(world, cancel(&id, vec![portion("CHAIR", 2)])).await.unwrap();
        assert_eq!((some.state(), parts(&some)), (pb::ReservationState::Confirmed, (0, 2, 0)));
        let level = world.level("CHAIR").await;
        assert_eq!((level.committed, level.available), (3, 7));
        let lost = pb::CancelRequest {
            restock: pb::CancelRestock::Lost.into(),
            note: "fell off".into(),
            ..cancel(&id, vec![])
        };
        let all = call_off(world, lost).await.unwrap();
        assert_eq!((all.state(), parts(&all)), (pb::ReservationState::Cancelled, (0, 5, 0)));
        let level = world.level("CHAIR").await;
        assert_eq!((level.on_hand, level.committed, level.available), (7, 0, 7));
        assert_eq!(reason(call_off(world, cancel(&id, vec![])).await), ErrorReason::ReservationCancelled);
        assert_eq!(reason(ship(world, fulfil(&id, vec![])).await), ErrorReason::ReservationCancelled);
        let entries = pb::ListLedgerEntriesRequest { sku: "CHAIR".into(), ..Default::default() };
        let entries = world.stock().list_ledger_entries(entries).await.unwrap().into_inner().entries;
        let entry = entries.iter().find(|entry| entry.cause() == pb::LedgerCause::Cancel).unwrap();
        assert_eq!((entry.note.as_str(), entry.cause_id.as_str(), entry.on_hand_delta), ("fell off", id.as_str(), -3));
    });
}

#[test]
fn what_the_vendor_was_told_of_stays_deducted_until_it_takes_the_cancellation() {
    test(async |world| {
        let id = sale(world, 5).await;
        world.reservations().record_evidence(told(&id, pb::EvidenceKind::Sent, vec![])).await.unwrap();
        call_off(world, cancel(&id, vec![])).await.unwrap();
        assert_eq!(world.level("CHAIR").await.committed, 5);
        let taken = told(&id, pb::EvidenceKind::CancellationTaken, vec![portion("CHAIR", 3)]);
        world.reservations().record_evidence(taken.clone()).await.unwrap();
        assert_eq!(world.level("CHAIR").await.committed, 2);
        assert!(world.reservations().record_evidence(taken).await.unwrap().into_inner().replayed);
        let more = told(&id, pb::EvidenceKind::CancellationTaken, vec![portion("CHAIR", 3)]);
        assert_eq!(reason(world.reservations().record_evidence(more).await), ErrorReason::QuantityExceeded);
        world.reservations().record_evidence(told(&id, pb::EvidenceKind::CancellationTaken, vec![])).await.unwrap();
        assert_eq!((world.level("CHAIR").await.committed, world.on_offer("CHAIR").await), (0, 10));
    });
}

#[test]
fn what_was_shipped_comes_back_in_the_condition_that_it_is_in() {
    test(async |world| {
        let id = sale(world, 5).await;
        assert_eq!(
            reason(world.reservations().r#return(back(&id, 1, pb::Condition::Sellable)).await),
            ErrorReason::QuantityExceeded
        );
        ship(world, fulfil(&id, vec![portion("CHAIR", 4)])).await.unwrap();
        let before = world.level("CHAIR").await;
        let request = back(&id, 1, pb::Condition::Damaged);
        world.reservations().r#return(request.clone()).await.unwrap();
        assert!(world.reservations().r#return(request).await.unwrap().into_inner().replayed);
        let sellable = world.reservations().r#return(back(&id, 2, pb::Condition::Sellable)).await.unwrap().into_inner();
        let stands = sellable.reservation.unwrap();
        assert_eq!((stands.state(), parts(&stands)), (pb::ReservationState::Confirmed, (4, 0, 3)));
        let after = world.level("CHAIR").await;
        assert_eq!(after.on_hand, before.on_hand + 2);
        assert_eq!(after.unsellable, [pb::ConditionQuantity { condition: pb::Condition::Damaged.into(), quantity: 1 }]);
        assert_eq!(
            reason(world.reservations().r#return(back(&id, 2, pb::Condition::Sellable)).await),
            ErrorReason::QuantityExceeded
        );
        let mut elsewhere = back(&id, 1, pb::Condition::Sellable);
        elsewhere.returns[0].to_location = "returns".into();
        world.reservations().r#return(elsewhere).await.unwrap();
        let stock = world.stock().get_stock(pb::GetStockRequest { sku: "CHAIR".into() }).await.unwrap().into_inner();
        let there = stock.levels.iter().find(|level| level.location == "returns").unwrap();
        assert_eq!(there.on_hand, 1);
    });
}

#[test]
fn the_next_count_reflects_what_the_vendor_booked_before_it() {
    test(async |world| {
        let id = sale(world, 3).await;
        let booked = told(&id, pb::EvidenceKind::Booked, vec![portion("CHAIR", 2)]);
        world.reservations().record_evidence(booked).await.unwrap();
        let read = pb::BatchGetStockRequest {
            location: "main".into(),
            skus: vec!["CHAIR".into()],
            reflect_as_of_time: Some(now()),
            reflect_meaning: pb::CountMeaning::Available.into(),
        };
        let levels = world.stock().batch_get_stock(read.clone()).await.unwrap().into_inner().levels;
        assert_eq!((levels[0].committed, levels[0].reflectable_quantity), (3, 2));
        let on_hand = pb::BatchGetStockRequest { reflect_meaning: pb::CountMeaning::OnHand.into(), ..read };
        let levels = world.stock().batch_get_stock(on_hand).await.unwrap().into_inner().levels;
        assert_eq!(levels[0].reflectable_quantity, 0, "it has not left the shelf");
        let count = pb::ApplyCountsRequest {
            meaning: pb::CountMeaning::Available.into(),
            ..world.counts(vec![("CHAIR", "main", 8)])
        };
        let result = world.stock().apply_counts(count).await.unwrap().into_inner().results.remove(0);
        assert_eq!((result.on_hand, result.reflected_quantity, result.available), (8, 2, 7));
        let level = world.level("CHAIR").await;
        assert_eq!((level.committed, level.count_meaning()), (1, pb::CountMeaning::Available));
    });
}

/// A count of chairs as of so many seconds ago.
async fn counted(world: &World, seconds: i64, units: i64, meaning: pb::CountMeaning) -> pb::CountResult {
    let count = pb::ApplyCountsRequest {
        as_of_time: Some(ago(seconds)),
        meaning: meaning.into(),
        ..world.counts(vec![("CHAIR", "main", units)])
    };
    world.stock().apply_counts(count).await.unwrap().into_inner().results.remove(0)
}

fn ago(seconds: i64) -> prost_types::Timestamp {
    let now = now();
    prost_types::Timestamp { seconds: now.seconds - seconds, ..now }
}

#[test]
fn an_on_hand_count_after_an_available_one_has_booked_units_again_until_they_leave_the_shelf() {
    test(async |world| {
        counted(world, 600, 10, pb::CountMeaning::OnHand).await;
        let [waiting, shipped] = [world.hold("CHAIR", 3).await, world.hold("CHAIR", 3).await];
        for id in [&waiting, &shipped] {
            world.confirm(id).await.unwrap();
        }
        world.sold_an_hour_ago().await;
        for id in [&waiting, &shipped] {
            let booked = told(id, pb::EvidenceKind::Booked, vec![]);
            let booked = pb::RecordEvidenceRequest { event_time: Some(ago(500)), ..booked };
            world.reservations().record_evidence(booked).await.unwrap();
        }
        let result = counted(world, 400, 4, pb::CountMeaning::Available).await;
        assert_eq!((result.reflected_quantity, result.available), (6, 4));
        let left = pb::FulfilRequest { ship_time: Some(ago(200)), ..fulfil(&shipped, vec![]) };
        ship(world, left).await.unwrap();
        // Everything was on the shelf still: what waits there, and what left it a little later.
        let result = counted(world, 300, 10, pb::CountMeaning::OnHand).await;
        assert_eq!((result.on_hand, result.available, world.level("CHAIR").await.committed), (10, 4, 6));
        let result = counted(world, 100, 7, pb::CountMeaning::OnHand).await;
        assert_eq!((result.on_hand, result.available, world.level("CHAIR").await.committed), (7, 4, 3));
    });
}

#[test]
fn what_comes_without_the_vendors_time_is_dated_by_our_clock_and_its_feeds_margin() {
    test(async |world| {
        let id = sale(world, 3).await;
        let run = pb::CompleteRunRequest {
            connection: "house".into(),
            location: "main".into(),
            as_of_time: Some(now()),
            clock_margin: seconds(120),
            ..Default::default()
        };
        world.stock().complete_run(run).await.unwrap();
        ship(world, fulfil(&id, vec![])).await.unwrap();
        // It may have left the shelf up to two minutes later by the clock of whoever counts.
        let result = counted(world, 0, 10, pb::CountMeaning::OnHand).await;
        assert_eq!((result.reflected_quantity, result.available, world.level("CHAIR").await.committed), (0, 7, 3));
    });
}

#[test]
fn a_hold_is_neither_shipped_nor_cancelled_nor_returned() {
    test(async |world| {
        world.count("CHAIR", 3).await;
        let id = world.hold("CHAIR", 2).await;
        assert_eq!(reason(ship(world, fulfil(&id, vec![])).await), ErrorReason::ReservationNotConfirmed);
        assert_eq!(reason(call_off(world, cancel(&id, vec![])).await), ErrorReason::ReservationNotConfirmed);
        assert_eq!(
            reason(world.reservations().r#return(back(&id, 1, pb::Condition::Damaged)).await),
            ErrorReason::ReservationNotConfirmed
        );
        let evidence = told(&id, pb::EvidenceKind::Sent, vec![]);
        assert_eq!(reason(world.reservations().record_evidence(evidence).await), ErrorReason::ReservationNotConfirmed);
        world.release(&id).await.unwrap();
        assert_eq!(reason(ship(world, fulfil(&id, vec![])).await), ErrorReason::ReservationReleased);
        assert_eq!(reason(call_off(world, cancel(&id, vec![])).await), ErrorReason::ReservationReleased);
        assert_eq!(reason(ship(world, fulfil(&key(), vec![])).await), ErrorReason::NotFound);
        assert_eq!(reason(call_off(world, cancel(&key(), vec![])).await), ErrorReason::NotFound);
    });
}

#[test]
fn units_that_many_want_to_ship_and_cancel_at_once_go_one_way_each() {
    test(async |world| {
        let id = sale(world, 8).await;
        let shipping = (0..8).map(|_| {
            let (mut client, request) = (world.reservations(), fulfil(&id, vec![portion("CHAIR", 1)]));
            tokio::spawn(async move { client.fulfil(request).await.is_ok() })
        });
        let cancelling = (0..8).map(|_| {
            let (mut client, request) = (world.reservations(), cancel(&id, vec![portion("CHAIR", 1)]));
            tokio::spawn(async move { client.cancel(request).await.is_ok() })
        });
        let all: Vec<_> = shipping.chain(cancelling).collect();
        let done = all_at_once(all.into_iter().map(|task| async move { task.await.unwrap() })).await;
        assert_eq!(done.iter().filter(|done| **done).count(), 8);
        let stands = world.get(&id).await.unwrap();
        let (fulfilled, cancelled, _) = parts(&stands);
        assert_eq!(fulfilled + cancelled, 8);
        assert!(stands.state() == pb::ReservationState::Fulfilled || fulfilled == 0);
    });
}

#[test]
fn bad_requests_name_their_fields() {
    test(async |world| {
        let id = sale(world, 1).await;
        let later = prost_types::Timestamp { seconds: now().seconds + 3_600, nanos: 0 };
        let shipping = pb::FulfilRequest {
            ship_time: Some(later),
            request_id: "x".into(),
            ..fulfil("y", vec![portion("CHAIR", 0)])
        };
        assert_eq!(
            fields(world.reservations().fulfil(shipping).await),
            ["request_id", "reservation_id", "portions[0].quantity", "ship_time"]
        );
        let calling =
            pb::CancelRequest { restock: 9, actor: "a\nb".into(), note: "x".repeat(501), ..cancel(&id, vec![]) };
        assert_eq!(fields(world.reservations().cancel(calling).await), ["restock", "actor", "note"]);
        let mut returning = back(&id, 0, pb::Condition::Unspecified);
        returning.returns.push(pb::ReturnedPortion::default());
        let wanted =
            ["returns[0].portion.quantity", "returns[0].condition", "returns[1].portion", "returns[1].condition"];
        assert_eq!(fields(world.reservations().r#return(returning).await), wanted);
        let nothing = pb::ReturnRequest { returns: vec![], ..back(&id, 1, pb::Condition::Damaged) };
        assert_eq!(fields(world.reservations().r#return(nothing).await), ["returns"]);
        let evidence = pb::RecordEvidenceRequest {
            event_time: Some(prost_types::Timestamp { seconds: i64::MIN, nanos: -1 }),
            ..told(&id, pb::EvidenceKind::Unspecified, vec![portion("CHAIR", 1); 101])
        };
        assert_eq!(fields(world.reservations().record_evidence(evidence).await), ["kind", "portions", "event_time"]);
        let read = pb::BatchGetStockRequest {
            location: "main".into(),
            skus: vec!["CHAIR".into()],
            reflect_as_of_time: Some(now()),
            ..Default::default()
        };
        assert_eq!(fields(world.stock().batch_get_stock(read.clone()).await), ["reflect_meaning"]);
        let alone = pb::BatchGetStockRequest { reflect_as_of_time: None, reflect_meaning: 1, ..read };
        assert_eq!(fields(world.stock().batch_get_stock(alone).await), ["reflect_as_of_time"]);
        assert_eq!(parts(&world.get(&id).await.unwrap()), (0, 0, 0));
    });
}
