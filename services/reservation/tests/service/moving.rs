//! MoveStock: units change their place or their condition, and none are made.

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;
use tonic::Status;

use crate::world::{World, all_at_once, fields, key, reason, test};

const SELLABLE: i32 = pb::Condition::Sellable as i32;
const DAMAGED: i32 = pb::Condition::Damaged as i32;

fn moving(from: (&str, i32), to: (&str, i32), quantity: i64) -> pb::Move {
    pb::Move {
        sku: "CHAIR".into(),
        from_location: from.0.into(),
        from_condition: from.1,
        to_location: to.0.into(),
        to_condition: to.1,
        quantity,
    }
}

fn request(moves: Vec<pb::Move>) -> pb::MoveStockRequest {
    pb::MoveStockRequest {
        request_id: key(),
        moves,
        actor: "anna".into(),
        note: "wet boxes".into(),
        validate_only: false,
    }
}

async fn send(world: &World, request: pb::MoveStockRequest) -> Result<pb::MoveStockResponse, Status> {
    world.stock().move_stock(request).await.map(tonic::Response::into_inner)
}

/// On hand and damaged, by location.
async fn stock(world: &World) -> Vec<(String, i64, i64)> {
    let levels =
        world.stock().get_stock(pb::GetStockRequest { sku: "CHAIR".into() }).await.unwrap().into_inner().levels;
    let damaged = |level: &pb::StockLevel| level.unsellable.iter().map(|part| part.quantity).sum();
    levels.iter().map(|level| (level.location.clone(), level.on_hand, damaged(level))).collect()
}

#[test]
fn units_move_between_conditions_and_locations_and_none_are_made() {
    test(async |world| {
        world.count("CHAIR", 10).await;
        let moves = vec![
            moving(("main", SELLABLE), ("main", DAMAGED), 3),
            moving(("main", DAMAGED), ("repair", DAMAGED), 2),
            moving(("main", SELLABLE), ("shop", SELLABLE), 4),
        ];
        let asked = request(moves);
        let first = send(world, asked.clone()).await.unwrap();
        let after = [("main".to_owned(), 3, 1), ("repair".to_owned(), 0, 2), ("shop".to_owned(), 4, 0)];
        assert_eq!(stock(world).await, after);
        assert_eq!(first.levels.iter().map(|l| l.location.as_str()).collect::<Vec<_>>(), ["main", "repair", "shop"]);
        let again = send(world, asked.clone()).await.unwrap();
        assert_eq!((again.replayed, again.levels), (true, first.levels));
        let other = pb::MoveStockRequest { note: "another".into(), ..asked };
        assert_eq!(reason(send(world, other).await), ErrorReason::KeyReused);
        assert_eq!(stock(world).await, after);
        let entries = pb::ListLedgerEntriesRequest { sku: "CHAIR".into(), ..Default::default() };
        let entries = world.stock().list_ledger_entries(entries).await.unwrap().into_inner().entries;
        let moved: Vec<_> = entries.iter().filter(|e| e.adjustment_reason() == pb::AdjustmentReason::Moved).collect();
        assert_eq!(moved.iter().map(|e| e.on_hand_delta + e.unsellable_delta).sum::<i64>(), 0);
        assert!(moved.iter().all(|entry| entry.actor == "anna" && entry.note == "wet boxes"));
    });
}

