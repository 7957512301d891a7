//! Counts, adjustments, the ledger.

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;

use crate::world::{WAREHOUSE, all_at_once, key, now, reason, test};

fn adjustment(sku: &str, condition: pb::Condition, delta: i64, reason: pb::AdjustmentReason) -> pb::Adjustment {
    pb::Adjustment {
        sku: sku.into(),
        location: WAREHOUSE.into(),
        condition: condition.into(),
        delta,
        reason: reason.into(),
    }
}

fn adjust(adjustments: Vec<pb::Adjustment>) -> pb::AdjustStockRequest {
    pb::AdjustStockRequest { request_id: key(), adjustments, actor: "ann".into(), note: "by hand".into() }
}

#[test]
fn a_count_is_taken_once_however_often_it_is_sent() {
    test(async |world| {
        let request = world.counts(vec![("CHAIR", WAREHOUSE, 7), ("TABLE", WAREHOUSE, 0)]);
        let first = world.stock().apply_counts(request.clone()).await.unwrap().into_inner();
        assert!(first.results.iter().all(|result| result.outcome() == pb::CountOutcome::Applied));
        world.hold("CHAIR", 2).await;
        let again = world.stock().apply_counts(request.clone()).await.unwrap().into_inner();
        assert!(again.replayed);
        assert_eq!(again.results, first.results);
        let mut other = request;
        other.counts[0].quantity = 8;
        assert_eq!(reason(world.stock().apply_counts(other).await), ErrorReason::KeyReused);
        assert_eq!((world.level("CHAIR").await.on_hand, world.level("CHAIR").await.available), (7, 5));
        assert_eq!(world.level("TABLE").await.version, 1);
    });
}

#[test]
fn an_older_count_is_stale_and_an_equal_number_only_moves_the_time() {
    test(async |world| {
        let old = world.counts(vec![("CHAIR", WAREHOUSE, 9)]);
        world.count("CHAIR", 7).await;
        let outcome = |response: pb::ApplyCountsResponse| response.results[0].outcome();
        let stale = world.stock().apply_counts(old).await.unwrap().into_inner();
        assert_eq!(outcome(stale), pb::CountOutcome::Stale);
        let version = world.level("CHAIR").await.version;
        let same = world.counts(vec![("CHAIR", WAREHOUSE, 7)]);
        let as_of = same.as_of_time;
        assert_eq!(outcome(world.stock().apply_counts(same).await.unwrap().into_inner()), pb::CountOutcome::Unchanged);
        let level = world.level("CHAIR").await;
        assert_eq!((level.on_hand, level.version), (7, version), "no ledger entry for no change");
        // The record keeps microseconds.
        assert_eq!(
            level.count_as_of_time.map(|t| (t.seconds, t.nanos / 1_000)),
            as_of.map(|t| (t.seconds, t.nanos / 1_000))
        );
    });
}

#[test]
fn a_count_below_what_is_promised_is_accepted_as_shortfall_and_stops_new_holds() {
    test(async |world| {
        world.count("CHAIR", 10).await;
        let (kept, given) = (world.hold("CHAIR", 4).await, world.hold("CHAIR", 4).await);
        let response =
            world.stock().apply_counts(world.counts(vec![("CHAIR", WAREHOUSE, 5)])).await.unwrap().into_inner();
        assert_eq!(response.results[0].shortfall, 3);
        let level = world.level("CHAIR").await;
        assert_eq!((level.on_hand, level.held, level.shortfall, level.available), (5, 8, 3, 0));
        assert_eq!(reason(world.reserve("CHAIR", 1).await), ErrorReason::InsufficientStock);
        // Whoever holds may still buy; what is given back lowers the shortfall first.
        world.confirm(&kept).await.unwrap();
        world.release(&given).await.unwrap();
        let level = world.level("CHAIR").await;
        assert_eq!((level.committed, level.shortfall, level.available), (4, 0, 1));
    });
}

