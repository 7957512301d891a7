//! One key, one effect.

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;
use uuid::{Timestamp, Uuid};

use crate::world::{Options, all_at_once, ask, id_of, published_becomes, reason, test, test_with};

#[test]
fn a_retry_after_success_gets_the_first_answer_and_the_current_state() {
    test(async |world| {
        world.count("CHAIR", 1).await;
        let request = ask(&[("CHAIR", 1)]);
        let first = world.reservations().reserve(request.clone()).await.unwrap().into_inner();
        let again = world.reservations().reserve(request.clone()).await.unwrap().into_inner();
        assert_eq!((first.replayed, again.replayed), (false, true));
        assert_eq!(first.reservation, again.reservation);
        world.confirm(&id_of(&first)).await.unwrap();
        let later = world.reservations().reserve(request).await.unwrap().into_inner();
        assert_eq!(later.reservation, first.reservation);
        assert_eq!(later.current_state(), pb::ReservationState::Confirmed);
        assert_eq!(world.level("CHAIR").await.committed, 1);
    });
}

#[test]
fn a_retry_gets_its_first_answer_though_everything_is_sold_and_redis_was_wiped() {
    test(async |world| {
        world.count("CHAIR", 2).await;
        let request = ask(&[("CHAIR", 1)]);
        let first = world.reservations().reserve(request.clone()).await.unwrap().into_inner();
        world.hold("CHAIR", 1).await;
        published_becomes(world, "CHAIR", 0).await;
        let sold_out = world.reservations().reserve(request.clone()).await.unwrap().into_inner();
        assert_eq!((sold_out.reservation, sold_out.replayed), (first.reservation.clone(), true));
        world.wipe_redis().await;
        let wiped = world.reservations().reserve(request).await.unwrap().into_inner();
        assert_eq!((wiped.reservation, wiped.replayed), (first.reservation, true));
        assert_eq!(world.level("CHAIR").await.held, 2);
    });
}

#[test]
fn the_same_key_with_another_payload_is_refused_and_changes_nothing() {
    test(async |world| {
        world.count("CHAIR", 9).await;
        world.count("TABLE", 9).await;
        let request = ask(&[("CHAIR", 1)]);
        world.reservations().reserve(request.clone()).await.unwrap();
        let changes: [fn(&mut pb::ReserveRequest); 4] = [
            |request| request.lines[0].quantity = 2,
            |request| request.lines[0].sku = "TABLE".into(),
            |request| request.owner = "somebody else".into(),
            |request| request.hold_duration = crate::world::seconds(77),
        ];
        for change in changes {
            let mut other = request.clone();
            change(&mut other);
            assert_eq!(reason(world.reservations().reserve(other).await), ErrorReason::KeyReused);
        }
        // The order of the lines and the attempt are not payload.
        assert!(
            world
                .reservations()
                .reserve(pb::ReserveRequest { attempt: 3, ..request })
                .await
                .unwrap()
                .into_inner()
                .replayed
        );
        assert_eq!((world.level("CHAIR").await.held, world.level("TABLE").await.held), (1, 0));
    });
}

#[test]
fn a_no_leaves_the_key_free() {
    test(async |world| {
        world.count("CHAIR", 1).await;
        let blocker = world.hold("CHAIR", 1).await;
        let request = ask(&[("CHAIR", 1)]);
        assert_eq!(reason(world.reservations().reserve(request.clone()).await), ErrorReason::InsufficientStock);
        world.release(&blocker).await.unwrap();
        assert!(!world.reservations().reserve(request).await.unwrap().into_inner().replayed);
    });
}

#[test]
fn a_no_to_a_marked_retry_closes_the_key_for_good() {
    test(async |world| {
        world.count("CHAIR", 1).await;
        let blocker = world.hold("CHAIR", 1).await;
        let retry = pb::ReserveRequest { attempt: 2, ..ask(&[("CHAIR", 1)]) };
        assert_eq!(reason(world.reservations().reserve(retry.clone()).await), ErrorReason::InsufficientStock);
        world.release(&blocker).await.unwrap();
        // The first attempt, arriving late.
        let late = pb::ReserveRequest { attempt: 1, ..retry };
        assert_eq!(reason(world.reservations().reserve(late.clone()).await), ErrorReason::InsufficientStock);
        assert_eq!(world.get(&late.reservation_id).await.unwrap().state(), pb::ReservationState::Refused);
        assert_eq!(world.level("CHAIR").await.available, 1);
    });
}

