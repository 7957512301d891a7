//! Holds that are over and that nobody has freed yet: whoever needs their units frees them, and nobody is told no for want of them, however busy they are.

use std::time::Duration;

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::{ErrorReason, reason_of};
use holdfast_testkit::eventually;
use sqlx::{PgPool, Postgres, Transaction};
use tonic::Status;

use crate::world::{Options, World, ask, confirm, id_of, key, published_becomes, seconds, test, test_with, within};

/// Longer than a busy machine takes for anything here.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nobody sweeps while a test lasts.
fn unswept() -> Options {
    let settings = [
        ("SWEEPER__PERIOD_MS", "3600000"),
        ("POSTGRES__LOCK_TIMEOUT_MS", "90000"),
        ("POSTGRES__STATEMENT_TIMEOUT_MS", "120000"),
    ];
    Options { settings: settings.map(|(key, value)| (key, value.to_owned())).into(), ..Options::default() }
}

async fn hold_of_a_second(world: &World, units: i64) -> String {
    let request = pb::ReserveRequest { hold_duration: seconds(1), ..ask(&[("CHAIR", units)]) };
    id_of(&world.reservations().reserve(request).await.unwrap().into_inner())
}

async fn is_over(world: &World, id: &str) {
    eventually("the hold is over", PATIENCE, || async {
        (world.get(id).await.unwrap().state() == pb::ReservationState::Expired).then_some(())
    })
    .await;
}

/// Somebody else who is at work on a reservation.
async fn whoever_has(pool: &PgPool, id: &str) -> Transaction<'static, Postgres> {
    let mut other = pool.begin().await.unwrap();
    let lock = "SELECT FROM reservation WHERE id = $1::uuid FOR UPDATE";
    sqlx::query(lock).bind(id).execute(&mut *other).await.unwrap();
    other
}

/// What the rows of stock say, those that are over included.
async fn held_by_the_row(world: &World) -> i64 {
    let query = "SELECT sum(held)::bigint FROM stock";
    sqlx::query_scalar(query).fetch_one(&world.database.admin_pool().await).await.unwrap()
}

fn best_effort(units: i64) -> pb::ReserveRequest {
    pb::ReserveRequest { mode: pb::ReserveMode::BestEffort.into(), ..ask(&[("CHAIR", units)]) }
}

#[test]
fn whoever_needs_the_units_of_a_hold_that_is_over_frees_them_himself() {
    test_with(unswept(), async |world| {
        world.count("CHAIR", 5).await;
        let old = hold_of_a_second(world, 2).await;
        is_over(world, &old).await;
        assert_eq!(held_by_the_row(world).await, 2, "nobody has freed it");
        // More than there is: what is over is freed and counted once.
        let best = world.reservations().reserve(within(best_effort(7), PATIENCE)).await.unwrap().into_inner();
        assert_eq!(best.reservation.unwrap().lines[0].quantity, 5);
        assert_eq!(held_by_the_row(world).await, 5);
    });
}

#[test]
fn a_hold_that_is_over_does_not_count_for_the_limit_of_its_owner() {
    test_with(unswept(), async |world| {
        world.count("CHAIR", 5).await;
        let policy = pb::SkuPolicy { sku: "CHAIR".into(), version: 1, max_per_owner: 2, ..Default::default() };
        world.stock().apply_policies(pb::ApplyPoliciesRequest { policies: vec![policy] }).await.unwrap();
        let old = hold_of_a_second(world, 2).await;
        is_over(world, &old).await;
        world.hold("CHAIR", 2).await;
    });
}

#[test]
fn a_busy_hold_that_is_over_keeps_nobody_waiting_who_does_not_need_its_units() {
    test_with(unswept(), async |world| {
        let pool = world.database.admin_pool().await;
        world.count("CHAIR", 5).await;
        let old = hold_of_a_second(world, 2).await;
        let other = whoever_has(&pool, &old).await;
        is_over(world, &old).await;
        let best = world.reservations().reserve(within(best_effort(3), PATIENCE)).await.unwrap().into_inner();
        assert_eq!(best.reservation.unwrap().lines[0].quantity, 3);
        assert_eq!(held_by_the_row(world).await, 5, "it is as it was");
        other.rollback().await.unwrap();
    });
}