#[test]
fn counts_that_are_malformed_apply_nothing() {
    test(async |world| {
        let ahead = prost_types::Timestamp { seconds: now().seconds + 600, nanos: 0 };
        let changes: [fn(&mut pb::ApplyCountsRequest); 7] = [
            |request| request.counts[1].quantity = -1,
            |request| request.counts[1].quantity = 1_000_000_001,
            |request| request.counts[1].sku = String::new(),
            |request| request.counts[1] = request.counts[0].clone(),
            |request| request.as_of_time = None,
            |request| request.meaning = 0,
            |request| request.counts.clear(),
        ];
        for change in changes {
            let mut request = world.counts(vec![("CHAIR", WAREHOUSE, 1), ("TABLE", WAREHOUSE, 1)]);
            change(&mut request);
            assert_eq!(reason(world.stock().apply_counts(request).await), ErrorReason::InvalidField);
        }
        let request = pb::ApplyCountsRequest { as_of_time: Some(ahead), ..world.counts(vec![("CHAIR", WAREHOUSE, 1)]) };
        assert_eq!(reason(world.stock().apply_counts(request).await), ErrorReason::InvalidField);
        assert_eq!(
            reason(world.stock().get_stock(pb::GetStockRequest { sku: "CHAIR".into() }).await),
            ErrorReason::NotFound
        );
    });
}

#[test]
fn damaged_returns_do_not_become_sellable() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let returned = adjustment("CHAIR", pb::Condition::Damaged, 3, pb::AdjustmentReason::Returned);
        world.stock().adjust_stock(adjust(vec![returned])).await.unwrap();
        let level = world.level("CHAIR").await;
        assert_eq!((level.on_hand, level.available), (5, 5));
        let unsellable: Vec<_> = level.unsellable.iter().map(|u| (u.condition(), u.quantity)).collect();
        assert_eq!(unsellable, [(pb::Condition::Damaged, 3)]);
        assert_eq!(reason(world.reserve("CHAIR", 6).await), ErrorReason::InsufficientStock);
    });
}

#[test]
fn adjustments_of_a_request_happen_together_or_not_at_all() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let moved = |units| {
            adjust(vec![
                adjustment("CHAIR", pb::Condition::QualityHold, units, pb::AdjustmentReason::Moved),
                adjustment("CHAIR", pb::Condition::Sellable, -units, pb::AdjustmentReason::Moved),
            ])
        };
        assert_eq!(reason(world.stock().adjust_stock(moved(6)).await), ErrorReason::StockWouldBeNegative);
        assert!(world.level("CHAIR").await.unsellable.is_empty());
        let request = moved(2);
        let first = world.stock().adjust_stock(request.clone()).await.unwrap().into_inner();
        let again = world.stock().adjust_stock(request).await.unwrap().into_inner();
        assert_eq!((first.replayed, again.replayed), (false, true));
        assert_eq!(first.levels, again.levels);
        assert_eq!(world.level("CHAIR").await.on_hand, 3);
    });
}

#[test]
fn adjusting_an_unknown_row_adds_it_or_refuses_and_leaves_nothing_behind() {
    test(async |world| {
        let less = adjust(vec![adjustment("NEW", pb::Condition::Sellable, -1, pb::AdjustmentReason::Lost)]);
        assert_eq!(reason(world.stock().adjust_stock(less).await), ErrorReason::UnknownSku);
        let both = adjust(vec![
            adjustment("NEW", pb::Condition::Sellable, 1, pb::AdjustmentReason::Received),
            adjustment("NEW", pb::Condition::Sellable, -2, pb::AdjustmentReason::Lost),
        ]);
        assert_eq!(reason(world.stock().adjust_stock(both).await), ErrorReason::StockWouldBeNegative);
        assert_eq!(reason(world.reserve("NEW", 1).await), ErrorReason::UnknownSku, "a refused adjustment made the row");
        let more = adjust(vec![adjustment("NEW", pb::Condition::Sellable, 2, pb::AdjustmentReason::Received)]);
        world.stock().adjust_stock(more).await.unwrap();
        world.hold("NEW", 2).await;
    });
}

#[test]
fn malformed_adjustments_are_refused_with_all_their_fields() {
    test(async |world| {
        let request = pb::AdjustStockRequest {
            request_id: "x".into(),
            adjustments: vec![pb::Adjustment {
                sku: String::new(),
                location: String::new(),
                condition: 0,
                delta: 0,
                reason: 0,
            }],
            actor: String::new(),
            note: "x".repeat(501),
        };
        let status = world.stock().adjust_stock(request).await.unwrap_err();
        use tonic_types::StatusExt as _;
        assert_eq!(status.get_error_details().error_info().unwrap().metadata["violations"], "8");
    });
}

