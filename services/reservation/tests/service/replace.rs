//! Replace: a new hold in the place of an old one, in one step.

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;
use tonic::Status;

use crate::world::{World, all_at_once, ask, confirm, fields, key, reason, release, seconds, test};

fn replace(old: &str, lines: &[(&str, i64)]) -> pb::ReplaceRequest {
    pb::ReplaceRequest { replaced_reservation_id: old.into(), reservation: Some(ask(lines)) }
}

fn new_id(request: &pb::ReplaceRequest) -> String {
    request.reservation.as_ref().unwrap().reservation_id.clone()
}

async fn send(world: &World, request: pb::ReplaceRequest) -> Result<pb::ReplaceResponse, Status> {
    world.reservations().replace(request).await.map(tonic::Response::into_inner)
}

#[test]
fn nobody_is_blocked_by_his_own_hold() {
    test(async |world| {
        world.count("CHAIR", 3).await;
        let old = world.hold("CHAIR", 3).await;
        let request = replace(&old, &[("CHAIR", 2)]);
        let new = send(world, request.clone()).await.unwrap();
        assert!(!new.replayed);
        let made = new.reservation.unwrap();
        assert_eq!((made.state(), made.predecessor_id.as_str()), (pb::ReservationState::Held, old.as_str()));
        let gone = world.get(&old).await.unwrap();
        assert_eq!((gone.state(), gone.successor_id), (pb::ReservationState::Released, new_id(&request)));
        assert_eq!((world.level("CHAIR").await.held, world.on_offer("CHAIR").await), (2, 1));
    });
}

#[test]
fn what_cannot_be_had_leaves_the_old_hold_as_it_was() {
    test(async |world| {
        world.count("CHAIR", 3).await;
        world.count("TABLE", 1).await;
        let old = world.hold("CHAIR", 2).await;
        let before = world.get(&old).await.unwrap();
        let status = send(world, replace(&old, &[("CHAIR", 4)])).await;
        assert_eq!(reason(status), ErrorReason::InsufficientStock);
        assert_eq!(
            reason(send(world, replace(&old, &[("CHAIR", 1), ("TABLE", 2)])).await),
            ErrorReason::InsufficientStock
        );
        assert_eq!(world.get(&old).await.unwrap(), before);
        assert_eq!((world.level("CHAIR").await.held, world.level("TABLE").await.held), (2, 0));
    });
}

#[test]
fn a_replacement_that_is_sent_twice_has_one_effect_and_another_under_its_key_is_refused() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let old = world.hold("CHAIR", 2).await;
        let request = replace(&old, &[("CHAIR", 3)]);
        let sent = (0..8).map(|_| {
            let (mut client, request) = (world.reservations(), request.clone());
            async move { client.replace(request).await.map(tonic::Response::into_inner) }
        });
        let answers: Vec<_> = all_at_once(sent).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
        assert!(answers.iter().all(|answer| answer.reservation == answers[0].reservation));
        assert_eq!(world.level("CHAIR").await.held, 3);

        let other = pb::ReplaceRequest { replaced_reservation_id: key(), ..request.clone() };
        assert_eq!(reason(send(world, other).await), ErrorReason::KeyReused);
        let plain = request.reservation.clone().unwrap();
        assert_eq!(reason(world.reservations().reserve(plain).await), ErrorReason::KeyReused);
        // Where it stands is told beside the first answer.
        world.confirm(&new_id(&request)).await.unwrap();
        let replay = send(world, request).await.unwrap();
        assert_eq!((replay.replayed, replay.current_state()), (true, pb::ReservationState::Confirmed));
    });
}

#[test]
fn two_replacements_of_one_hold_leave_one() {
    test(async |world| {
        world.count("CHAIR", 9).await;
        for _ in 0..10 {
            let old = world.hold("CHAIR", 3).await;
            let sent = [2, 4].map(|units| {
                let (mut client, request) = (world.reservations(), replace(&old, &[("CHAIR", units)]));
                async move { (new_id(&request), client.replace(request).await) }
            });
            let outcomes = all_at_once(sent).await;
            let won: Vec<_> = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).collect();
            assert_eq!(won.len(), 1, "{outcomes:?}");
            assert_eq!(world.get(&old).await.unwrap().successor_id, won[0].0);
            let lost = outcomes.into_iter().find(|(_, outcome)| outcome.is_err()).unwrap();
            assert_eq!(reason(lost.1), ErrorReason::ReservationReleased);
            let left = world.get(&old).await.unwrap().successor_id;
            world.release(&left).await.unwrap();
        }
        assert_eq!(world.level("CHAIR").await.held, 0);
    });
}