#[test]
fn the_same_key_on_two_replicas_at_once_has_one_effect_and_two_identical_answers() {
    test_with(Options { replicas: 2, ..Options::default() }, async |world| {
        world.count("CHAIR", 100).await;
        for _ in 0..20 {
            let request = ask(&[("CHAIR", 1)]);
            let sent = (0..6).map(|replica| {
                let (mut client, request) = (world.reservations_of(replica), request.clone());
                async move { client.reserve(request).await.unwrap().into_inner() }
            });
            let answers = all_at_once(sent).await;
            assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
            assert!(answers.iter().all(|answer| answer.reservation == answers[0].reservation));
        }
        assert_eq!(world.level("CHAIR").await.held, 20);
    });
}

#[test]
fn confirms_of_one_hold_on_two_replicas_at_once_take_effect_once() {
    test_with(Options { replicas: 2, ..Options::default() }, async |world| {
        world.count("CHAIR", 100).await;
        for _ in 0..20 {
            let request = crate::world::confirm(&world.hold("CHAIR", 1).await);
            let sent = (0..4).map(|replica| {
                let (mut client, request) = (world.reservations_of(replica), request.clone());
                async move { client.confirm(request).await.unwrap().into_inner() }
            });
            let answers = all_at_once(sent).await;
            assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
            assert!(answers.iter().all(|answer| answer.reservation == answers[0].reservation));
        }
        assert_eq!(world.level("CHAIR").await.committed, 20);
    });
}

#[test]
fn a_key_whose_time_is_far_off_is_refused() {
    test(async |world| {
        world.count("CHAIR", 1).await;
        let now = crate::world::now().seconds.unsigned_abs();
        for seconds in [now - 90_000, now + 400] {
            let id = Uuid::new_v7(Timestamp::from_unix(uuid::NoContext, seconds, 0)).to_string();
            let request = pb::ReserveRequest { reservation_id: id.clone(), ..ask(&[("CHAIR", 1)]) };
            assert_eq!(reason(world.reservations().reserve(request).await), ErrorReason::KeyOutOfWindow);
            assert_eq!(reason(world.release(&id).await), ErrorReason::KeyOutOfWindow);
        }
    });
}

#[test]
fn a_request_whose_key_is_too_old_or_ahead_is_refused_whatever_its_verb() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let id = world.hold("CHAIR", 1).await;
        for seconds in [-90_000, 400] {
            let (mut client, request_id) = (world.reservations(), key_of(seconds));
            let confirm = pb::ConfirmRequest { request_id: request_id.clone(), ..crate::world::confirm(&id) };
            assert_eq!(reason(client.confirm(confirm).await), ErrorReason::KeyOutOfWindow);
            let release = pb::ReleaseRequest { request_id: request_id.clone(), ..crate::world::release(&id) };
            assert_eq!(reason(client.release(release).await), ErrorReason::KeyOutOfWindow);
            let hold_duration = crate::world::seconds(60);
            let extend = pb::ExtendRequest { request_id, reservation_id: id.clone(), hold_duration };
            assert_eq!(reason(client.extend(extend).await), ErrorReason::KeyOutOfWindow);
        }
        let month = 30 * 86_400;
        for (seconds, is_taken) in [(-month - 60, false), (400, false), (60 - month, true)] {
            let counts = pb::ApplyCountsRequest {
                request_id: key_of(seconds),
                ..world.counts(vec![("CHAIR", crate::world::WAREHOUSE, 5)])
            };
            let counted = world.stock().apply_counts(counts).await;
            let adjustment = pb::Adjustment {
                sku: "CHAIR".into(),
                location: crate::world::WAREHOUSE.into(),
                condition: pb::Condition::Sellable.into(),
                delta: 1,
                reason: pb::AdjustmentReason::Found.into(),
            };
            let adjust = pb::AdjustStockRequest {
                request_id: key_of(seconds + 1),
                actor: "ann".into(),
                note: String::new(),
                adjustments: vec![adjustment],
            };
            let adjusted = world.stock().adjust_stock(adjust).await;
            if is_taken {
                assert!(counted.is_ok() && adjusted.is_ok(), "{counted:?} {adjusted:?}");
            } else {
                assert_eq!(reason(counted), ErrorReason::KeyOutOfWindow);
                assert_eq!(reason(adjusted), ErrorReason::KeyOutOfWindow);
            }
        }
        let level = world.level("CHAIR").await;
        assert_eq!((level.held, level.committed, level.on_hand), (1, 0, 6));
    });
}

