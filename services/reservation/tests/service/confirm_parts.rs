//! Confirm in part, anew after expiry, and with the caller's name for the order.

use std::time::Duration;

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;

use crate::world::{World, ask, confirm, fields, key, portion, published_becomes, reason, seconds, test};

/// A hold that is over.
async fn over(world: &World, lines: &[(&str, i64)]) -> String {
    let request = pb::ReserveRequest { hold_duration: seconds(1), ..ask(lines) };
    let id = request.reservation_id.clone();
    world.reservations().reserve(request).await.unwrap();
    is_over(world, &id).await;
    id
}

async fn is_over(world: &World, id: &str) {
    holdfast_testkit::eventually("it is over", Duration::from_secs(10), || async {
        (world.get(id).await.unwrap().state() == pb::ReservationState::Expired).then_some(())
    })
    .await;
}

fn anew(id: &str, new: &str) -> pb::ConfirmRequest {
    pb::ConfirmRequest { reacquire_reservation_id: new.into(), ..confirm(id) }
}

#[test]
fn what_is_not_bought_is_given_back_in_the_same_step() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        world.count("TABLE", 2).await;
        let request = ask(&[("CHAIR", 4), ("TABLE", 2)]);
        let id = request.reservation_id.clone();
        world.reservations().reserve(request).await.unwrap();
        let bought = pb::ConfirmRequest { portions: vec![portion("CHAIR", 3)], ..confirm(&id) };
        let first = world.reservations().confirm(bought.clone()).await.unwrap().into_inner();
        let made = first.reservation.clone().unwrap();
        let parts: Vec<_> =
            made.lines.iter().map(|line| &line.allocations[0]).map(|a| (a.quantity, a.released_quantity)).collect();
        assert_eq!((made.state(), parts), (pb::ReservationState::Confirmed, vec![(4, 1), (2, 2)]));
        let (chair, table) = (world.level("CHAIR").await, world.level("TABLE").await);
        assert_eq!((chair.held, chair.committed, chair.available), (0, 3, 2));
        assert_eq!((table.held, table.committed, table.available), (0, 0, 2));
        // Sent again it has no second effect; the same key for another part is refused; another key finds it confirmed.
        let again = world.reservations().confirm(bought.clone()).await.unwrap().into_inner();
        assert_eq!((again.replayed, again.reservation), (true, first.reservation));
        let other = pb::ConfirmRequest { portions: vec![portion("CHAIR", 2)], ..bought };
        assert_eq!(reason(world.reservations().confirm(other).await), ErrorReason::KeyReused);
        let later = world.confirm(&id).await.unwrap();
        assert_eq!((later.replayed, later.reservation), (false, Some(made)));
        assert_eq!(world.level("CHAIR").await.committed, 3);
    });
}

#[test]
fn a_portion_that_is_more_than_is_held_changes_nothing() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let id = world.hold("CHAIR", 2).await;
        for portions in
            [vec![portion("CHAIR", 3)], vec![portion("CHAIR", 1), portion("CHAIR", 2)], vec![portion("LAMP", 1)]]
        {
            let request = pb::ConfirmRequest { portions, ..confirm(&id) };
            assert_eq!(reason(world.reservations().confirm(request).await), ErrorReason::QuantityExceeded);
        }
        assert_eq!(world.get(&id).await.unwrap().state(), pb::ReservationState::Held);
        assert_eq!((world.level("CHAIR").await.held, world.level("CHAIR").await.committed), (2, 0));
    });
}

#[test]
fn a_hold_that_is_over_is_bought_anew_if_the_units_are_still_there() {
    test(async |world| {
        world.count("CHAIR", 3).await;
        let old = over(world, &[("CHAIR", 2)]).await;
        assert_eq!(reason(world.confirm(&old).await), ErrorReason::ReservationExpired);
        let new = key();
        let request = anew(&old, &new);
        let bought = world.reservations().confirm(request.clone()).await.unwrap().into_inner();
        let made = bought.reservation.clone().unwrap();
        assert_eq!((made.reservation_id.as_str(), made.state()), (new.as_str(), pb::ReservationState::Confirmed));
        assert_eq!((made.owner.as_str(), made.predecessor_id.as_str()), ("cart", old.as_str()));
        let gone = world.get(&old).await.unwrap();
        assert_eq!((gone.state(), gone.successor_id.as_str()), (pb::ReservationState::Expired, new.as_str()));
        assert_eq!((world.level("CHAIR").await.committed, world.on_offer("CHAIR").await), (2, 1));
        let again = world.reservations().confirm(request).await.unwrap().into_inner();
        assert_eq!((again.replayed, again.reservation), (true, bought.reservation));
        // A second successor would be the same cart bought twice.
        assert_eq!(reason(world.reservations().confirm(anew(&old, &key())).await), ErrorReason::ReservationExpired);
        assert_eq!(world.level("CHAIR").await.committed, 2);
    });
}

#[test]
fn a_hold_that_is_over_and_whose_units_are_gone_stays_expired() {
    test(async |world| {
        world.count("CHAIR", 2).await;
        let old = over(world, &[("CHAIR", 2)]).await;
        world.hold("CHAIR", 1).await;
        let new = key();
        assert_eq!(reason(world.reservations().confirm(anew(&old, &new)).await), ErrorReason::InsufficientStock);
        assert_eq!(world.get(&old).await.unwrap().successor_id, "");
        assert_eq!(reason(world.get(&new).await), ErrorReason::NotFound);
        // A part of it is there.
        let part = pb::ConfirmRequest { portions: vec![portion("CHAIR", 1)], ..anew(&old, &new) };
        let bought = world.reservations().confirm(part).await.unwrap().into_inner().reservation.unwrap();
        assert_eq!(bought.lines[0].quantity, 1);
        assert_eq!(world.level("CHAIR").await.committed, 1);
    });
}

