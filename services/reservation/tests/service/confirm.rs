//! Confirm, Release and Extend: final means final.

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;

use crate::world::{ask, confirm, id_of, key, reason, release, seconds, test};

#[test]
fn a_confirmed_hold_becomes_committed_units() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let id = world.hold("CHAIR", 2).await;
        let confirmed = world.confirm(&id).await.unwrap().reservation.unwrap();
        assert_eq!((confirmed.state(), confirmed.version), (pb::ReservationState::Confirmed, 2));
        let level = world.level("CHAIR").await;
        assert_eq!((level.held, level.committed, level.available), (0, 2, 3));
        assert_eq!(world.get(&id).await.unwrap(), confirmed);
    });
}

#[test]
fn a_confirmed_reservation_can_be_neither_released_nor_extended_and_is_confirmed_again_without_effect() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let id = world.hold("CHAIR", 2).await;
        world.confirm(&id).await.unwrap();
        assert_eq!(reason(world.release(&id).await), ErrorReason::ReservationConfirmed);
        let extend = pb::ExtendRequest { request_id: key(), reservation_id: id.clone(), hold_duration: seconds(60) };
        assert_eq!(reason(world.reservations().extend(extend).await), ErrorReason::ReservationConfirmed);
        let again = world.confirm(&id).await.unwrap();
        assert_eq!((again.current_state(), again.reservation.unwrap().version), (pb::ReservationState::Confirmed, 2));
        assert_eq!(world.level("CHAIR").await.committed, 2);
    });
}

#[test]
fn what_was_released_or_has_expired_cannot_be_confirmed() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let id = world.hold("CHAIR", 1).await;
        world.release(&id).await.unwrap();
        assert_eq!(reason(world.confirm(&id).await), ErrorReason::ReservationReleased);
        assert_eq!(world.release(&id).await.unwrap().current_state(), pb::ReservationState::Released);

        let mut short = ask(&[("CHAIR", 1)]);
        short.hold_duration = seconds(1);
        let expired = id_of(&world.reservations().reserve(short).await.unwrap().into_inner());
        holdfast_testkit::eventually("it expires", std::time::Duration::from_secs(10), || async {
            let state = world.get(&expired).await.unwrap().state();
            (state == pb::ReservationState::Expired).then_some(())
        })
        .await;
        assert_eq!(reason(world.confirm(&expired).await), ErrorReason::ReservationExpired);
        assert_eq!(world.release(&expired).await.unwrap().current_state(), pb::ReservationState::Expired);
        assert_eq!(reason(world.confirm(&key()).await), ErrorReason::NotFound);
    });
}

#[test]
fn an_extended_hold_outlives_its_first_end_but_not_the_longest_hold() {
    test(async |world| {
        world.count("CHAIR", 1).await;
        let mut short = ask(&[("CHAIR", 1)]);
        short.hold_duration = seconds(1);
        let held = world.reservations().reserve(short.clone()).await.unwrap().into_inner();
        let id = id_of(&held);
        let extend = |duration| pb::ExtendRequest {
            request_id: key(),
            reservation_id: id.clone(),
            hold_duration: seconds(duration),
        };
        let extended = world.reservations().extend(extend(600)).await.unwrap().into_inner().reservation.unwrap();
        assert!(extended.expire_time.unwrap().seconds >= held.current_expire_time.unwrap().seconds + 590);
        // Never less than it has.
        let kept = world.reservations().extend(extend(1)).await.unwrap().into_inner().reservation.unwrap();
        assert_eq!(kept.expire_time, extended.expire_time);
        // The first answer stays the first answer.
        let replay = world.reservations().reserve(short).await.unwrap().into_inner();
        assert_eq!(replay.reservation, held.reservation);
        assert_eq!((replay.current_expire_time, replay.replayed), (extended.expire_time, true));
        let longest = pb::ExtendRequest { hold_duration: seconds(86_400), ..extend(1) };
        assert_eq!(reason(world.reservations().extend(longest).await), ErrorReason::HoldTooLong);
        world.confirm(&id).await.unwrap();
    });
}

#[test]
fn releasing_an_unused_key_closes_it() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let late = ask(&[("CHAIR", 1)]);
        let fence = world.release(&late.reservation_id).await.unwrap().reservation.unwrap();
        assert_eq!((fence.state(), fence.lines.len()), (pb::ReservationState::Released, 0));
        assert_eq!(reason(world.reservations().reserve(late.clone()).await), ErrorReason::ReservationReleased);
        assert_eq!(reason(world.confirm(&late.reservation_id).await), ErrorReason::ReservationReleased);
        assert_eq!(world.level("CHAIR").await.held, 0);
    });
}

#[test]
fn confirm_and_release_sent_again_get_their_first_answer() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let (kept, given) = (world.hold("CHAIR", 1).await, world.hold("CHAIR", 1).await);
        let (confirm, release) = (confirm(&kept), release(&given));
        let first = world.reservations().confirm(confirm.clone()).await.unwrap().into_inner();
        let again = world.reservations().confirm(confirm.clone()).await.unwrap().into_inner();
        assert_eq!((first.replayed, again.replayed), (false, true));
        assert_eq!(first.reservation, again.reservation);
        let first = world.reservations().release(release.clone()).await.unwrap().into_inner();
        let again = world.reservations().release(release).await.unwrap().into_inner();
        assert_eq!((first.replayed, again.replayed), (false, true));
        assert_eq!(first.reservation, again.reservation);
        // The same key for something else is refused and changes nothing.
        let other = world.hold("CHAIR", 1).await;
        let reused = pb::ConfirmRequest { reservation_id: other.clone(), ..confirm };
        assert_eq!(reason(world.reservations().confirm(reused).await), ErrorReason::KeyReused);
        assert_eq!(world.get(&other).await.unwrap().state(), pb::ReservationState::Held);
        assert_eq!(world.level("CHAIR").await.committed, 1);
    });
}