#[test]
fn the_ledger_tells_every_change_with_its_cause_page_by_page() {
    test(async |world| {
        world.count("CHAIR", 9).await;
        let id = world.hold("CHAIR", 2).await;
        world.confirm(&id).await.unwrap();
        world.release(&world.hold("CHAIR", 1).await).await.unwrap();
        let lost = adjustment("CHAIR", pb::Condition::Sellable, -1, pb::AdjustmentReason::Lost);
        world.stock().adjust_stock(adjust(vec![lost])).await.unwrap();

        let mut entries = Vec::new();
        let mut token = String::new();
        loop {
            let request = pb::ListLedgerEntriesRequest {
                sku: "CHAIR".into(),
                location: String::new(),
                page_size: 2,
                page_token: token,
                ..Default::default()
            };
            let page = world.stock().list_ledger_entries(request).await.unwrap().into_inner();
            entries.extend(page.entries);
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        entries.reverse();
        use pb::LedgerCause::{Adjust, Confirm, Count, Release, Reserve};
        let causes: Vec<_> = entries.iter().map(pb::LedgerEntry::cause).collect();
        assert_eq!(causes, [Count, Reserve, Confirm, Reserve, Release, Adjust]);
        let versions: Vec<_> = entries.iter().map(|entry| entry.version).collect();
        assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
        assert_eq!(
            (entries[2].held_delta, entries[2].committed_delta, entries[2].cause_id.as_str()),
            (-2, 2, id.as_str())
        );
        let last = &entries[5];
        assert_eq!(
            (last.actor.as_str(), last.note.as_str(), last.adjustment_reason()),
            ("ann", "by hand", pb::AdjustmentReason::Lost)
        );
        let filtered = pb::ListLedgerEntriesRequest {
            sku: "CHAIR".into(),
            location: "elsewhere".into(),
            page_size: 0,
            page_token: String::new(),
            ..Default::default()
        };
        assert!(world.stock().list_ledger_entries(filtered).await.unwrap().into_inner().entries.is_empty());
    });
}

#[test]
fn lists_page_through_everything_once() {
    test(async |world| {
        let codes: Vec<String> = (0..25).map(|n| format!("SKU-{n:02}")).collect();
        let counts = codes.iter().map(|code| (code.as_str(), WAREHOUSE, 3)).collect();
        world.stock().apply_counts(world.counts(counts)).await.unwrap();
        let mut ids = Vec::new();
        for code in &codes {
            ids.push(world.hold(code, 1).await);
        }
        let (mut listed, mut token) = (Vec::new(), String::new());
        loop {
            let request = pb::ListStockRequest { page_size: 10, page_token: token, location: WAREHOUSE.into() };
            let page = world.stock().list_stock(request).await.unwrap().into_inner();
            listed.extend(page.levels.into_iter().map(|level| level.sku));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(listed, codes);
        let (mut listed, mut token) = (Vec::new(), String::new());
        loop {
            let request = pb::ListReservationsRequest {
                page_size: 7,
                page_token: token,
                owner: "cart".into(),
                state: pb::ReservationState::Held.into(),
                ..Default::default()
            };
            let page = world.reservations().list_reservations(request).await.unwrap().into_inner();
            listed.extend(page.reservations.into_iter().map(|reservation| reservation.reservation_id));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        ids.reverse();
        assert_eq!(listed, ids);
    });
}

#[test]
fn counts_and_buyers_do_not_get_in_each_others_way() {
    test(async |world| {
        let codes: Vec<String> = (0..300).map(|n| format!("SKU-{n:03}")).collect();
        let counts = |units| codes.iter().map(|code| (code.as_str(), WAREHOUSE, units)).collect();
        world.stock().apply_counts(world.counts(counts(1_000))).await.unwrap();
        let buyers = (0..300_usize).map(|n| {
            let (mut client, codes) = (world.reservations(), codes.clone());
            async move {
                // Overlapping carts in opposite order.
                let (a, b) = (codes[n].as_str(), codes[299 - n].as_str());
                client.reserve(crate::world::ask(&[(a, 1), (b, 1)])).await.map(|_| ())
            }
        });
        let files = (0..10).map(|n| {
            let (mut client, request) = (world.stock(), world.counts(counts(900 + n)));
            async move { client.apply_counts(request).await.map(|_| ()) }
        });
        let (sold, counted) = tokio::join!(all_at_once(buyers), all_at_once(files));
        assert!(sold.iter().chain(&counted).all(Result::is_ok), "{sold:?} {counted:?}");
        assert_eq!(world.level("SKU-000").await.held, 2);
    });
}