#[test]
fn moves_are_made_in_their_order_all_or_none() {
    test(async |world| {
        world.count("CHAIR", 2).await;
        // What the first brings the second may take; the third asks for more than is left.
        let chain = vec![
            moving(("main", SELLABLE), ("a", SELLABLE), 2),
            moving(("a", SELLABLE), ("b", SELLABLE), 2),
            moving(("b", SELLABLE), ("main", SELLABLE), 3),
        ];
        let status = send(world, request(chain.clone())).await;
        assert_eq!(reason(status.clone()), ErrorReason::StockWouldBeNegative);
        assert!(format!("{status:?}").contains("moves[2]"), "{status:?}");
        assert_eq!(stock(world).await, [("main".to_owned(), 2, 0)]);
        send(world, request(chain[..2].to_vec())).await.unwrap();
        assert_eq!(stock(world).await, [("a".to_owned(), 0, 0), ("b".to_owned(), 2, 0), ("main".to_owned(), 0, 0)]);
        // The other way round there is nothing to take yet.
        let backwards =
            vec![moving(("main", SELLABLE), ("b", SELLABLE), 1), moving(("b", SELLABLE), ("main", SELLABLE), 1)];
        assert_eq!(reason(send(world, request(backwards)).await), ErrorReason::StockWouldBeNegative);
    });
}

#[test]
fn moving_what_is_promised_is_a_shortfall_that_is_said() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        world.hold("CHAIR", 4).await;
        let answer = send(world, request(vec![moving(("main", SELLABLE), ("main", DAMAGED), 3)])).await.unwrap();
        assert_eq!((answer.levels[0].on_hand, answer.levels[0].shortfall, answer.levels[0].available), (2, 2, 0));
    });
}

#[test]
fn the_same_move_at_once_from_many_happens_once() {
    test(async |world| {
        world.count("CHAIR", 10).await;
        let asked = request(vec![moving(("main", SELLABLE), ("shop", SELLABLE), 7)]);
        let sent = (0..6).map(|_| {
            let (mut client, asked) = (world.stock(), asked.clone());
            async move { client.move_stock(asked).await.map(|answer| answer.into_inner().replayed) }
        });
        let answers: Vec<_> = all_at_once(sent).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers.iter().filter(|replayed| !**replayed).count(), 1);
        assert_eq!(stock(world).await, [("main".to_owned(), 3, 0), ("shop".to_owned(), 7, 0)]);
    });
}

#[test]
fn a_dry_run_moves_nothing() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let mut asked = request(vec![moving(("main", SELLABLE), ("shop", SELLABLE), 2)]);
        asked.validate_only = true;
        let said = send(world, asked.clone()).await.unwrap();
        assert_eq!(said.levels.iter().map(|level| level.on_hand).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(stock(world).await, [("main".to_owned(), 5, 0)]);
        asked.validate_only = false;
        assert!(!send(world, asked).await.unwrap().replayed, "the dry run left no key behind");
    });
}

#[test]
fn bad_moves_name_their_fields() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let mut bad = request(vec![
            moving(("main", SELLABLE), ("main", SELLABLE), 1),
            moving(("", 0), ("shop", 9), 0),
            moving(("main", SELLABLE), ("shop", SELLABLE), i64::MIN),
        ]);
        bad.note = String::new();
        bad.actor = String::new();
        let wanted = [
            "actor",
            "note",
            "moves[0]",
            "moves[1].from_location",
            "moves[1].from_condition",
            "moves[1].to_condition",
            "moves[1].quantity",
            "moves[2].quantity",
        ];
        assert_eq!(fields(send(world, bad).await), wanted);
        assert_eq!(fields(send(world, request(vec![])).await), ["moves"]);
        let many = vec![moving(("main", SELLABLE), ("shop", SELLABLE), 1); 51];
        assert_eq!(fields(send(world, request(many)).await), ["moves"]);
        let mut ghost = moving(("main", SELLABLE), ("shop", SELLABLE), 1);
        ghost.sku = "GHOST".into();
        let status = send(world, request(vec![moving(("main", SELLABLE), ("shop", SELLABLE), 1), ghost])).await;
        assert_eq!(holdfast_kit::reason_of(status.as_ref().unwrap_err()), Some(ErrorReason::UnknownSku));
        assert_eq!(fields(status), ["moves[1].sku"]);
        assert_eq!(stock(world).await, [("main".to_owned(), 5, 0)]);
    });
}
