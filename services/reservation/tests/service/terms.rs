//! How a Reserve is asked for: strategies, lines in one piece, channels and their caps, labels, backorder with a date.

use std::collections::HashMap;

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;
use tonic::Status;

use crate::world::{World, ask, cancel, fields, fulfil, key, now, portion, published_becomes, reason, seconds, test};

async fn reserve(world: &World, request: pb::ReserveRequest) -> Result<pb::Reservation, Status> {
    Ok(world.reservations().reserve(request).await?.into_inner().reservation.unwrap())
}

fn taken(reservation: &pb::Reservation) -> Vec<(&str, i64)> {
    let parts = reservation.lines.iter().flat_map(|line| &line.allocations);
    parts.map(|part| (part.location.as_str(), part.quantity)).collect()
}

fn by(strategy: pb::LocationStrategy, lines: &[(&str, i64)]) -> pb::ReserveRequest {
    pb::ReserveRequest { strategy: strategy.into(), ..ask(lines) }
}

async fn apply(world: &World, policy: pb::SkuPolicy) {
    world.stock().apply_policies(pb::ApplyPoliciesRequest { policies: vec![policy] }).await.unwrap();
}

#[test]
fn a_strategy_chooses_where_units_are_taken() {
    test(async |world| {
        for (sku, location, units) in
            [("CHAIR", "a", 2), ("CHAIR", "b", 9), ("CHAIR", "c", 4), ("TABLE", "a", 0), ("TABLE", "c", 5)]
        {
            world.count_at(sku, location, units).await;
        }
        published_becomes(world, "CHAIR", 15).await;
        published_becomes(world, "TABLE", 5).await;
        let fixed = reserve(world, ask(&[("CHAIR", 1)])).await.unwrap();
        assert_eq!(taken(&fixed), [("a", 1)]);
        let most = reserve(world, by(pb::LocationStrategy::MostStock, &[("CHAIR", 1)])).await.unwrap();
        assert_eq!(taken(&most), [("b", 1)]);
        let fewest = by(pb::LocationStrategy::FewestParcels, &[("CHAIR", 1), ("TABLE", 1)]);
        assert_eq!(taken(&reserve(world, fewest).await.unwrap()), [("c", 1), ("c", 1)]);
        let mut near = by(pb::LocationStrategy::Nearest, &[("CHAIR", 1)]);
        near.nearest_locations = vec!["elsewhere".into(), "c".into(), "b".into()];
        assert_eq!(taken(&reserve(world, near).await.unwrap()), [("c", 1)]);
    });
}

#[test]
fn a_line_in_one_piece_is_short_where_a_split_one_is_not() {
    test(async |world| {
        world.count_at("CHAIR", "a", 3).await;
        world.count_at("CHAIR", "b", 2).await;
        published_becomes(world, "CHAIR", 5).await;
        let whole = |units| {
            let mut request = ask(&[("CHAIR", units)]);
            request.lines[0].split = pb::LineSplit::Forbidden.into();
            request
        };
        assert_eq!(reason(reserve(world, whole(4)).await), ErrorReason::InsufficientStock);
        assert_eq!(taken(&reserve(world, whole(3)).await.unwrap()), [("a", 3)]);
        assert_eq!(taken(&reserve(world, ask(&[("CHAIR", 2)])).await.unwrap()), [("b", 2)]);
    });
}