#[test]
fn what_is_wrong_with_the_old_hold_is_said_before_any_shortage() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let too_many = [("CHAIR", 9)];
        assert_eq!(reason(send(world, replace(&key(), &too_many)).await), ErrorReason::NotFound);
        let confirmed = world.hold("CHAIR", 1).await;
        world.confirm(&confirmed).await.unwrap();
        assert_eq!(reason(send(world, replace(&confirmed, &too_many)).await), ErrorReason::ReservationConfirmed);
        let released = world.hold("CHAIR", 1).await;
        world.reservations().release(release(&released)).await.unwrap();
        assert_eq!(reason(send(world, replace(&released, &too_many)).await), ErrorReason::ReservationReleased);
        let mut others = replace(&world.hold("CHAIR", 1).await, &too_many);
        others.reservation.as_mut().unwrap().owner = "somebody else".into();
        assert_eq!(reason(send(world, others).await), ErrorReason::OwnerMismatch);
        let mut short = ask(&[("CHAIR", 1)]);
        short.hold_duration = seconds(1);
        let over = short.reservation_id.clone();
        world.reservations().reserve(short).await.unwrap();
        holdfast_testkit::eventually("it is over", std::time::Duration::from_secs(10), || async {
            (world.get(&over).await.unwrap().state() == pb::ReservationState::Expired).then_some(())
        })
        .await;
        assert_eq!(reason(send(world, replace(&over, &[("CHAIR", 1)])).await), ErrorReason::ReservationExpired);
    });
}

#[test]
fn a_marked_retry_that_is_told_no_closes_its_key() {
    test(async |world| {
        world.count("CHAIR", 2).await;
        let old = world.hold("CHAIR", 1).await;
        let mut request = replace(&old, &[("CHAIR", 3)]);
        request.reservation.as_mut().unwrap().attempt = 2;
        assert_eq!(reason(send(world, request.clone()).await), ErrorReason::InsufficientStock);
        world.count("CHAIR", 9).await;
        assert_eq!(reason(send(world, request.clone()).await), ErrorReason::InsufficientStock);
        assert_eq!(world.get(&new_id(&request)).await.unwrap().state(), pb::ReservationState::Refused);
        assert_eq!(world.get(&old).await.unwrap().state(), pb::ReservationState::Held);
    });
}

#[test]
fn every_field_that_is_wrong_is_named_with_its_path() {
    test(async |world| {
        world.count("CHAIR", 2).await;
        let old = world.hold("CHAIR", 1).await;
        let mut bad = ask(&[("CHAIR", 0), ("GHOST", 1)]);
        bad.owner = String::new();
        bad.mode = pb::ReserveMode::BestEffort.into();
        let request = pb::ReplaceRequest { replaced_reservation_id: "x".into(), reservation: Some(bad) };
        let wanted = [
            "replaced_reservation_id",
            "reservation.owner",
            "reservation.lines[0].quantity",
            "reservation.mode",
            "reservation.lines[1].sku",
        ];
        assert_eq!(fields(send(world, request).await), wanted);
        let none = pb::ReplaceRequest { replaced_reservation_id: old.clone(), reservation: None };
        assert_eq!(fields(send(world, none).await), ["reservation"]);
        let ghost = send(world, replace(&old, &[("GHOST", 1)])).await;
        assert_eq!(holdfast_kit::reason_of(ghost.as_ref().unwrap_err()), Some(ErrorReason::UnknownSku));
        assert_eq!(fields(ghost), ["reservation.lines[0].sku"]);
        let mut itself = replace(&old, &[("CHAIR", 1)]);
        itself.reservation.as_mut().unwrap().reservation_id = old;
        assert_eq!(fields(send(world, itself).await), ["reservation.reservation_id"]);
    });
}

#[test]
fn a_replaced_hold_cannot_be_confirmed_and_its_successor_can() {
    test(async |world| {
        world.count("CHAIR", 2).await;
        let old = world.hold("CHAIR", 2).await;
        let request = replace(&old, &[("CHAIR", 1)]);
        send(world, request.clone()).await.unwrap();
        assert_eq!(reason(world.reservations().confirm(confirm(&old)).await), ErrorReason::ReservationReleased);
        world.confirm(&new_id(&request)).await.unwrap();
        assert_eq!(world.level("CHAIR").await.committed, 1);
    });
}
