//! Everything that is wrong with a request is said at once, and nothing is changed.

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::world::{all_at_once, ask, key, reason, test};

/// The fields that a status complains of, and the total.
fn fields(status: &Status) -> (Vec<String>, usize) {
    let details = status.get_error_details();
    let listed =
        details.bad_request().expect("a BadRequest").field_violations.iter().map(|v| v.field.clone()).collect();
    let total = details.error_info().expect("an ErrorInfo").metadata["violations"].parse().unwrap();
    (listed, total)
}

#[test]
fn all_field_problems_come_at_once_and_unknown_skus_among_them() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let mut request =
            ask(&[("CHAIR", 0), ("NOBODY-KNOWS", 1), ("CHAIR", -3), ("CHAIR", i64::MAX), ("bad\ncode", 1)]);
        request.reservation_id = "not-a-uuid".into();
        request.owner = String::new();
        request.hold_duration = Some(prost_types::Duration { seconds: -5, nanos: 0 });
        let status = world.reservations().reserve(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        let (listed, total) = fields(&status);
        let expected = [
            "reservation_id",
            "owner",
            "hold_duration",
            "lines[0].quantity",
            "lines[2].quantity",
            "lines[3].quantity",
            "lines[4].sku",
            "lines[1].sku",
        ];
        assert_eq!((listed.iter().map(String::as_str).collect::<Vec<_>>(), total), (expected.to_vec(), expected.len()));
        assert_eq!(world.level("CHAIR").await.held, 0);
    });
}

#[test]
fn at_most_twenty_problems_are_listed_and_the_total_is_said() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let status = world.reservations().reserve(ask(&[("CHAIR", 0); 60])).await.unwrap_err();
        let (listed, total) = fields(&status);
        assert_eq!((listed.len(), total), (20, 60));
    });
}

#[test]
fn too_many_lines_and_sums_that_are_too_large_are_refused() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let status = world.reservations().reserve(ask(&[("CHAIR", 1); 101])).await.unwrap_err();
        assert_eq!(fields(&status), (vec!["lines".to_owned()], 1));
        let status = world.reservations().reserve(ask(&[])).await.unwrap_err();
        assert_eq!(fields(&status), (vec!["lines".to_owned()], 1));
        let status = world.reservations().reserve(ask(&[("CHAIR", 1_000_000), ("CHAIR", 1)])).await.unwrap_err();
        assert_eq!(fields(&status), (vec!["lines[1].quantity".to_owned()], 1));
        assert!(world.reservations().reserve(ask(&[("CHAIR", 1), ("CHAIR", 1)])).await.is_ok());
    });
}

#[test]
fn odd_strings_are_refused_or_kept_as_they_are() {
    test(async |world| {
        let odd = ["", " CHAIR", "CHAIR ", "CH\0AIR", "CHAIR\u{200b}", "\u{202e}CHAIR", &"x".repeat(129)];
        for sku in odd {
            assert_eq!(reason(world.reserve(sku, 1).await), ErrorReason::InvalidField, "{sku:?}");
        }
        for sku in ["{CHAIR}", "a}b{c", "100%", "Stuhl-Ä", "椅子", "'; DROP TABLE stock; --", &"x".repeat(128)] {
            world.count(sku, 1).await;
            assert_eq!(world.reserve(sku, 1).await.unwrap().reservation.unwrap().lines[0].sku, sku);
            assert_eq!(reason(world.reserve(sku, 1).await), ErrorReason::InsufficientStock, "{sku}");
        }
    });
}

#[test]
fn an_unknown_sku_alone_has_its_own_reason_and_its_field() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let status = world.reservations().reserve(ask(&[("CHAIR", 1), ("GHOST", 1)])).await.unwrap_err();
        assert_eq!(holdfast_kit::reason_of(&status), Some(ErrorReason::UnknownSku));
        assert_eq!(fields(&status), (vec!["lines[1].sku".to_owned()], 1));
        assert_eq!(world.level("CHAIR").await.held, 0);
    });
}

#[test]
fn malformed_requests_leave_their_neighbours_in_the_batch_alone() {
    test(async |world| {
        world.count("CHAIR", 50).await;
        let requests = (0..150_i64).map(|number| {
            let mut client = world.reservations();
            async move {
                let line = match number % 3 {
                    0 => ("CHAIR", 1),
                    1 => ("GHOST", 1),
                    _ => ("CHAIR", -1),
                };
                (number, client.reserve(ask(&[line])).await)
            }
        });
        for (number, outcome) in all_at_once(requests).await {
            match number % 3 {
                0 => assert!(outcome.is_ok(), "{outcome:?}"),
                1 => assert_eq!(reason(outcome), ErrorReason::UnknownSku),
                _ => assert_eq!(reason(outcome), ErrorReason::InvalidField),
            }
        }
        assert_eq!(world.level("CHAIR").await.held, 50);
    });
}

#[test]
fn ids_pages_and_tokens_that_are_malformed_are_refused() {
    test(async |world| {
        let mut client = world.reservations();
        for id in ["", "x", "00000000-0000-0000-0000-000000000000", "6ba7b810-9dad-41d1-80b4-00c04fd430c8"] {
            assert_eq!(reason(world.get(id).await), ErrorReason::InvalidField, "{id}");
            assert_eq!(reason(world.confirm(id).await), ErrorReason::InvalidField, "{id}");
        }
        let request = pb::ConfirmRequest { request_id: String::new(), reservation_id: key(), ..Default::default() };
        assert_eq!(reason(client.confirm(request).await), ErrorReason::InvalidField);
        let list = |page_size, token: &str, state| pb::ListReservationsRequest {
            page_size,
            page_token: token.into(),
            state,
            ..Default::default()
        };
        assert_eq!(reason(client.list_reservations(list(-1, "", 0)).await), ErrorReason::InvalidField);
        assert_eq!(reason(client.list_reservations(list(1, "", 99)).await), ErrorReason::InvalidField);
        assert_eq!(reason(client.list_reservations(list(1, "garbage", 0)).await), ErrorReason::InvalidPageToken);
        let availability = pb::BatchGetAvailabilityRequest { skus: vec!["x".into(); 1_001], source: 0 };
        assert_eq!(reason(world.stock().batch_get_availability(availability).await), ErrorReason::InvalidField);
    });
}
