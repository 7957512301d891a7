//! What is published, read and reconciled.

use super::world::{
    MISSING, World, granted, id, is_granted, location, locations, publish, record, sku, take, touched, whole, world,
};
use holdfast_reservation::gate::{Drift, Found, Gate, Publish, Published, ReconcileReport};
use holdfast_stock::UnixMicros;

async fn read(gate: &Gate, text: &str) -> Option<Published> {
    gate.read(&[sku(text)]).await.unwrap().remove(0)
}

#[tokio::test]
async fn what_is_read_is_what_was_published() {
    let world = world().await;
    let gate = world.gate_with(|config| config.batch_skus_max = 2).await;
    gate.publish(vec![whole("A", &[("X", 5), ("Y", 0)]), whole("B", &[("X", -7)])]).await.unwrap();
    assert!(granted(&gate, 1, &[("A", 2)]).await);
    let skus = ["NEVER-SEEN", "A", "B", "ALSO-NEVER"].map(sku);
    let expected = [None, Some(record("A", &[("X", 5), ("Y", 0)])), Some(record("B", &[("X", 0)])), None];
    assert_eq!(
        gate.read(&skus).await.unwrap(),
        expected,
        "in the order asked, over several batches, takes not deducted"
    );
    assert_eq!(gate.read(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn a_commit_changes_the_locations_it_touched_and_no_others() {
    let world = world().await;
    let gate = world.gate().await;
    gate.publish(vec![whole("A", &[("X", 5), ("Y", 6)])]).await.unwrap();
    gate.publish(vec![touched("A", &[("Y", 1), ("NEW", 9)], &[])]).await.unwrap();
    assert_eq!(read(&gate, "A").await.unwrap().locations, locations(&[("X", 5), ("Y", 1), ("NEW", 9)]));
}

#[tokio::test]
async fn a_whole_publication_replaces_all_locations_but_no_takes() {
    let world = world().await;
    let gate = world.gate().await;
    gate.publish(vec![whole("A", &[("X", 5), ("GONE", 6)])]).await.unwrap();
    assert!(granted(&gate, 1, &[("A", 4)]).await);
    gate.publish(vec![whole("A", &[("X", 5)])]).await.unwrap();
    assert_eq!(read(&gate, "A").await.unwrap().locations, locations(&[("X", 5)]));
    assert!(!granted(&gate, 2, &[("A", 2)]).await);
    assert!(granted(&gate, 3, &[("A", 1)]).await);
}

#[tokio::test]
async fn a_sku_without_locations_is_unknown_again_and_takes_no_memory() {
    let world = world().await;
    let gate = world.gate().await;
    publish(&gate, "A", 5).await;
    gate.publish(vec![whole("A", &[])]).await.unwrap();
    assert_eq!(take(&gate, 1, &[("A", 1)]).await, MISSING);
    gate.reconcile(vec![record("B", &[])]).await.unwrap();
    assert_eq!(world.ask::<Vec<String>>("KEYS *").await, Vec::<String>::new());
}

#[tokio::test]
async fn an_older_reading_is_published_but_the_newest_time_stands() {
    let world = world().await;
    let gate = world.gate().await;
    let at = |micros, units| Publish { read_at: UnixMicros(micros), ..whole("A", &[("X", units)]) };
    let newest = 1_790_000_000_000_123;
    for (micros, units) in [(newest - 1, 1), (newest, 2), (newest - 2, 3)] {
        gate.publish(vec![at(micros, units)]).await.unwrap();
        let read = read(&gate, "A").await.unwrap();
        assert_eq!(read.locations, locations(&[("X", units)]));
        assert_eq!(read.at, UnixMicros(micros.max(newest - 1)).max(read.at));
    }
    assert_eq!(read(&gate, "A").await.unwrap().at, UnixMicros(newest));
}

#[tokio::test]
async fn the_reconciler_overwrites_everything_but_takes_and_reports_what_was_wrong() {
    let world = world().await;
    let gate = world.gate_with(|config| config.batch_skus_max = 2).await;
    gate.publish(vec![
        whole("RIGHT", &[("X", 5)]),
        whole("HIGH", &[("X", 9), ("GONE", 1)]),
        whole("LOW", &[("X", 1)]),
        whole("TAKEN", &[("X", 5)]),
    ])
    .await
    .unwrap();
    assert!(granted(&gate, 1, &[("RIGHT", 2), ("TAKEN", 3)]).await);
    world.ask::<i64>("HSET hf:a:{TAKEN} taken 5").await;
    world.ask::<i64>("HSET hf:a:{JUNK} l:X much at 1").await;

    let mut records = vec![record("NEW", &[("X", 5)]), record("JUNK", &[("X", 5)])];
    records.extend(["RIGHT", "HIGH", "LOW", "TAKEN"].map(|text| record(text, &[("X", 5)])));
    let report = gate.reconcile(records.clone()).await.unwrap();

    let drift = |text: &str, found, published, taken| Drift { sku: sku(text), found, published, recorded: 5, taken };
    let expected = ReconcileReport {
        unanswered: Vec::new(),
        checked: 6,
        missing: 1,
        drifts: vec![
            drift("JUNK", Found::Garbage, 0, 0),
            drift("HIGH", Found::Readable, 10, 0),
            drift("LOW", Found::Readable, 1, 0),
            drift("TAKEN", Found::Readable, 5, 2),
        ],
    };
    assert_eq!(report, expected);
    assert_eq!(report.drifts.iter().map(Drift::units).collect::<Vec<_>>(), [-5, 5, -4, 0]);
    for record in &records {
        assert_eq!(read(&gate, record.sku.as_str()).await.as_ref(), Some(record));
    }
    assert_eq!(gate.reconcile(records).await.unwrap(), ReconcileReport { checked: 6, ..ReconcileReport::default() });
    assert!(!granted(&gate, 2, &[("RIGHT", 4)]).await, "takes stand");
    assert!(granted(&gate, 3, &[("RIGHT", 3), ("TAKEN", 2)]).await);
}

#[tokio::test]
async fn the_reconciler_sets_a_time_from_the_future_right() {
    let world = world().await;
    let gate = world.gate().await;
    publish(&gate, "A", 5).await;
    world.ask::<i64>("HSET hf:a:{A} at 999999999999999999").await;
    gate.reconcile(vec![record("A", &[("WH", 5)])]).await.unwrap();
    assert_eq!(read(&gate, "A").await, Some(record("A", &[("WH", 5)])));
}

#[tokio::test]
async fn the_reconciler_drops_takes_that_no_clock_could_have_made() {
    let world = world().await;
    let gate = world.gate().await;
    publish(&gate, "A", 5).await;
    assert!(granted(&gate, 1, &[("A", 1)]).await);
    let [seconds, _]: [i64; 2] = world.ask("TIME").await;
    // As a clock leaves it that was an hour ahead.
    world.ask::<i64>(&format!("ZADD hf:t:{{A}} {} {:032x}:4", (seconds + 3_600) * 1_000, 2)).await;
    world.ask::<i64>("HINCRBY hf:a:{A} taken 4").await;
    assert!(!granted(&gate, 3, &[("A", 4)]).await);
    gate.reconcile(vec![record("A", &[("WH", 5)])]).await.unwrap();
    assert!(granted(&gate, 4, &[("A", 4)]).await);
    assert!(!granted(&gate, 5, &[("A", 1)]).await, "the honest take stands");
}

/// Ways to ruin a SKU, each a command of the administrator's.
const RUINS: [&str; 11] = [
    "SET hf:a:{A} junk",
    "RPUSH hf:a:{A} junk",
    "HSET hf:a:{A} l:X much",
    "HSET hf:a:{A} l:X -1",
    "HSET hf:a:{A} l:X nan",
    "HSET hf:a:{A} l:X 99999999999999999999999",
    "HSET hf:a:{A} l: 3",
    "HSET hf:a:{A} at soon",
    "HDEL hf:a:{A} at",
    "SET hf:t:{A} junk",
    "SADD hf:t:{A} junk",
];

async fn ruin(world: &World, gate: &Gate, command: &str) {
    gate.publish(vec![whole("A", &[("X", 5)])]).await.unwrap();
    if !command.starts_with('H') {
        // Another type needs the key for itself.
        let key = command.split(' ').nth(1).unwrap();
        world.ask::<i64>(&format!("DEL {key}")).await;
    }
    world.ask::<redis::Value>(command).await;
    assert_eq!(take(gate, 1, &[("A", 1)]).await, MISSING, "{command}: unknown, no error and no refusal");
}

#[tokio::test]
async fn a_ruined_sku_is_unknown_and_publishing_it_whole_heals_it() {
    let world = world().await;
    let gate = world.gate().await;
    for command in RUINS {
        ruin(&world, &gate, command).await;
        gate.publish(vec![whole("A", &[("X", 5)])]).await.unwrap();
        assert!(granted(&gate, 1, &[("A", 5)]).await, "{command}");
        gate.publish(vec![touched("A", &[], &[(1, 5)])]).await.unwrap();
    }
}

#[tokio::test]
async fn a_ruined_sku_is_unknown_and_reconciling_heals_it() {
    let world = world().await;
    let gate = world.gate().await;
    for command in RUINS {
        ruin(&world, &gate, command).await;
        gate.reconcile(vec![record("A", &[("X", 5)])]).await.unwrap();
        assert!(granted(&gate, 1, &[("A", 5)]).await, "{command}");
        gate.publish(vec![touched("A", &[], &[(1, 5)])]).await.unwrap();
    }
}

#[tokio::test]
async fn publishing_a_part_never_makes_a_ruined_sku_known() {
    let world = world().await;
    let gate = world.gate().await;
    for command in ["SET hf:a:{A} junk", "HSET hf:a:{A} at soon l:X 5"] {
        world.ask::<i64>("DEL hf:a:{A}").await;
        world.ask::<redis::Value>(command).await;
        gate.publish(vec![touched("A", &[("X", 5)], &[(1, 1)])]).await.unwrap();
        assert_eq!(take(&gate, 1, &[("A", 1)]).await, MISSING, "{command}");
        assert_eq!(read(&gate, "A").await, None);
    }
}

#[tokio::test]
async fn a_ruined_sku_does_not_stop_its_neighbours() {
    let world = world().await;
    let gate = world.gate().await;
    publish(&gate, "B", 5).await;
    world.ask::<()>("SET hf:a:{A} junk").await;
    world.ask::<()>("SET hf:t:{A} junk").await;
    let skus = [sku("A"), sku("B")];
    assert_eq!(gate.read(&skus).await.unwrap(), [None, Some(record("B", &[("WH", 5)]))]);
    gate.publish(vec![touched("A", &[("WH", 1)], &[(1, 1)]), touched("B", &[("WH", 4)], &[])]).await.unwrap();
    assert_eq!(gate.read(&skus).await.unwrap()[1], Some(record("B", &[("WH", 4)])));
    assert_eq!(take(&gate, 1, &[("A", 1), ("B", 1)]).await, MISSING);
    assert!(is_granted(&take(&gate, 2, &[("B", 4)]).await), "the cart that could not be judged took nothing");
}

#[tokio::test]
async fn stray_fields_and_members_are_passed_over() {
    let world = world().await;
    let gate = world.gate().await;
    publish(&gate, "A", 5).await;
    world.ask::<i64>("HSET hf:a:{A} stray 17").await;
    world.ask::<i64>("ZADD hf:t:{A} 1 lapsed-stray 9e15 stray 9e15 stray:x").await;
    assert!(granted(&gate, 1, &[("A", 5)]).await);
    assert_eq!(read(&gate, "A").await, Some(record("A", &[("WH", 5)])));
    gate.reconcile(vec![record("A", &[("WH", 6)])]).await.unwrap();
    assert!(granted(&gate, 2, &[("A", 1)]).await);
    assert_eq!(world.ask::<Option<i64>>("HGET hf:a:{A} stray").await, None);
}

#[tokio::test]
async fn longest_names_and_many_locations_fit() {
    let world = world().await;
    let gate = world.gate().await;
    let (long, names) = ("S".repeat(128), (0..200).map(|n| format!("{n:064}")).collect::<Vec<_>>());
    let units = names.iter().map(|name| (location(name), 1)).collect();
    gate.publish(vec![Publish { locations: units, ..whole(&long, &[]) }]).await.unwrap();
    assert!(granted(&gate, 1, &[(&long, 200)]).await);
    let read = gate.read(&[sku(&long)]).await.unwrap().remove(0).unwrap();
    assert_eq!(read.locations.len(), 200);
    gate.publish(vec![Publish { taken_back: vec![(id(1), 200)], ..touched(&long, &[], &[]) }]).await.unwrap();
}
