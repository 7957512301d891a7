//! A queue that fills refuses new holds before it refuses what ends a promise.

use std::time::Duration;

use holdfast_kit::ErrorReason;

use crate::world::{Options, ask, confirm, published_becomes, test_with, within};

#[test]
fn a_queue_that_is_full_for_reserves_still_takes_confirms() {
    let settings = vec![
        ("COMMITTER__QUEUE_MAX", "40".to_owned()),
        ("COMMITTER__BATCH_OPERATIONS_MAX", "1".to_owned()),
        ("LIMITER__REQUESTS_MAX", "36".to_owned()),
        ("LIMITER__REQUESTS_PER_SKU_MAX", "36".to_owned()),
        ("POSTGRES__LOCK_TIMEOUT_MS", "20000".to_owned()),
        ("POSTGRES__STATEMENT_TIMEOUT_MS", "30000".to_owned()),
    ];
    test_with(Options { settings, ..Options::default() }, async |world| {
        world.count("CHAIR", 100).await;
        let ids = [world.hold("CHAIR", 1).await, world.hold("CHAIR", 1).await];
        published_becomes(world, "CHAIR", 98).await;
        // Somebody has the row: whatever comes waits behind it.
        let pool = world.database.admin_pool().await;
        let mut blocker = pool.begin().await.unwrap();
        sqlx::query("SELECT 1 FROM stock WHERE sku = 'CHAIR' FOR UPDATE").execute(&mut *blocker).await.unwrap();
        let mut reserves = tokio::task::JoinSet::new();
        for _ in 0..60 {
            let mut client = world.reservations();
            let request = within(ask(&[("CHAIR", 1)]), Duration::from_secs(60));
            reserves.spawn(async move { client.reserve(request).await });
        }
        // Those that found no place are told so while the others wait.
        let shed = reserves.join_next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(holdfast_kit::reason_of(&shed), Some(ErrorReason::Overloaded));
        let mut confirms = tokio::task::JoinSet::new();
        for id in ids {
            let mut client = world.reservations();
            let request = within(confirm(&id), Duration::from_secs(60));
            confirms.spawn(async move { client.confirm(request).await });
        }
        let answered = tokio::time::timeout(Duration::from_millis(500), confirms.join_next()).await;
        assert!(answered.is_err(), "a Confirm found no place: {answered:?}");
        blocker.rollback().await.unwrap();
        while let Some(confirmed) = confirms.join_next().await {
            confirmed.unwrap().unwrap();
        }
        let mut held = 0;
        while let Some(outcome) = reserves.join_next().await {
            match outcome.unwrap() {
                Ok(_) => held += 1,
                Err(status) => assert_eq!(holdfast_kit::reason_of(&status), Some(ErrorReason::Overloaded)),
            }
        }
        assert!(held >= 10, "{held} of those that had a place were held");
        let level = world.level("CHAIR").await;
        assert_eq!((level.committed, level.held), (2, held));
    });
}
