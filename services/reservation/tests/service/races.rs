//! Everything at once, over two replicas: the record must stay right, whoever wins.

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;
use rand::Rng as _;

use crate::world::{Options, all_at_once, ask, confirm, id_of, reason, release, seconds, test, test_with};

fn two_replicas() -> Options {
    Options { replicas: 2, ..Options::default() }
}

#[test]
fn carts_that_overlap_in_opposite_order_all_end_and_take_what_is_there() {
    test_with(two_replicas(), async |world| {
        for sku in ["A", "B", "C"] {
            world.count(sku, 60).await;
        }
        let carts: [&[(&str, i64)]; 4] = [
            &[("A", 1), ("B", 1), ("C", 1)],
            &[("C", 1), ("B", 1), ("A", 1)],
            &[("B", 1), ("A", 1)],
            &[("C", 1), ("A", 1)],
        ];
        let buyers = (0..160).map(|n| {
            let mut client = world.reservations_of(n);
            async move { client.reserve(ask(carts[n % carts.len()])).await.map(|_| n) }
        });
        let outcomes = all_at_once(buyers).await;
        let granted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        for refused in outcomes.into_iter().filter(Result::is_err) {
            assert_eq!(reason(refused), ErrorReason::InsufficientStock);
        }
        // Every cart takes an A, so exactly the 60 of them are sold.
        assert_eq!(granted, 60);
        assert_eq!(world.level("A").await.available, 0);
    });
}

#[test]
fn of_confirm_and_release_exactly_one_wins() {
    test_with(two_replicas(), async |world| {
        world.count("CHAIR", 100).await;
        for _ in 0..30 {
            let id = world.hold("CHAIR", 1).await;
            let (mut one, mut other) = (world.reservations_of(0), world.reservations_of(1));
            let (confirmed, released) = tokio::join!(one.confirm(confirm(&id)), other.release(release(&id)));
            match (confirmed, released) {
                (Ok(_), released) => assert_eq!(reason(released), ErrorReason::ReservationConfirmed),
                (confirmed, Ok(_)) => assert_eq!(reason(confirmed), ErrorReason::ReservationReleased),
                (confirmed, released) => panic!("nobody won: {confirmed:?} {released:?}"),
            }
        }
    });
}

#[test]
fn a_confirm_at_the_end_of_a_hold_wins_or_loses_but_never_half() {
    test_with(two_replicas(), async |world| {
        world.count("CHAIR", 40).await;
        let holds = (0..40).map(|n| {
            let mut client = world.reservations_of(n);
            async move {
                let request = pb::ReserveRequest { hold_duration: seconds(1), ..ask(&[("CHAIR", 1)]) };
                let asked = tokio::time::Instant::now();
                let held = client.reserve(request).await.unwrap().into_inner();
                // Aim at the last milliseconds, some before and some after.
                let aim = asked + std::time::Duration::from_millis(980 + u64::try_from(n).unwrap());
                tokio::time::sleep_until(aim).await;
                let id = id_of(&held);
                (id.clone(), client.confirm(confirm(&id)).await)
            }
        });
        let mut won = 0;
        for (id, confirmed) in all_at_once(holds).await {
            let state = world.get(&id).await.unwrap().state();
            match confirmed {
                Ok(_) => {
                    won += 1;
                    assert_eq!(state, pb::ReservationState::Confirmed);
                }
                Err(status) => {
                    assert_eq!(holdfast_kit::reason_of(&status), Some(ErrorReason::ReservationExpired));
                    assert_eq!(state, pb::ReservationState::Expired);
                }
            }
        }
        world
            .level_becomes("CHAIR", "the losers' units are free", |level| level.committed == won && level.held == 0)
            .await;
    });
}

#[test]
fn every_verb_at_once_on_few_skus_leaves_the_record_right() {
    let seed = holdfast_testkit::seed();
    test_with(two_replicas(), async |world| {
        for sku in ["A", "B", "C"] {
            world.count(sku, 30).await;
        }
        let callers = (0..24_u64).map(|caller| {
            let mut rng = seed.rng(caller);
            let replica = usize::try_from(caller).unwrap();
            let (mut client, mut stock) = (world.reservations_of(replica), world.stock());
            let counts: Vec<_> = (0..3).map(|_| world.counts(vec![("A", "main", 20), ("B", "main", 25)])).collect();
            async move {
                let mut counts = counts.into_iter();
                for _ in 0..25 {
                    let skus = ["A", "B", "C"];
                    let lines: Vec<_> = (0..rng.random_range(1..=3))
                        .map(|n| (skus[(n + rng.random_range(0..3)) % 3], rng.random_range(1..=3)))
                        .collect();
                    let request = pb::ReserveRequest {
                        hold_duration: seconds(rng.random_range(1..=3)),
                        attempt: rng.random_range(0..=2),
                        ..ask(&lines)
                    };
                    let Ok(held) = client.reserve(request.clone()).await else { continue };
                    let id = id_of(&held.into_inner());
                    match rng.random_range(0..6) {
                        0 | 1 => drop(client.confirm(confirm(&id)).await),
                        2 => drop(client.release(release(&id)).await),
                        3 => drop(client.reserve(request).await),
                        4 => {
                            let extend = pb::ExtendRequest {
                                request_id: crate::world::key(),
                                reservation_id: id,
                                hold_duration: seconds(2),
                            };
                            drop(client.extend(extend).await);
                        }
                        _ => {
                            if let Some(count) = counts.next() {
                                stock.apply_counts(count).await.unwrap();
                            }
                        }
                    }
                }
            }
        });
        all_at_once(callers).await;
        let findings = world.audit().await;
        assert_eq!(findings, [], "in the middle of the sweeper's work");
        for sku in ["A", "B", "C"] {
            world.level_becomes(sku, "all holds end", |level| level.held == 0).await;
        }
    });
}

#[test]
fn reservations_for_one_sku_share_commits() {
    test(async |world| {
        world.count("SALE", 6_400).await;
        let admin = world.database.admin_pool().await;
        let before = commits(&admin).await;
        let callers = (0..64).map(|_| {
            let mut client = world.reservations();
            async move {
                for _ in 0..100 {
                    client.reserve(ask(&[("SALE", 1)])).await.expect("there is one for everybody");
                }
            }
        });
        all_at_once(callers).await;
        let commits = commits(&admin).await - before;
        let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM reservation").fetch_one(&admin).await.unwrap();
        assert_eq!(stored, 6_400);
        assert!(commits <= 800, "{commits} commits for 6,400 reservations");
    });
}

/// Transactions committed in this database, from Postgres's own statistics; those of the last second may be missing, so it asks until they stand still.
async fn commits(admin: &sqlx::PgPool) -> i64 {
    let flush = "SELECT pg_stat_force_next_flush()";
    let read = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    sqlx::query(flush).execute(admin).await.unwrap();
    sqlx::query_scalar(read).fetch_one(admin).await.unwrap()
}
