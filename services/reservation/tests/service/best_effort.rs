//! Best effort: as much of every line as there is, and never a no that Postgres did not speak.

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;
use tonic::Status;

use crate::world::{World, all_at_once, ask, published_becomes, reason, test};

fn best(lines: &[(&str, i64)]) -> pb::ReserveRequest {
    pb::ReserveRequest { mode: pb::ReserveMode::BestEffort.into(), ..ask(lines) }
}

async fn reserve(world: &World, request: pb::ReserveRequest) -> Result<pb::Reservation, Status> {
    Ok(world.reservations().reserve(request).await?.into_inner().reservation.unwrap())
}

fn quantities(reservation: &pb::Reservation) -> Vec<(&str, i64)> {
    reservation.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect()
}

#[test]
fn what_is_missing_is_said_and_the_rest_is_held() {
    test(async |world| {
        world.count("CHAIR", 3).await;
        world.count("TABLE", 2).await;
        world.count("LAMP", 0).await;
        let request = best(&[("CHAIR", 5), ("LAMP", 1), ("TABLE", 2)]);
        let held = reserve(world, request.clone()).await.unwrap();
        assert_eq!(quantities(&held), [("CHAIR", 3), ("TABLE", 2)]);
        let missing: Vec<_> =
            held.shortages.iter().map(|s| (s.sku.as_str(), s.requested_quantity, s.available_quantity)).collect();
        assert_eq!(missing, [("CHAIR", 5, 3), ("LAMP", 1, 0)]);
        assert_eq!((world.on_offer("CHAIR").await, world.on_offer("TABLE").await), (0, 0));
        // The first answer stays, whatever there is by now.
        world.count("LAMP", 9).await;
        let again = world.reservations().reserve(request.clone()).await.unwrap().into_inner();
        assert_eq!((again.replayed, again.reservation), (true, Some(held)));
        let all_or_nothing = pb::ReserveRequest { mode: 0, ..request };
        assert_eq!(reason(reserve(world, all_or_nothing).await), ErrorReason::KeyReused);
    });
}

#[test]
fn all_of_it_is_a_hold_like_any_other() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let held = reserve(world, best(&[("CHAIR", 5)])).await.unwrap();
        assert_eq!((quantities(&held), held.shortages.len()), (vec![("CHAIR", 5)], 0));
        world.confirm(&held.reservation_id).await.unwrap();
        assert_eq!(world.level("CHAIR").await.committed, 5);
    });
}

#[test]
fn nothing_at_all_is_too_little() {
    test(async |world| {
        world.count("CHAIR", 0).await;
        let request = best(&[("CHAIR", 2)]);
        assert_eq!(reason(reserve(world, request.clone()).await), ErrorReason::InsufficientStock);
        let retry = pb::ReserveRequest { attempt: 2, ..request.clone() };
        assert_eq!(reason(reserve(world, retry).await), ErrorReason::InsufficientStock);
        world.count("CHAIR", 2).await;
        assert_eq!(reason(reserve(world, request).await), ErrorReason::InsufficientStock, "the retry closed the key");
        assert_eq!(quantities(&reserve(world, best(&[("CHAIR", 9)])).await.unwrap()), [("CHAIR", 2)]);
    });
}

#[test]
fn a_no_leaves_the_key_free() {
    test(async |world| {
        world.count("CHAIR", 0).await;
        published_becomes(world, "CHAIR", 0).await;
        // The gate lets it through to where keys are claimed.
        world.spoil("CHAIR", 9).await;
        let request = best(&[("CHAIR", 2)]);
        assert_eq!(reason(reserve(world, request.clone()).await), ErrorReason::InsufficientStock);
        world.count("CHAIR", 2).await;
        assert_eq!(quantities(&reserve(world, request).await.unwrap()), [("CHAIR", 2)]);
    });
}

#[test]
fn a_gate_that_knows_nothing_keeps_nobody_from_what_there_is() {
    test(async |world| {
        world.count("CHAIR", 4).await;
        world.wipe_redis().await;
        assert_eq!(quantities(&reserve(world, best(&[("CHAIR", 8)])).await.unwrap()), [("CHAIR", 4)]);
    });
}

#[test]
fn many_at_once_share_what_there_is_and_not_a_unit_more() {
    test(async |world| {
        world.count("CHAIR", 20).await;
        let sent = (0..12).map(|_| {
            let (mut client, request) = (world.reservations(), best(&[("CHAIR", 3)]));
            async move { client.reserve(request).await.map(|held| held.into_inner().reservation.unwrap()) }
        });
        let mut units = 0;
        for outcome in all_at_once(sent).await {
            match outcome {
                Ok(held) => units += held.lines[0].quantity,
                Err(status) => assert_eq!(holdfast_kit::reason_of(&status), Some(ErrorReason::InsufficientStock)),
            }
        }
        assert_eq!((units, world.on_offer("CHAIR").await), (20, 0));
    });
}
