//! Selling policies, as catalog pushes them and buyers meet them.

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;
use sqlx::Row as _;

use crate::world::{Options, WAREHOUSE, World, all_at_once, ask, published_becomes, reason, seconds, test, test_with};

fn policy(sku: &str, version: i64) -> pb::SkuPolicy {
    pb::SkuPolicy { sku: sku.into(), version, ..pb::SkuPolicy::default() }
}

async fn apply(world: &World, policies: Vec<pb::SkuPolicy>) -> pb::ApplyPoliciesResponse {
    let request = pb::ApplyPoliciesRequest { policies };
    world.stock().apply_policies(request).await.expect("policies are taken").into_inner()
}

fn by(owner: &str, lines: &[(&str, i64)]) -> pb::ReserveRequest {
    pb::ReserveRequest { owner: owner.into(), ..ask(lines) }
}

async fn reserve(world: &World, request: pb::ReserveRequest) -> Result<pb::Reservation, tonic::Status> {
    Ok(world.reservations().reserve(request).await?.into_inner().reservation.expect("a reservation"))
}

#[test]
fn what_a_policy_keeps_back_is_not_sold_and_the_gate_hears_of_it() {
    test(async |world| {
        world.count("CHAIR", 10).await;
        let said = pb::SkuPolicy { safety_stock: 8, ..policy("CHAIR", 3) };
        assert_eq!(apply(world, vec![said.clone()]).await, pb::ApplyPoliciesResponse { applied: 1, known: 0 });
        assert_eq!(apply(world, vec![said]).await, pb::ApplyPoliciesResponse { applied: 0, known: 1 });
        published_becomes(world, "CHAIR", 2).await;
        assert_eq!(world.on_offer("CHAIR").await, 2);
        assert_eq!(reason(world.reserve("CHAIR", 3).await), ErrorReason::InsufficientStock);
        world.hold("CHAIR", 2).await;
        let entries = pb::ListLedgerEntriesRequest { sku: "CHAIR".into(), ..Default::default() };
        let entries = world.stock().list_ledger_entries(entries).await.unwrap().into_inner().entries;
        let entry = entries.iter().find(|entry| entry.cause() == pb::LedgerCause::Policy).expect("it is in the ledger");
        assert_eq!((entry.safety_stock_delta, entry.note.as_str(), entry.cause_id.as_str()), (8, "version 3", ""));
    });
}

#[test]
fn an_older_policy_that_comes_late_changes_nothing() {
    test(async |world| {
        world.count("CHAIR", 10).await;
        apply(world, vec![pb::SkuPolicy { safety_stock: 2, ..policy("CHAIR", 5) }]).await;
        apply(world, vec![pb::SkuPolicy { safety_stock: 9, ..policy("CHAIR", 4) }]).await;
        assert_eq!(world.level("CHAIR").await.safety_stock, 2);
    });
}

#[test]
fn a_row_that_is_counted_for_the_first_time_has_its_policy_at_once() {
    test(async |world| {
        apply(world, vec![pb::SkuPolicy { safety_stock: 4, archived: true, ..policy("CHAIR", 1) }]).await;
        world.count("CHAIR", 10).await;
        let level = world.level("CHAIR").await;
        assert_eq!((level.safety_stock, level.archived, level.available), (4, true, 0));
    });
}

#[test]
fn rows_and_policies_made_at_the_same_time_end_up_agreeing() {
    test_with(Options { replicas: 2, ..Options::default() }, async |world| {
        for round in 0..15 {
            let sku = format!("SKU-{round}");
            let (mut one, mut two) = (world.stock(), world.stock_of(1));
            let counts = world.counts(vec![(&sku, WAREHOUSE, 10), (&sku, "second", 10)]);
            let said = pb::SkuPolicy { safety_stock: 3, ..policy(&sku, 1) };
            let request = pb::ApplyPoliciesRequest { policies: vec![said] };
            let (counted, governed) = tokio::join!(one.apply_counts(counts), two.apply_policies(request));
            counted.unwrap();
            governed.unwrap();
            assert_eq!(world.on_offer(&sku).await, 14, "{sku}: whichever came first");
        }
    });
}

