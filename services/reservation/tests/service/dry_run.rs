//! `validate_only`: what would be answered, and nothing done.

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;

use crate::world::{ask, cancel, confirm, fulfil, key, reason, test};

#[test]
fn a_dry_reserve_says_what_would_be_and_takes_nothing() {
    test(async |world| {
        world.count("CHAIR", 3).await;
        let request = pb::ReserveRequest { validate_only: true, ..ask(&[("CHAIR", 2)]) };
        let said = world.reservations().reserve(request.clone()).await.unwrap().into_inner();
        let would_be = said.reservation.unwrap();
        assert_eq!((would_be.state(), would_be.lines[0].allocations[0].quantity), (pb::ReservationState::Held, 2));
        assert_eq!(reason(world.get(&request.reservation_id).await), ErrorReason::NotFound);
        assert_eq!((world.level("CHAIR").await.held, world.on_offer("CHAIR").await), (0, 3));
        // The gate kept nothing back either.
        world.hold("CHAIR", 3).await;
        assert_eq!(reason(world.reservations().reserve(request).await), ErrorReason::InsufficientStock);
    });
}

#[test]
fn a_dry_retry_closes_no_key_and_the_same_key_lands_later() {
    test(async |world| {
        world.count("CHAIR", 1).await;
        let dry = pb::ReserveRequest { validate_only: true, attempt: 2, ..ask(&[("CHAIR", 2)]) };
        assert_eq!(reason(world.reservations().reserve(dry.clone()).await), ErrorReason::InsufficientStock);
        world.count("CHAIR", 2).await;
        let real = pb::ReserveRequest { validate_only: false, ..dry.clone() };
        assert!(!world.reservations().reserve(real).await.unwrap().into_inner().replayed);
        // A dry run of what stands is told what stands.
        assert!(world.reservations().reserve(dry).await.unwrap().into_inner().replayed);
    });
}

#[test]
fn a_dry_confirm_fulfil_cancel_or_return_changes_nothing() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let id = world.hold("CHAIR", 2).await;
        let dry = pb::ConfirmRequest { validate_only: true, ..confirm(&id) };
        let said = world.reservations().confirm(dry.clone()).await.unwrap().into_inner();
        assert_eq!(said.reservation.unwrap().state(), pb::ReservationState::Confirmed);
        assert_eq!(world.get(&id).await.unwrap().state(), pb::ReservationState::Held);
        let real = pb::ConfirmRequest { validate_only: false, ..dry };
        assert!(!world.reservations().confirm(real).await.unwrap().into_inner().replayed);
        let before = (world.get(&id).await.unwrap(), world.level("CHAIR").await);

        let ship = pb::FulfilRequest { validate_only: true, ..fulfil(&id, vec![]) };
        let said = world.reservations().fulfil(ship).await.unwrap().into_inner().reservation.unwrap();
        assert_eq!(said.state(), pb::ReservationState::Fulfilled);
        let call_off = pb::CancelRequest { validate_only: true, ..cancel(&id, vec![]) };
        let said = world.reservations().cancel(call_off).await.unwrap().into_inner().reservation.unwrap();
        assert_eq!(said.state(), pb::ReservationState::Cancelled);
        let evidence = pb::RecordEvidenceRequest {
            request_id: key(),
            reservation_id: id.clone(),
            kind: pb::EvidenceKind::Sent.into(),
            validate_only: true,
            ..Default::default()
        };
        world.reservations().record_evidence(evidence).await.unwrap();
        assert_eq!((world.get(&id).await.unwrap(), world.level("CHAIR").await), before);
        assert_eq!(world.on_offer("CHAIR").await, 3);
    });
}

#[test]
fn a_dry_count_says_what_would_become_of_each_row() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let mut counts = world.counts(vec![("CHAIR", "main", 9), ("TABLE", "main", 2)]);
        counts.validate_only = true;
        let said = world.stock().apply_counts(counts.clone()).await.unwrap().into_inner();
        let outcomes: Vec<_> = said.results.iter().map(|r| (r.outcome(), r.previous_on_hand, r.available)).collect();
        assert_eq!(outcomes, [(pb::CountOutcome::Applied, 5, 9), (pb::CountOutcome::Applied, 0, 2)]);
        assert_eq!(world.level("CHAIR").await.on_hand, 5);
        assert_eq!(reason(world.reserve("TABLE", 1).await), ErrorReason::UnknownSku);
        counts.validate_only = false;
        assert!(!world.stock().apply_counts(counts).await.unwrap().into_inner().replayed);
        assert_eq!(world.level("CHAIR").await.on_hand, 9);
    });
}

#[test]
fn a_count_is_taken_only_while_on_hand_is_what_was_expected() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let mut counts = world.counts(vec![("CHAIR", "main", 9), ("TABLE", "main", 2), ("LAMP", "main", 3)]);
        counts.counts[0].expected_on_hand = Some(4);
        counts.counts[1].expected_on_hand = Some(0);
        let said = world.stock().apply_counts(counts.clone()).await.unwrap().into_inner();
        let outcomes: Vec<_> = said.results.iter().map(pb::CountResult::outcome).collect();
        assert_eq!(outcomes, [pb::CountOutcome::Conflict, pb::CountOutcome::Applied, pb::CountOutcome::Applied]);
        let again = world.stock().apply_counts(counts.clone()).await.unwrap().into_inner();
        assert_eq!((again.replayed, again.results), (true, said.results));
        counts.counts[0].expected_on_hand = Some(5);
        assert_eq!(reason(world.stock().apply_counts(counts).await), ErrorReason::KeyReused);
        let mut right = world.counts(vec![("CHAIR", "main", 9)]);
        right.counts[0].expected_on_hand = Some(5);
        let said = world.stock().apply_counts(right).await.unwrap().into_inner();
        assert_eq!(said.results[0].outcome(), pb::CountOutcome::Applied);
        let mut negative = world.counts(vec![("CHAIR", "main", 9)]);
        negative.counts[0].expected_on_hand = Some(-1);
        assert_eq!(reason(world.stock().apply_counts(negative).await), ErrorReason::InvalidField);
    });
}
