//! What the purge of finished reservations keeps: whatever a count may still bring back, and whatever somebody is at work on.

use std::time::Duration;

use holdfast_api::reservation::v1 as pb;
use holdfast_reservation::store::{PurgeStep, Store};
use holdfast_testkit::eventually;

use super::{DAY, WAIT, age, aged, bought, number, purge, told, with_partitions_of_the_past};
use crate::world::{World, cancel, fulfil, now, test};

fn ago(seconds: i64) -> prost_types::Timestamp {
    let now = now();
    prost_types::Timestamp { seconds: now.seconds - seconds, ..now }
}

async fn count(world: &World, seconds: i64, units: i64, meaning: pb::CountMeaning) {
    let counts = world.counts(vec![("CHAIR", "main", units)]);
    let counts = pb::ApplyCountsRequest { as_of_time: Some(ago(seconds)), meaning: meaning.into(), ..counts };
    world.stock().apply_counts(counts).await.unwrap();
}

async fn a_step(store: &Store, rows_max: u16) -> (u64, u64) {
    let PurgeStep { seen, purged } =
        store.purge_reservations(Duration::from_secs(35 * DAY), rows_max).await.expect("the purge");
    (seen, purged)
}

#[test]
fn reflected_units_are_kept_while_a_count_of_the_shelf_may_bring_them_back() {
    test(async |world| {
        with_partitions_of_the_past(world).await;
        count(world, 600, 10, pb::CountMeaning::OnHand).await;
        let (shipped, off) = (bought(world, 3).await, bought(world, 3).await);
        world.sold_an_hour_ago().await;
        let mut client = world.reservations();
        for id in [&shipped, &off] {
            let booked = pb::RecordEvidenceRequest { event_time: Some(ago(500)), ..told(id, pb::EvidenceKind::Booked) };
            client.record_evidence(booked).await.unwrap();
        }
        count(world, 400, 4, pb::CountMeaning::Available).await;
        client.cancel(cancel(&off, vec![])).await.unwrap();
        client.fulfil(pb::FulfilRequest { ship_time: Some(ago(200)), ..fulfil(&shipped, vec![]) }).await.unwrap();
        assert_eq!(world.level("CHAIR").await.committed, 0);
        age(world, 60).await;
        let off = aged(&off, 60);

        // They left the shelf after the number that is without them; and the vendor has not taken the cancellation.
        let store = Store::new(world.database.pool(1).await);
        assert_eq!(purge(&store).await, (2, 0));
        count(world, 0, 4, pb::CountMeaning::Available).await;
        assert_eq!(purge(&store).await, (2, 1));
        client.record_evidence(told(&off, pb::EvidenceKind::CancellationTaken)).await.unwrap();
        assert_eq!(purge(&store).await, (1, 1));
    });
}

#[test]
fn what_a_count_brings_back_while_the_purge_waits_for_its_row_is_kept() {
    test(async |world| {
        let admin = with_partitions_of_the_past(world).await;
        world.count("CHAIR", 10).await;
        let id = bought(world, 2).await;
        world.reservations().fulfil(fulfil(&id, vec![])).await.unwrap();
        world.count("CHAIR", 8).await;
        age(world, 60).await;
        let mut other = admin.begin().await.unwrap();
        sqlx::query("SELECT FROM stock FOR UPDATE").execute(&mut *other).await.unwrap();
        sqlx::query("UPDATE progress SET reflected = 0").execute(&mut *other).await.unwrap();
        let store = Store::new(world.database.pool(1).await);
        let purged = tokio::spawn(async move { purge(&store).await });
        eventually("the purge waits for the row", WAIT, || async {
            let waiting =
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            (number(&admin, waiting).await > 0).then_some(())
        })
        .await;
        other.commit().await.unwrap();
        assert_eq!(purged.await.unwrap(), (1, 0));
        sqlx::query("UPDATE progress SET reflected = 2").execute(&admin).await.unwrap();
        assert_eq!(purge(&Store::new(world.database.pool(1).await)).await, (1, 1));
    });
}

#[test]
fn a_purge_goes_on_where_it_stopped_begins_anew_at_the_end_and_waits_for_nobody() {
    test(async |world| {
        let admin = with_partitions_of_the_past(world).await;
        world.count("CHAIR", 10).await;
        bought(world, 1).await;
        let released = world.hold("CHAIR", 1).await;
        world.release(&released).await.unwrap();
        age(world, 60).await;
        let store = Store::new(world.database.pool(1).await);
        let mut other = admin.begin().await.unwrap();
        sqlx::query("SELECT FROM reservation FOR UPDATE").execute(&mut *other).await.unwrap();
        let step = tokio::time::timeout(WAIT, a_step(&store, 500)).await.expect("nobody is waited for");
        assert_eq!(step, (2, 0), "somebody is at work on it");
        other.rollback().await.unwrap();
        assert_eq!(a_step(&store, 1).await, (1, 0), "a sale that counts");
        assert_eq!(a_step(&store, 1).await, (1, 1), "the one behind it");
        assert_eq!(a_step(&store, 1).await, (0, 0), "the end");
        assert_eq!(a_step(&store, 1).await, (1, 0), "the sale again");
    });
}

#[test]
fn keys_without_a_partition_are_purged_by_their_time_and_never_young() {
    test(async |world| {
        let admin = with_partitions_of_the_past(world).await;
        let stray = "INSERT INTO operation (request_id, payload_hash, answer, created_at)
                     SELECT ('ffffffff-ffff-7fff-bfff-' || lpad(days::text, 12, '0'))::uuid, '', '{}', now() - days * interval '1 day'
                     FROM unnest(ARRAY[3, 10, 60]) AS days";
        sqlx::query(stray).execute(&admin).await.unwrap();
        let purge = "SELECT purge_operations(clock_timestamp() - $1 * interval '1 day', 100)";
        for (days, purged) in [(35.0, 1), (-365.0, 1), (-365.0, 0)] {
            let gone: i64 =
                sqlx::query_scalar(purge).bind(days).fetch_one(&world.database.pool(1).await).await.unwrap();
            assert_eq!(gone, purged, "older than {days} days");
        }
        assert_eq!(number(&admin, "SELECT count(*) FROM operation").await, 1);
    });
}