#[test]
fn backorders_are_sold_before_anything_was_counted_at_the_first_location_only() {
    test(async |world| {
        let said = pb::SkuPolicy {
            backorder_limit: 5,
            locations: vec!["second".into(), WAREHOUSE.into()],
            ..policy("PREORDER", 1)
        };
        apply(world, vec![said]).await;
        let held = reserve(world, ask(&[("PREORDER", 5)])).await.unwrap();
        assert_eq!(held.lines[0].allocations[0].location, "second");
        assert_eq!(reason(world.reserve("PREORDER", 1).await), ErrorReason::InsufficientStock);
        world.count_at("PREORDER", "second", 3).await;
        assert_eq!(world.level("PREORDER").await.shortfall, 0, "there is still room in the backorder limit");
        assert_eq!(world.on_offer("PREORDER").await, 3);
    });
}

#[test]
fn the_preferred_location_sells_first_through_the_gate_and_past_it() {
    test(async |world| {
        for location in ["a", "b", "c"] {
            world.count_at("CHAIR", location, 10).await;
        }
        apply(world, vec![pb::SkuPolicy { locations: vec!["c".into(), "b".into()], ..policy("CHAIR", 1) }]).await;
        published_becomes(world, "CHAIR", 30).await;
        let place = |held: pb::Reservation| held.lines[0].allocations[0].location.clone();
        let mut places = Vec::new();
        for _ in 0..3 {
            places.push(place(reserve(world, ask(&[("CHAIR", 6)])).await.unwrap()));
        }
        assert_eq!(places, ["c", "b", "a"]);
    });
}

#[test]
fn the_preferred_location_sells_first_after_redis_has_forgotten_everything() {
    let settings = vec![("RECONCILER__PERIOD_MS", "3600000".to_owned()), ("AUDITOR__ENABLED", "false".to_owned())];
    test_with(Options { settings, ..Options::default() }, async |world| {
        for location in ["a", "b", "c"] {
            world.count_at("CHAIR", location, 10).await;
        }
        apply(world, vec![pb::SkuPolicy { locations: vec!["c".into(), "b".into()], ..policy("CHAIR", 1) }]).await;
        published_becomes(world, "CHAIR", 30).await;
        world.wipe_redis().await;
        let held = reserve(world, ask(&[("CHAIR", 6)])).await.unwrap();
        assert_eq!(held.lines[0].allocations[0].location, "c");
    });
}

#[test]
fn an_archived_sku_is_refused_as_such_and_its_holds_can_be_bought() {
    test(async |world| {
        world.count("CHAIR", 10).await;
        let held = world.hold("CHAIR", 2).await;
        apply(world, vec![pb::SkuPolicy { archived: true, ..policy("CHAIR", 1) }]).await;
        published_becomes(world, "CHAIR", 0).await;
        assert_eq!(reason(world.reserve("CHAIR", 1).await), ErrorReason::SkuArchived);
        let plain = ask(&[("CHAIR", 1)]);
        assert_eq!(reason(world.reservations().reserve(plain.clone()).await), ErrorReason::SkuArchived);
        // To a marked retry the no is final.
        let retried = pb::ReserveRequest { attempt: 2, ..ask(&[("CHAIR", 1)]) };
        assert_eq!(reason(world.reservations().reserve(retried.clone()).await), ErrorReason::SkuArchived);
        world.confirm(&held).await.unwrap();
        apply(world, vec![policy("CHAIR", 2)]).await;
        published_becomes(world, "CHAIR", 8).await;
        world.reservations().reserve(plain).await.expect("its key stayed free");
        assert_eq!(reason(world.reservations().reserve(retried).await), ErrorReason::InsufficientStock);
    });
}

