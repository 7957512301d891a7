//! What is left of entries that are dropped: the opening of their row, and from when on the record is kept.

use std::time::Duration;

use holdfast_kit::ErrorReason;
use holdfast_reservation::store::{Store, Subject};
use sqlx::{PgPool, Row as _};

use super::{DAY, age, number, with_partitions_of_the_past};
use crate::world::{Options, World, ask, published_becomes, reason, test, test_with};

/// Entries of one row of stock in four partitions, the last of which was lost, so that its entry strayed.
const ENTRIES: [&str; 5] = [
    "INSERT INTO ledger (sku, location, version, at, cause, cause_id, on_hand, held, committed, safety, backorder, freshness, cap, archived, paused, actor)
     VALUES ('CHAIR', 'main', 1, now() - interval '530 days', 'COUNT', gen_random_uuid(), 100, 1, 2, 3, 4, 'LATE', 6, true, true, 'x')",
    "INSERT INTO ledger (sku, location, version, at, cause, cause_id, on_hand, held, committed, safety, backorder, unsellable, condition, freshness, cap, archived, paused, actor)
     VALUES ('CHAIR', 'main', 2, now() - interval '530 days', 'ADJUST', gen_random_uuid(), -10, 10, 20, 30, 40, 5, 'DAMAGED', 'STALE', 5, false, false, 'x')",
    "INSERT INTO ledger (sku, location, version, at, cause, cause_id, on_hand, held, committed, safety, backorder, unsellable, condition, freshness, cap, archived, paused, actor)
     VALUES ('CHAIR', 'main', 3, now() - interval '480 days', 'ADJUST', gen_random_uuid(), -1, 100, 200, 300, 400, 50, 'QUALITY_HOLD', 'FRESH', -1, true, true, 'x')",
    "INSERT INTO ledger (sku, location, version, at, cause, cause_id, held, committed, unsellable, condition, paused, actor)
     VALUES ('CHAIR', 'main', 4, now() - interval '300 days', 'ADJUST', gen_random_uuid(), -111, 1000, 500, 'REFURBISHED', true, 'x')",
    "INSERT INTO ledger (sku, location, version, at, cause, cause_id, on_hand, unsellable, condition, freshness, paused, actor)
     VALUES ('CHAIR', 'main', 5, now() - interval '200 days', 'ADJUST', gen_random_uuid(), 1000, 5000, 'DAMAGED', 'LATE', false, 'x')",
];

/// The partitions of the ledger that have something of the time from 220 to 180 days ago.
const LOST: &str = "
DO $$
DECLARE
    p record;
BEGIN
    FOR p IN DELETE FROM time_partition WHERE subject = 'ledger' AND from_at < now() - interval '180 days' AND to_at > now() - interval '220 days' RETURNING name LOOP
        EXECUTE format('DROP TABLE %I', p.name);
    END LOOP;
END
$$";

async fn forget(world: &World, days: u64) {
    let store = Store::new(world.database.pool(1).await);
    while store.drop_partition(Subject::Ledger, Duration::from_secs(days * DAY)).await.unwrap().is_some() {}
}

/// The opening: how many entries and the newest, the numbers, the unsellable units by condition, and the last turns.
async fn opening(admin: &PgPool) -> (Vec<i64>, Vec<Option<String>>) {
    let query =
        "SELECT entries, version, on_hand, held, committed, safety, backorder, damaged, quality_hold, refurbished,
                        freshness, cap::text, archived::text, paused::text FROM ledger_opening";
    let row = sqlx::query(query).fetch_one(admin).await.unwrap();
    ((0..10).map(|column| row.get(column)).collect(), (10..14).map(|column| row.get(column)).collect())
}

fn turns(freshness: &str, cap: &str, archived: &str, paused: &str) -> Vec<Option<String>> {
    [freshness, cap, archived, paused].map(|turn| Some(turn.to_owned())).into()
}

#[test]
fn an_opening_is_the_sum_and_the_last_state_of_all_that_was_dropped_and_of_nothing_that_was_not() {
    test(async |world| {
        let admin = with_partitions_of_the_past(world).await;
        sqlx::raw_sql(LOST).execute(&admin).await.unwrap();
        for entry in ENTRIES {
            sqlx::query(entry).execute(&admin).await.unwrap();
        }
        assert_eq!(number(&admin, "SELECT count(*) FROM ledger_default").await, 1, "one has strayed");
        let last = number(&admin, "SELECT max(xid)::text::bigint FROM ledger").await;
        let kept = "SELECT count(*) FROM ledger";
        let kept_days = "SELECT extract(day FROM now() - kept_from)::bigint FROM retention WHERE subject = 'ledger'";

        forget(world, 500).await;
        assert_eq!(number(&admin, kept).await, 3);
        let numbers = vec![2, 2, 90, 11, 22, 33, 44, 5, 0, 0];
        assert_eq!(opening(&admin).await, (numbers, turns("STALE", "5", "false", "false")));
        forget(world, 400).await;
        assert_eq!(number(&admin, kept).await, 2);
        let numbers = vec![3, 3, 89, 111, 222, 333, 444, 5, 50, 0];
        assert_eq!(opening(&admin).await, (numbers, turns("FRESH", "-1", "true", "true")));
        let days = number(&admin, kept_days).await;
        assert!((400..430).contains(&days), "kept from {days} days ago");
        assert!(number(&admin, "SELECT dropped_xid::text::bigint FROM record_incarnation").await < last);

        forget(world, 100).await;
        assert_eq!(number(&admin, kept).await, 0, "what strayed is over by the same date");
        let numbers = vec![5, 5, 1089, 0, 1222, 333, 444, 5005, 50, 500];
        assert_eq!(opening(&admin).await, (numbers, turns("LATE", "-1", "true", "false")));
        assert_eq!(number(&admin, "SELECT dropped_xid::text::bigint FROM record_incarnation").await, last);
        sqlx::query("DELETE FROM ledger_opening").execute(&admin).await.unwrap();
    });
}

#[test]
fn a_cart_that_is_short_is_refused_also_where_its_rows_last_entry_is_in_a_partition_of_the_past() {
    // Entries of one version in two partitions are no violation of a key: that the row is short must be seen before.
    let settings = [("RECONCILER__PERIOD_MS", "3600000"), ("AUDITOR__ENABLED", "false")];
    let settings = settings.map(|(key, value)| (key, value.to_owned())).into();
    test_with(Options { settings, ..Options::default() }, async |world| {
        with_partitions_of_the_past(world).await;
        world.count("CHAIR", 3).await;
        world.count("LAMP", 9).await;
        for (sku, units) in [("CHAIR", 3), ("LAMP", 9)] {
            published_becomes(world, sku, units).await;
        }
        age(world, 60).await;
        world.spoil("CHAIR", 999).await;
        let cart = world.reservations().reserve(ask(&[("CHAIR", 4), ("LAMP", 1)])).await;
        assert_eq!(reason(cart), ErrorReason::InsufficientStock);
        assert_eq!(world.on_offer("LAMP").await, 9);
        world.hold("CHAIR", 3).await;
    });
}