#[test]
fn a_channel_has_no_more_than_its_cap_and_gets_it_back() {
    test(async |world| {
        world.count("CHAIR", 50).await;
        let cap = |channel: &str, quantity| pb::ChannelCap { channel: channel.into(), quantity };
        let policy = pb::SkuPolicy {
            sku: "CHAIR".into(),
            version: 1,
            channel_caps: vec![cap("market", 3)],
            ..Default::default()
        };
        apply(world, policy.clone()).await;
        let on = |channel: &str, units| pb::ReserveRequest { channel: channel.into(), ..ask(&[("CHAIR", units)]) };
        let first = reserve(world, on("market", 2)).await.unwrap();
        assert_eq!(first.channel, "market");
        let status = reserve(world, on("market", 2)).await;
        assert!(format!("{status:?}").contains("channel"), "{status:?}");
        assert_eq!(reason(status), ErrorReason::LimitExceeded);
        // All or nothing of the limit, even to best effort; other channels have none.
        let best = pb::ReserveRequest { mode: pb::ReserveMode::BestEffort.into(), ..on("market", 2) };
        assert_eq!(reason(reserve(world, best).await), ErrorReason::LimitExceeded);
        let in_the_shop = reserve(world, on("shop", 9)).await.unwrap();
        reserve(world, ask(&[("CHAIR", 9)])).await.unwrap();
        let second = reserve(world, on("market", 1)).await.unwrap();
        world.confirm(&first.reservation_id).await.unwrap();
        assert_eq!(reason(reserve(world, on("market", 1)).await), ErrorReason::LimitExceeded, "sold units count");
        world.release(&second.reservation_id).await.unwrap();
        world.reservations().cancel(cancel(&first.reservation_id, vec![])).await.unwrap();
        reserve(world, on("market", 3)).await.unwrap();
        // A cap that comes later counts what the channel has already: what was sold and not shipped.
        world.confirm(&in_the_shop.reservation_id).await.unwrap();
        let shipped = fulfil(&in_the_shop.reservation_id, vec![portion("CHAIR", 3)]);
        world.reservations().fulfil(shipped).await.unwrap();
        apply(world, pb::SkuPolicy { version: 2, channel_caps: vec![cap("market", 9), cap("shop", 10)], ..policy })
            .await;
        assert_eq!(reason(reserve(world, on("shop", 5)).await), ErrorReason::LimitExceeded);
        reserve(world, on("shop", 4)).await.unwrap();
    });
}

#[test]
fn units_promised_beyond_what_is_there_come_with_a_date() {
    test(async |world| {
        world.count("CHAIR", 2).await;
        let policy = pb::SkuPolicy {
            sku: "CHAIR".into(),
            version: 1,
            backorder_limit: 5,
            locations: vec!["main".into()],
            promise_lead_duration: seconds(7 * 86_400),
            ..Default::default()
        };
        apply(world, policy.clone()).await;
        let held = reserve(world, ask(&[("CHAIR", 4)])).await.unwrap();
        let part = &held.lines[0].allocations[0];
        assert_eq!((part.quantity, part.backordered_quantity), (4, 2));
        let lead = part.promise_time.unwrap().seconds - held.create_time.unwrap().seconds;
        assert_eq!(lead, 7 * 86_400);
        assert_eq!(world.get(&held.reservation_id).await.unwrap().lines, held.lines, "and so it is kept");
        let preorder = prost_types::Timestamp { seconds: now().seconds + 86_400, nanos: 0 };
        apply(world, pb::SkuPolicy { version: 2, promise_time: Some(preorder), promise_lead_duration: None, ..policy })
            .await;
        let held = reserve(world, ask(&[("CHAIR", 3)])).await.unwrap();
        let part = &held.lines[0].allocations[0];
        assert_eq!((part.backordered_quantity, part.promise_time), (3, Some(preorder)));
        assert_eq!(reason(reserve(world, ask(&[("CHAIR", 1)])).await), ErrorReason::InsufficientStock);
    });
}