#[test]
fn a_cart_beyond_the_limit_per_reservation_is_refused_and_its_neighbours_are_not() {
    test(async |world| {
        world.count("CHAIR", 100).await;
        apply(world, vec![pb::SkuPolicy { max_per_reservation: 3, ..policy("CHAIR", 1) }]).await;
        let client = world.reservations();
        let outcomes = all_at_once((0..20).map(|n| {
            let mut client = client.clone();
            async move { (n, client.reserve(ask(&[("CHAIR", 1 + n % 5)])).await.map(|_| ())) }
        }));
        for (n, outcome) in outcomes.await {
            match 1 + n % 5 {
                1..=3 => outcome.expect("within the limit"),
                _ => assert_eq!(reason(outcome), ErrorReason::LimitExceeded),
            }
        }
        assert_eq!(world.level("CHAIR").await.held, 4 * (1 + 2 + 3));
    });
}

#[test]
fn one_owner_gets_no_more_than_the_limit_however_many_carts_race() {
    test_with(Options { replicas: 2, ..Options::default() }, async |world| {
        world.count_at("DROP", "east", 50).await;
        world.count_at("DROP", "west", 50).await;
        apply(world, vec![pb::SkuPolicy { max_per_owner: 5, ..policy("DROP", 1) }]).await;
        let clients = [world.reservations_of(0), world.reservations_of(1)];
        let outcomes = all_at_once((0..40_usize).map(|n| {
            let mut client = clients[n % 2].clone();
            let owner = if n % 4 == 3 { "bert" } else { "anna" };
            let mut request = by(owner, &[("DROP", 1)]);
            // Named locations: the carts touch different rows.
            request.lines[0].location = if n % 3 == 0 { "east".into() } else { "west".into() };
            async move { (owner, client.reserve(request).await.map(|_| ())) }
        }));
        let mut granted = std::collections::BTreeMap::new();
        for (owner, outcome) in outcomes.await {
            match outcome {
                Ok(()) => *granted.entry(owner).or_insert(0) += 1,
                Err(status) => assert_eq!(reason(Err::<(), _>(status)), ErrorReason::LimitExceeded),
            }
        }
        assert_eq!(granted.into_iter().collect::<Vec<_>>(), [("anna", 5), ("bert", 5)]);
    });
}

#[test]
fn what_an_owner_gave_back_may_be_taken_again_and_what_was_bought_may_not() {
    test(async |world| {
        world.count("DROP", 50).await;
        apply(world, vec![pb::SkuPolicy { max_per_owner: 2, ..policy("DROP", 1) }]).await;
        let first = reserve(world, by("anna", &[("DROP", 2)])).await.unwrap();
        assert_eq!(reason(reserve(world, by("anna", &[("DROP", 1)])).await), ErrorReason::LimitExceeded);
        world.release(&first.reservation_id).await.unwrap();
        let second = reserve(world, by("anna", &[("DROP", 2)])).await.unwrap();
        world.confirm(&second.reservation_id).await.unwrap();
        assert_eq!(reason(reserve(world, by("anna", &[("DROP", 1)])).await), ErrorReason::LimitExceeded);
        world.reservations().fulfil(crate::world::fulfil(&second.reservation_id, vec![])).await.unwrap();
        assert_eq!(
            reason(reserve(world, by("anna", &[("DROP", 1)])).await),
            ErrorReason::LimitExceeded,
            "shipped or not"
        );
        let called_off = reserve(world, by("bert", &[("DROP", 2)])).await.unwrap();
        world.confirm(&called_off.reservation_id).await.unwrap();
        let cancel = crate::world::cancel(&called_off.reservation_id, vec![crate::world::portion("DROP", 1)]);
        world.reservations().cancel(cancel).await.unwrap();
        assert_eq!(reason(reserve(world, by("bert", &[("DROP", 2)])).await), ErrorReason::LimitExceeded);
        reserve(world, by("bert", &[("DROP", 1)])).await.unwrap();
    });
}