/// Asks while somebody else is at work on a hold that is over, then once more under the same key when he has gone.
async fn asks_twice<T>(world: &World, old: &str, ask: impl AsyncFn(Duration) -> Result<T, Status>) -> T {
    let pool = world.database.admin_pool().await;
    let other = whoever_has(&pool, old).await;
    is_over(world, old).await;
    let Err(status) = ask(Duration::from_secs(2)).await else { panic!("it was sold what nobody had freed") };
    let no = [ErrorReason::InsufficientStock, ErrorReason::ReservationExpired];
    assert!(!reason_of(&status).is_some_and(|reason| no.contains(&reason)), "a definite no: {status:?}");
    other.rollback().await.unwrap();
    let answered = ask(PATIENCE).await.unwrap();
    assert_eq!(world.get(old).await.unwrap().state(), pb::ReservationState::Expired);
    answered
}

#[test]
fn a_cart_is_not_told_no_for_want_of_units_of_a_busy_hold_that_is_over() {
    test_with(unswept(), async |world| {
        world.count("CHAIR", 5).await;
        for request in [ask(&[("CHAIR", 4)]), best_effort(5)] {
            let old = hold_of_a_second(world, 3).await;
            let reserve = async |time| world.reservations().reserve(within(request.clone(), time)).await;
            let held = asks_twice(world, &old, reserve).await.into_inner().reservation.unwrap();
            assert_eq!(held.lines[0].quantity, request.lines[0].quantity);
            world.release(&held.reservation_id).await.unwrap();
        }
    });
}

#[test]
fn who_buys_anew_is_not_told_no_for_want_of_units_of_a_busy_hold_that_is_over() {
    test_with(unswept(), async |world| {
        world.count("CHAIR", 5).await;
        let missed = hold_of_a_second(world, 4).await;
        is_over(world, &missed).await;
        let old = hold_of_a_second(world, 3).await;
        let anew = pb::ConfirmRequest { reacquire_reservation_id: key(), ..confirm(&missed) };
        asks_twice(world, &old, async |time| world.reservations().confirm(within(anew.clone(), time)).await).await;
        let level = world.level("CHAIR").await;
        assert_eq!((level.held, level.committed), (0, 4));
    });
}

#[test]
fn units_of_a_hold_that_is_over_count_in_no_number_that_is_told() {
    test_with(unswept(), async |world| {
        for location in ["main", "east"] {
            world.count_at("CHAIR", location, 5).await;
        }
        let old = hold_of_a_second(world, 2).await;
        is_over(world, &old).await;
        assert_eq!(held_by_the_row(world).await, 2);
        let mut client = world.stock();
        let told = |levels: Vec<pb::StockLevel>| {
            let each = levels.into_iter().map(|level| (level.location, level.held, level.available));
            each.collect::<Vec<_>>()
        };
        let (main, east) = (("main".to_owned(), 0, 5), ("east".to_owned(), 0, 5));
        let one = client.get_stock(pb::GetStockRequest { sku: "CHAIR".into() }).await.unwrap();
        assert_eq!(told(one.into_inner().levels), [east.clone(), main.clone()]);
        for wanted in [&main, &east] {
            let skus = vec!["CHAIR".into()];
            let there = pb::BatchGetStockRequest { location: wanted.0.clone(), skus, ..Default::default() };
            let there = client.batch_get_stock(there).await.unwrap();
            assert_eq!(told(there.into_inner().levels), std::slice::from_ref(wanted));
        }
        let all = client.list_stock(pb::ListStockRequest::default()).await.unwrap();
        assert_eq!(told(all.into_inner().levels), [east, main]);
        assert_eq!(world.on_offer("CHAIR").await, 10);
        // The reconciler says so too, to whoever asks Redis alone.
        published_becomes(world, "CHAIR", 10).await;
    });
}

#[test]
fn a_sale_goes_on_counting_when_the_time_of_its_hold_is_over() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let sold = world.hold("CHAIR", 2).await;
        world.confirm(&sold).await.unwrap();
        let over = "UPDATE reservation SET expires_at = clock_timestamp() - interval '1 second'";
        sqlx::query(over).execute(&world.database.admin_pool().await).await.unwrap();
        assert_eq!(world.level("CHAIR").await.available, 3);
        assert_eq!(world.on_offer("CHAIR").await, 3);
    });
}