#[test]
fn who_buys_anew_is_held_to_the_limit_per_owner() {
    test(async |world| {
        world.count("CHAIR", 10).await;
        let policy = pb::SkuPolicy { sku: "CHAIR".into(), version: 1, max_per_owner: 3, ..Default::default() };
        world.stock().apply_policies(pb::ApplyPoliciesRequest { policies: vec![policy] }).await.unwrap();
        let old = over(world, &[("CHAIR", 2)]).await;
        let since = world.hold("CHAIR", 2).await;
        assert_eq!(reason(world.reservations().confirm(anew(&old, &key())).await), ErrorReason::LimitExceeded);
        assert_eq!((world.level("CHAIR").await.held, world.level("CHAIR").await.committed), (2, 0));
        world.release(&since).await.unwrap();
        world.reservations().confirm(anew(&old, &key())).await.unwrap();
    });
}

#[test]
fn a_line_in_one_piece_is_bought_anew_in_one_piece() {
    test(async |world| {
        world.count_at("CHAIR", "a", 3).await;
        world.count_at("CHAIR", "b", 2).await;
        published_becomes(world, "CHAIR", 5).await;
        let mut request = pb::ReserveRequest { hold_duration: seconds(1), ..ask(&[("CHAIR", 3)]) };
        request.lines[0].split = pb::LineSplit::Forbidden.into();
        let old = request.reservation_id.clone();
        world.reservations().reserve(request).await.unwrap();
        is_over(world, &old).await;
        let mut other = ask(&[("CHAIR", 1)]);
        other.lines[0].location = "a".into();
        world.reservations().reserve(other).await.unwrap();
        // Two are left at each.
        assert_eq!(reason(world.reservations().confirm(anew(&old, &key())).await), ErrorReason::InsufficientStock);
        world.count_at("CHAIR", "b", 3).await;
        let bought = world.reservations().confirm(anew(&old, &key())).await.unwrap().into_inner().reservation.unwrap();
        assert_eq!(bought.lines[0].allocations[0].location, "b");
    });
}

#[test]
fn a_running_hold_is_confirmed_as_it_is_though_a_key_to_buy_anew_is_given() {
    test(async |world| {
        world.count("CHAIR", 2).await;
        let id = world.hold("CHAIR", 2).await;
        let new = key();
        let bought = world.reservations().confirm(anew(&id, &new)).await.unwrap().into_inner();
        assert_eq!(bought.reservation.unwrap().reservation_id, id);
        assert_eq!(reason(world.get(&new).await), ErrorReason::NotFound);
    });
}

#[test]
fn an_order_reference_is_kept_from_whoever_names_it_first_and_found_by() {
    test(async |world| {
        world.count("CHAIR", 9).await;
        let named =
            pb::ReserveRequest { order_reference: "A-1".into(), channel: "shop".into(), ..ask(&[("CHAIR", 1)]) };
        let first = named.reservation_id.clone();
        world.reservations().reserve(named).await.unwrap();
        let later = pb::ConfirmRequest { order_reference: "B-2".into(), ..confirm(&first) };
        let kept = world.reservations().confirm(later).await.unwrap().into_inner().reservation.unwrap();
        assert_eq!((kept.order_reference.as_str(), kept.channel.as_str()), ("A-1", "shop"));
        let second = world.hold("CHAIR", 1).await;
        let at_last = pb::ConfirmRequest { order_reference: "A-1".into(), ..confirm(&second) };
        world.reservations().confirm(at_last).await.unwrap();
        world.hold("CHAIR", 1).await;
        let list = |page_size, page_token| pb::ListReservationsRequest {
            page_size,
            page_token,
            order_reference: "A-1".into(),
            ..Default::default()
        };
        let page = world.reservations().list_reservations(list(1, String::new())).await.unwrap().into_inner();
        assert_eq!(page.reservations[0].reservation_id, second);
        let next =
            world.reservations().list_reservations(list(1, page.next_page_token.clone())).await.unwrap().into_inner();
        assert_eq!(next.reservations[0].reservation_id, first);
        let other = pb::ListReservationsRequest { order_reference: String::new(), ..list(1, page.next_page_token) };
        assert_eq!(reason(world.reservations().list_reservations(other).await), ErrorReason::InvalidPageToken);
    });
}

#[test]
fn bad_confirms_name_their_fields() {
    test(async |world| {
        world.count("CHAIR", 2).await;
        let id = world.hold("CHAIR", 1).await;
        let request = pb::ConfirmRequest {
            portions: vec![portion("", 0), portion("CHAIR", i64::MAX), portion("CHAIR", -1)],
            reacquire_reservation_id: id.clone(),
            order_reference: "x".repeat(129),
            ..confirm(&id)
        };
        let wanted = [
            "portions[0].sku",
            "portions[0].quantity",
            "portions[1].quantity",
            "portions[2].quantity",
            "order_reference",
            "reacquire_reservation_id",
        ];
        assert_eq!(fields(world.reservations().confirm(request).await), wanted);
        let many = pb::ConfirmRequest { portions: vec![portion("CHAIR", 1); 101], ..confirm(&id) };
        assert_eq!(fields(world.reservations().confirm(many).await), ["portions"]);
        let old = "01800000-0000-7000-8000-000000000000";
        assert_eq!(reason(world.reservations().confirm(anew(&id, old)).await), ErrorReason::KeyOutOfWindow);
        let not_v7 = anew(&id, "6ba7b810-9dad-41d1-80b4-00c04fd430c8");
        assert_eq!(fields(world.reservations().confirm(not_v7).await), ["reacquire_reservation_id"]);
        assert_eq!(world.get(&id).await.unwrap().state(), pb::ReservationState::Held);
    });
}