#[test]
fn labels_and_references_are_kept_and_part_of_the_request() {
    test(async |world| {
        world.count("CHAIR", 9).await;
        let labels: HashMap<_, _> = [("gift".to_owned(), "yes".to_owned()), ("Ä".to_owned(), String::new())].into();
        let request = pb::ReserveRequest {
            labels: labels.clone(),
            channel: "shop".into(),
            order_reference: "A-17".into(),
            ..ask(&[("CHAIR", 1)])
        };
        let held = reserve(world, request.clone()).await.unwrap();
        assert_eq!((&held.labels, held.order_reference.as_str()), (&labels, "A-17"));
        assert_eq!(world.get(&held.reservation_id).await.unwrap(), held);
        assert_eq!(reserve(world, request.clone()).await.unwrap(), held);
        for other in [
            pb::ReserveRequest { labels: HashMap::new(), ..request.clone() },
            pb::ReserveRequest { channel: String::new(), ..request.clone() },
            pb::ReserveRequest { order_reference: "A-18".into(), ..request.clone() },
            pb::ReserveRequest { strategy: pb::LocationStrategy::MostStock.into(), ..request.clone() },
        ] {
            assert_eq!(reason(reserve(world, other).await), ErrorReason::KeyReused);
        }
        // What is the default may be said or left out.
        let spelled_out = pb::ReserveRequest {
            mode: pb::ReserveMode::AllOrNothing.into(),
            strategy: pb::LocationStrategy::FixedPriority.into(),
            ..request
        };
        assert_eq!(reserve(world, spelled_out).await.unwrap(), held);
    });
}

#[test]
fn bad_terms_name_their_fields() {
    test(async |world| {
        world.count("CHAIR", 9).await;
        let mut bad = pb::ReserveRequest {
            mode: 9,
            strategy: 9,
            channel: "x".repeat(129),
            order_reference: "a\nb".into(),
            labels: [("x".repeat(65), "y".repeat(257))].into(),
            ..ask(&[("CHAIR", 1)])
        };
        bad.lines[0].split = 9;
        let wanted =
            ["lines[0].split", "mode", "strategy", "channel", "order_reference", "labels[0].key", "labels[0].value"];
        assert_eq!(fields(reserve(world, bad).await), wanted);
        let many = pb::ReserveRequest {
            labels: (0..17).map(|n| (n.to_string(), String::new())).collect(),
            ..ask(&[("CHAIR", 1)])
        };
        assert_eq!(fields(reserve(world, many).await), ["labels"]);
        let near = |nearest: &[&str]| pb::ReserveRequest {
            nearest_locations: nearest.iter().map(|code| (*code).to_owned()).collect(),
            ..by(pb::LocationStrategy::Nearest, &[("CHAIR", 1)])
        };
        assert_eq!(fields(reserve(world, near(&[])).await), ["nearest_locations"]);
        assert_eq!(
            fields(reserve(world, near(&["a", "", "a"])).await),
            ["nearest_locations[1]", "nearest_locations[2]"]
        );
        assert_eq!(fields(reserve(world, near(&["a"; 101])).await), ["nearest_locations"]);
        let aimless = pb::ReserveRequest { nearest_locations: vec!["a".into()], ..ask(&[("CHAIR", 1)]) };
        assert_eq!(fields(reserve(world, aimless).await), ["nearest_locations"]);
        assert_eq!(world.level("CHAIR").await.held, 0);

        let policy = pb::SkuPolicy {
            sku: "CHAIR".into(),
            version: 1,
            max_per_minute: -1,
            channel_caps: vec![
                pb::ChannelCap { channel: "x".into(), quantity: -1 },
                pb::ChannelCap { channel: "x".into(), quantity: 1 },
            ],
            promise_time: Some(now()),
            promise_lead_duration: seconds(1),
            ..Default::default()
        };
        let request = pb::ApplyPoliciesRequest { policies: vec![policy] };
        let wanted = [
            "policies[0].max_per_minute",
            "policies[0].channel_caps[0].quantity",
            "policies[0].channel_caps[1].channel",
            "policies[0].promise_lead_duration",
        ];
        assert_eq!(fields(world.stock().apply_policies(request).await), wanted);
        let run = pb::CompleteRunRequest {
            connection: "acme".into(),
            location: "main".into(),
            as_of_time: Some(now()),
            clock_margin: seconds(8 * 86_400),
            reflection_lag: seconds(59),
            ..Default::default()
        };
        assert_eq!(fields(world.stock().complete_run(run).await), ["clock_margin", "reflection_lag"]);
        assert_eq!(reason(world.get(&key()).await), ErrorReason::NotFound);
    });
}
