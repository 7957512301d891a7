//! Reserve: all lines or none, from wherever they are.

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;
use tonic_types::StatusExt as _;

use crate::world::{all_at_once, ask, id_of, reason, seconds, test};

#[test]
fn a_granted_cart_is_in_postgres_with_all_its_lines() {
    test(async |world| {
        world.count("CHAIR", 10).await;
        world.count("TABLE", 3).await;
        let response = world.reservations().reserve(ask(&[("TABLE", 1), ("CHAIR", 4)])).await.unwrap().into_inner();
        assert!(!response.replayed);
        let stored = world.get(&id_of(&response)).await.unwrap();
        assert_eq!(Some(&stored), response.reservation.as_ref());
        assert_eq!(stored.state(), pb::ReservationState::Held);
        let lines: Vec<_> = stored.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
        assert_eq!(lines, [("CHAIR", 4), ("TABLE", 1)]);
        assert_eq!((world.level("CHAIR").await.held, world.level("TABLE").await.available), (4, 2));
    });
}

#[test]
fn a_cart_with_one_short_line_takes_nothing() {
    test(async |world| {
        world.count("CHAIR", 10).await;
        world.count("TABLE", 1).await;
        let status = world.reservations().reserve(ask(&[("CHAIR", 4), ("TABLE", 2)])).await.unwrap_err();
        let details = status.get_error_details();
        let info = details.error_info().expect("an ErrorInfo");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INSUFFICIENT_STOCK", "holdfast"));
        assert_eq!(info.metadata["short[0].requested"], "2");
        assert_eq!(info.metadata["short[0].available"], "1");
        let short = &details.precondition_failure().expect("a PreconditionFailure").violations;
        assert_eq!(short.iter().map(|v| v.subject.as_str()).collect::<Vec<_>>(), ["sku/TABLE"]);
        assert_eq!((world.level("CHAIR").await.held, world.level("TABLE").await.held), (0, 0));
    });
}

#[test]
fn the_same_sku_on_two_lines_is_summed() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        assert_eq!(
            reason(world.reservations().reserve(ask(&[("CHAIR", 3), ("CHAIR", 3)])).await),
            ErrorReason::InsufficientStock
        );
        let response = world.reservations().reserve(ask(&[("CHAIR", 3), ("CHAIR", 2)])).await.unwrap().into_inner();
        let lines = response.reservation.unwrap().lines;
        assert_eq!(lines.iter().map(|line| line.quantity).collect::<Vec<_>>(), [5]);
    });
}

#[test]
fn a_line_is_split_over_locations_only_when_no_single_one_has_it_all() {
    test(async |world| {
        world.count_at("CHAIR", "east", 4).await;
        world.count_at("CHAIR", "west", 3).await;
        let whole = world.reserve("CHAIR", 3).await.unwrap().reservation.unwrap();
        assert_eq!(whole.lines[0].allocations.len(), 1);
        let split = world.reserve("CHAIR", 4).await.unwrap().reservation.unwrap();
        let parts: Vec<_> = split.lines[0].allocations.iter().map(|a| (a.location.as_str(), a.quantity)).collect();
        assert_eq!(parts, [("east", 1), ("west", 3)]);
        assert_eq!(reason(world.reserve("CHAIR", 1).await), ErrorReason::InsufficientStock);
    });
}

#[test]
fn a_line_that_names_a_location_is_taken_from_there_only() {
    test(async |world| {
        world.count_at("CHAIR", "east", 2).await;
        world.count_at("CHAIR", "west", 9).await;
        let at = |location: &str, quantity| {
            let mut request = ask(&[("CHAIR", quantity)]);
            request.lines[0].location = location.into();
            request
        };
        assert_eq!(reason(world.reservations().reserve(at("east", 3)).await), ErrorReason::InsufficientStock);
        assert_eq!(reason(world.reservations().reserve(at("south", 1)).await), ErrorReason::UnknownSku);
        let granted = world.reservations().reserve(at("east", 2)).await.unwrap().into_inner().reservation.unwrap();
        assert_eq!(granted.lines[0].allocations[0].location, "east");
    });
}

#[test]
fn of_many_buyers_of_one_unit_exactly_one_gets_it() {
    test(async |world| {
        world.count("LAST", 1).await;
        let buyers = (0..50).map(|_| {
            let mut client = world.reservations();
            async move { client.reserve(ask(&[("LAST", 1)])).await }
        });
        let outcomes = all_at_once(buyers).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        for refused in outcomes.into_iter().filter(Result::is_err) {
            assert_eq!(reason(refused), ErrorReason::InsufficientStock);
        }
    });
}

#[test]
fn exactly_as_many_buyers_get_a_unit_as_there_are_units() {
    test(async |world| {
        world.count("SALE", 40).await;
        let buyers = (0..200).map(|_| {
            let mut client = world.reservations();
            async move { client.reserve(ask(&[("SALE", 1)])).await }
        });
        let outcomes = all_at_once(buyers).await;
        assert_eq!(
            outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
            40,
            "neither oversold nor falsely sold out"
        );
        let level = world.level("SALE").await;
        assert_eq!((level.held, level.available), (40, 0));
    });
}

#[test]
fn a_released_hold_can_be_taken_by_someone_else() {
    test(async |world| {
        world.count("CHAIR", 1).await;
        let first = world.hold("CHAIR", 1).await;
        assert_eq!(reason(world.reserve("CHAIR", 1).await), ErrorReason::InsufficientStock);
        world.release(&first).await.unwrap();
        world.hold("CHAIR", 1).await;
    });
}

#[test]
fn a_hold_past_its_time_counts_for_nobody_at_once() {
    test(async |world| {
        world.count("CHAIR", 1).await;
        let mut short = ask(&[("CHAIR", 1)]);
        short.hold_duration = seconds(1);
        let held = world.reservations().reserve(short).await.unwrap().into_inner();
        let end = held.current_expire_time.unwrap();
        // Whoever asks before its end is refused, whoever asks after it is granted: no gap in between.
        loop {
            let before = crate::world::now();
            match world.reserve("CHAIR", 1).await {
                Ok(_) => break,
                Err(status) => {
                    assert_eq!(holdfast_kit::reason_of(&status), Some(ErrorReason::InsufficientStock));
                    assert!(
                        (before.seconds, before.nanos) < (end.seconds, end.nanos),
                        "refused at {before:?} though the hold ended at {end:?}"
                    );
                }
            }
        }
        assert_eq!(world.get(&id_of(&held)).await.unwrap().state(), pb::ReservationState::Expired);
    });
}

#[test]
fn the_sweeper_gives_back_the_units_of_a_hold_that_nobody_asks_about() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let mut short = ask(&[("CHAIR", 2)]);
        short.hold_duration = seconds(1);
        world.reservations().reserve(short).await.unwrap();
        let pool = world.database.admin_pool().await;
        holdfast_testkit::eventually("the row follows", std::time::Duration::from_secs(10), || async {
            let held: i64 = sqlx::query_scalar("SELECT held FROM stock").fetch_one(&pool).await.unwrap();
            (held == 0).then_some(())
        })
        .await;
    });
}