#[test]
fn a_hold_lasts_as_the_shortest_policy_of_its_cart_says() {
    test(async |world| {
        world.count("CHAIR", 10).await;
        world.count("TABLE", 10).await;
        let lasting = |sku: &str, time| pb::SkuPolicy { default_hold_duration: seconds(time), ..policy(sku, 1) };
        apply(world, vec![lasting("CHAIR", 60), lasting("TABLE", 30)]).await;
        let lasts = |held: pb::Reservation| {
            held.expire_time.unwrap().seconds * 1_000_000_000 + i64::from(held.expire_time.unwrap().nanos)
                - held.create_time.unwrap().seconds * 1_000_000_000
                - i64::from(held.create_time.unwrap().nanos)
        };
        assert_eq!(lasts(reserve(world, ask(&[("CHAIR", 1)])).await.unwrap()), 60_000_000_000);
        assert_eq!(lasts(reserve(world, ask(&[("CHAIR", 1), ("TABLE", 1)])).await.unwrap()), 30_000_000_000);
        let said = pb::ReserveRequest { hold_duration: seconds(90), ..ask(&[("TABLE", 1)]) };
        assert_eq!(lasts(reserve(world, said).await.unwrap()), 90_000_000_000);
        world.count("LAMP", 10).await;
        assert_eq!(lasts(reserve(world, ask(&[("LAMP", 1)])).await.unwrap()), 900_000_000_000);
    });
}

#[test]
fn a_policy_that_is_wrong_is_refused_with_its_fields_and_none_is_taken() {
    test(async |world| {
        world.count("CHAIR", 10).await;
        let good = pb::SkuPolicy { safety_stock: 1, ..policy("CHAIR", 1) };
        for (bad, field) in [
            (pb::SkuPolicy { safety_stock: -1, ..policy("TABLE", 1) }, "policies[1].safety_stock"),
            (pb::SkuPolicy { backorder_limit: 1, ..policy("TABLE", 1) }, "policies[1].locations"),
            (
                pb::SkuPolicy { locations: vec!["a".into(), "a".into()], ..policy("TABLE", 1) },
                "policies[1].locations[1]",
            ),
            (
                pb::SkuPolicy { default_hold_duration: seconds(-5), ..policy("TABLE", 1) },
                "policies[1].default_hold_duration",
            ),
            (policy("TABLE", 0), "policies[1].version"),
            (policy("CHAIR", 2), "policies[1].sku"),
            (policy("", 2), "policies[1].sku"),
        ] {
            let request = pb::ApplyPoliciesRequest { policies: vec![good.clone(), bad] };
            let status = world.stock().apply_policies(request).await.expect_err(field);
            assert_eq!(reason(Err::<(), _>(status.clone())), ErrorReason::InvalidField);
            assert!(format!("{status:?}").contains(field) || status.message().contains(field), "{field}: {status:?}");
        }
        assert_eq!(world.level("CHAIR").await.safety_stock, 0);
    });
}

#[test]
fn a_thousand_policies_at_once_are_taken() {
    test(async |world| {
        let policies = (0..1000).map(|n| pb::SkuPolicy { safety_stock: 1, ..policy(&format!("S{n}"), 1) }).collect();
        assert_eq!(apply(world, policies).await.applied, 1000);
        let pool = world.database.pool(1).await;
        let row = sqlx::query("SELECT count(*) FROM policy WHERE version = 1").fetch_one(&pool).await.unwrap();
        assert_eq!(row.get::<i64, _>(0), 1000);
        let more = (0..1001).map(|n| policy(&format!("S{n}"), 2)).collect();
        let refused = world.stock().apply_policies(pb::ApplyPoliciesRequest { policies: more }).await;
        assert_eq!(reason(refused), ErrorReason::InvalidField);
    });
}