#[test]
fn after_a_sale_and_beside_it_keys_that_are_too_old_or_ahead_are_refused_too() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let id = world.hold("CHAIR", 1).await;
        world.confirm(&id).await.unwrap();
        let (mut sales, mut stock) = (world.reservations(), world.stock());
        let month = 30 * 86_400;
        for (day, month) in [(-90_000, -month - 60), (400, 400)] {
            let fulfil = pb::FulfilRequest { request_id: key_of(day), ..crate::world::fulfil(&id, vec![]) };
            assert_eq!(reason(sales.fulfil(fulfil).await), ErrorReason::KeyOutOfWindow);
            let cancel = pb::CancelRequest { request_id: key_of(day), ..crate::world::cancel(&id, vec![]) };
            assert_eq!(reason(sales.cancel(cancel).await), ErrorReason::KeyOutOfWindow);
            let returned = pb::ReturnedPortion {
                portion: Some(crate::world::portion("CHAIR", 1)),
                condition: pb::Condition::Sellable.into(),
                to_location: String::new(),
            };
            let back = pb::ReturnRequest {
                request_id: key_of(day),
                reservation_id: id.clone(),
                returns: vec![returned],
                ..Default::default()
            };
            assert_eq!(reason(sales.r#return(back).await), ErrorReason::KeyOutOfWindow);
            let evidence = pb::RecordEvidenceRequest {
                request_id: key_of(month),
                reservation_id: id.clone(),
                kind: pb::EvidenceKind::Sent.into(),
                ..Default::default()
            };
            assert_eq!(reason(sales.record_evidence(evidence).await), ErrorReason::KeyOutOfWindow);
            let pause = pb::PauseSellingRequest {
                request_id: key_of(day),
                skus: vec!["CHAIR".into()],
                actor: "ann".into(),
                note: "the price".into(),
            };
            let resume = pb::ResumeSellingRequest {
                request_id: key_of(day),
                skus: pause.skus.clone(),
                actor: "ann".into(),
                note: "the price".into(),
            };
            assert_eq!(reason(stock.pause_selling(pause).await), ErrorReason::KeyOutOfWindow);
            assert_eq!(reason(stock.resume_selling(resume).await), ErrorReason::KeyOutOfWindow);
            let step = pb::Move {
                sku: "CHAIR".into(),
                from_location: crate::world::WAREHOUSE.into(),
                from_condition: pb::Condition::Sellable.into(),
                to_location: crate::world::WAREHOUSE.into(),
                to_condition: pb::Condition::Damaged.into(),
                quantity: 1,
            };
            let moves = pb::MoveStockRequest {
                request_id: key_of(month),
                moves: vec![step],
                actor: "ann".into(),
                note: "the price".into(),
                validate_only: false,
            };
            assert_eq!(reason(stock.move_stock(moves).await), ErrorReason::KeyOutOfWindow);
        }
        let level = world.level("CHAIR").await;
        assert_eq!((level.held, level.committed, level.on_hand), (0, 1, 5));
    });
}

#[test]
fn a_request_whose_key_has_no_time_is_refused() {
    test(async |world| {
        world.count("CHAIR", 1).await;
        let id = world.hold("CHAIR", 1).await;
        let request_id = "2f1c9f0e-5f1b-4a57-9d0e-0b8a4e6f2c11".to_owned();
        let request = pb::ConfirmRequest { request_id, ..crate::world::confirm(&id) };
        assert_eq!(reason(world.reservations().confirm(request).await), ErrorReason::InvalidField);
        assert_eq!(world.level("CHAIR").await.held, 1);
    });
}

/// A key that was made so many seconds from now.
fn key_of(seconds: i64) -> String {
    let at = (crate::world::now().seconds + seconds).unsigned_abs();
    Uuid::new_v7(Timestamp::from_unix(uuid::NoContext, at, 0)).to_string()
}
