//! What reservation and vendor-sync are told, and when they do not listen.

use std::time::{Duration, Instant};

use holdfast_api::catalog::v1 as wire;
use holdfast_api::reservation::v1 as pb;
use holdfast_testkit::eventually;
use sqlx::Executor as _;

use crate::peer::{Mode, Peer, Told};
use crate::world::{World, offer, sku, spec};

const PATIENCE: Duration = Duration::from_secs(20);

/// A catalog that tells these two, and does not wait long.
async fn world(reservation: &Peer, vendor_sync: &Peer, keys: &[(&str, &str)]) -> World {
    let mut all = vec![
        ("RESERVATION__ENDPOINT", reservation.url.as_str()),
        ("VENDOR_SYNC__ENDPOINT", vendor_sync.url.as_str()),
        ("RELAY__PAUSE_MS_MIN", "20"),
        ("RELAY__PAUSE_MS_MAX", "100"),
        ("RELAY__CALL_TIMEOUT_MS", "500"),
        ("RELAY__LEASE_MS", "600"),
    ];
    all.extend(keys);
    let world = World::with(&all).await;
    world.vendor("v").await;
    world.location("l").await;
    world
}

async fn knows(peer: &Peer, sku: &wire::Sku, what: &str) {
    let found = || async { peer.knows(&sku.code).filter(|told| told.version == sku.version && told.what == what) };
    let told = eventually(&format!("{} is known with {what}", sku.code), PATIENCE, found).await;
    assert_eq!(told.archived, sku.archive_time.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_reaches_reservation_and_offers_reach_vendor_sync_soon_after_the_change() {
    let (reservation, vendor_sync) = (Peer::reservation().await, Peer::vendor_sync().await);
    let token = [("RESERVATION__TOKEN", "catalogs-own-token"), ("VENDOR_SYNC__TOKEN", "another-token")];
    let world = world(&reservation, &vendor_sync, &token).await;
    world.skus(&["A", "B"]).await;
    let began = Instant::now();
    let changed = world.keep_back("A", 3).await;
    knows(&reservation, &changed, "3").await;
    eprintln!("told after {:?}", began.elapsed());
    world.offers(vec![offer("a1", "A"), offer("a2", "A")]).await.unwrap();
    knows(&vendor_sync, &world.sku("A").await, "a1,a2").await;
    world.delete_offers(vec![offer("a1", ""), offer("a2", "")]).await;
    knows(&vendor_sync, &world.sku("A").await, "").await;
    let archived = world.archive("A").await;
    knows(&reservation, &archived, "3").await;
    knows(&vendor_sync, &archived, "").await;
    assert!(reservation.tokens().iter().all(|token| token == "Bearer catalogs-own-token"));
    assert!(vendor_sync.tokens().iter().all(|token| token == "Bearer another-token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn reservation_is_told_every_part_of_a_policy() {
    let (reservation, vendor_sync) = (Peer::reservation().await, Peer::vendor_sync().await);
    let world = world(&reservation, &vendor_sync, &[]).await;
    world.skus(&["PLAIN"]).await;
    let plain = world.keep_back("PLAIN", 1).await;
    knows(&reservation, &plain, "1").await;
    let unlimited = pb::SkuPolicy { sku: "PLAIN".into(), version: 2, safety_stock: 1, ..Default::default() };
    assert_eq!(reservation.knows("PLAIN").unwrap().policy, Some(unlimited), "what is not set is no limit");
    let policy = wire::SellingPolicy {
        safety_stock: 2,
        backorder_limit: 5,
        max_per_reservation: 10,
        max_per_owner: 20,
        default_hold_duration: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
        locations: vec!["l".into()],
        max_per_minute: 30,
        channel_caps: vec![wire::ChannelCap { channel: "web".into(), quantity: 0 }],
        promise_time: Some(prost_types::Timestamp { seconds: 1_900_000_000, nanos: 1 }),
        promise_lead_duration: None,
    };
    let full = world.create_sku(wire::Sku { policy: Some(policy.clone()), ..sku("FULL") }).await.unwrap();
    knows(&reservation, &full, "2").await;
    let told = pb::SkuPolicy {
        sku: "FULL".into(),
        version: 1,
        safety_stock: 2,
        backorder_limit: 5,
        max_per_reservation: 10,
        max_per_owner: 20,
        default_hold_duration: policy.default_hold_duration,
        locations: vec!["l".into()],
        archived: false,
        max_per_minute: 30,
        channel_caps: vec![pb::ChannelCap { channel: "web".into(), quantity: 0 }],
        promise_time: policy.promise_time,
        promise_lead_duration: None,
    };
    assert_eq!(reservation.knows("FULL").unwrap().policy, Some(told));
    let lead = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    let late = wire::SellingPolicy { safety_stock: 3, promise_lead_duration: lead, ..Default::default() };
    let late = world.update(wire::Sku { policy: Some(late), ..sku("FULL") }, &["policy"]).await.unwrap();
    knows(&reservation, &late, "3").await;
    let told = reservation.knows("FULL").unwrap().policy.unwrap();
    assert_eq!((told.promise_time, told.promise_lead_duration), (None, lead));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_what_is_not_his() {
    let (reservation, vendor_sync) = (Peer::reservation().await, Peer::vendor_sync().await);
    let world = world(&reservation, &vendor_sync, &[]).await;
    let rows: String = (0..5000).map(|row| format!("S{row},{row}\n")).collect();
    world.import(spec(), format!("sku,name\n{rows}")).await.unwrap();
    world.offers(vec![offer("1", "S1")]).await.unwrap();
    world.update(wire::Sku { name: "x".into(), ..sku("S1") }, &["name"]).await.unwrap();
    let last = world.keep_back("S2", 1).await;
    knows(&reservation, &last, "1").await;
    let told: Vec<Told> = reservation.told().into_iter().map(|told| Told { policy: None, ..told }).collect();
    assert_eq!(told, [Told { sku: "S2".into(), version: 2, archived: false, what: "1".into(), policy: None }]);
    let first = wire::Sku { version: 2, ..world.sku("S1").await };
    let named = world.sku("S1").await;
    assert_eq!((first.version, named.version), (2, 3));
    world.archive("S2").await;
    let archived = || async { vendor_sync.knows("S2") };
    eventually("vendor-sync knows that S2 is archived", PATIENCE, archived).await;
    let skus: Vec<String> = vendor_sync.told().into_iter().map(|told| told.sku).collect();
    assert_eq!(skus, ["S1", "S2"], "of S1 once: its name is not vendor-sync's");
    let back = world.keep_back("S2", 0).await;
    knows(&reservation, &back, "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_hears_in_the_end_of_everything_in_order() {
    for mode in [Mode::Away, Mode::Hang, Mode::TakeAndForget] {
        let (reservation, vendor_sync) = (Peer::reservation().await, Peer::vendor_sync().await);
        reservation.set(mode.clone());
        vendor_sync.set(mode.clone());
        let world = world(&reservation, &vendor_sync, &[("RELAY__BATCH_SKUS", "2")]).await;
        let codes = ["A", "B", "C", "D", "E"];
        world.skus(&codes).await;
        for turn in 1..=4 {
            for code in codes {
                world.keep_back(code, turn).await;
                world.offers(vec![offer(&format!("{code}{turn}"), code)]).await.unwrap();
            }
        }
        let called = || async { (reservation.calls() > 2 && vendor_sync.calls() > 2).then_some(()) };
        eventually("both were called more than once", PATIENCE, called).await;
        reservation.set(Mode::Take);
        vendor_sync.set(Mode::Take);
        for code in codes {
            let now = world.sku(code).await;
            let offers: Vec<String> = (1..=4).map(|turn| format!("{code}{turn}")).collect();
            let policy = || async { reservation.knows(code).filter(|told| told.what == "4") };
            eventually(&format!("{mode:?}: the last policy of {code}"), PATIENCE, policy).await;
            knows(&vendor_sync, &now, &offers.join(",")).await;
            for peer in [&reservation, &vendor_sync] {
                let versions: Vec<i64> =
                    peer.told().into_iter().filter(|told| told.sku == code).map(|told| told.version).collect();
                assert!(versions.is_sorted(), "{mode:?}: {code} in order: {versions:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sku_that_is_refused_holds_up_no_other_and_is_tried_again_when_it_changes() {
    let (reservation, vendor_sync) = (Peer::reservation().await, Peer::vendor_sync().await);
    reservation.set(Mode::Refuse("BAD"));
    let world = world(&reservation, &vendor_sync, &[]).await;
    let rows: String = (0..20).map(|row| format!("S{row:02},,1\n")).collect();
    let columns = wire::PolicyColumns { safety_stock: "safety".into(), ..Default::default() };
    let spec = wire::ImportSkusSpec { policy_columns: Some(columns), ..spec() };
    world.import(spec, format!("sku,name,safety\n{rows}BAD,,1\n")).await.unwrap();
    let parked = || async { (world.number("SELECT count(*) FROM parked WHERE sku = 'BAD'").await == 1).then_some(()) };
    eventually("BAD is parked", PATIENCE, parked).await;
    for row in 0..20 {
        knows(&reservation, &world.sku(&format!("S{row:02}")).await, "1").await;
    }
    assert!(reservation.knows("BAD").is_none());
    let next = world.keep_back("S00", 2).await;
    knows(&reservation, &next, "2").await;
    reservation.set(Mode::Take);
    let mended = world.keep_back("BAD", 2).await;
    knows(&reservation, &mended, "2").await;
    let free = || async { (world.number("SELECT count(*) FROM parked").await == 0).then_some(()) };
    eventually("nothing is parked any more", PATIENCE, free).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_begins_tells_all_that_there_is_also_what_was_taken_back() {
    let world = World::new().await;
    world.vendor("v").await;
    world.location("l").await;
    world.skus(&["PLAIN", "KEPT", "BACK", "GONE", "OFFERED", "LOST"]).await;
    world.keep_back("KEPT", 5).await;
    world.keep_back("BACK", 5).await;
    world.keep_back("BACK", 0).await;
    world.archive("GONE").await;
    world.offers(vec![offer("o", "OFFERED"), offer("x", "LOST")]).await.unwrap();
    world.delete_offers(vec![offer("x", "")]).await;
    // The changes themselves are not there any more; a cursor that is too old begins again, too.
    let store = world.store().await;
    let dropped = || async { (store.drop_changes(0, 1000).await.unwrap() == 0).then_some(()) };
    eventually("all changes are dropped", PATIENCE, dropped).await;
    let old = serde_json::json!({"log_id": uuid::Uuid::nil(), "seen": "1:1:", "at": "New"});
    let admin = world.database.admin_pool().await;
    sqlx::query("UPDATE relay SET cursor = $1 WHERE destination = 'reservation'")
        .bind(old)
        .execute(&admin)
        .await
        .unwrap();

    let (reservation, vendor_sync) = (Peer::reservation().await, Peer::vendor_sync().await);
    let replica = world
        .replica(&[
            ("RESERVATION__ENDPOINT", reservation.url.as_str()),
            ("VENDOR_SYNC__ENDPOINT", vendor_sync.url.as_str()),
            ("RELAY__BATCH_SKUS", "1"),
        ])
        .await;
    for (code, what) in [("KEPT", "5"), ("BACK", "0"), ("GONE", "0")] {
        knows(&reservation, &world.sku(code).await, what).await;
    }
    for (code, what) in [("OFFERED", "o"), ("LOST", "")] {
        knows(&vendor_sync, &world.sku(code).await, what).await;
    }
    let mut told: Vec<String> = reservation.told().into_iter().map(|told| told.sku).collect();
    told.sort();
    assert_eq!(told, ["BACK", "GONE", "KEPT"]);
    replica.shutdown.cancel();
    replica.served.await.unwrap().unwrap();
    let held = world.number("SELECT count(*) FROM relay WHERE holder IS NOT NULL").await;
    assert_eq!(held, 0, "who ends gives the lease back");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_replicas_one_tells_and_the_other_takes_over_when_it_is_gone() {
    let (reservation, vendor_sync) = (Peer::reservation().await, Peer::vendor_sync().await);
    let keys = [
        ("RESERVATION__ENDPOINT", reservation.url.as_str()),
        ("VENDOR_SYNC__ENDPOINT", vendor_sync.url.as_str()),
        ("RELAY__LEASE_MS", "600"),
        ("RELAY__CALL_TIMEOUT_MS", "500"),
    ];
    let mut world = World::with(&keys).await;
    world.skus(&["A"]).await;
    let first = world.keep_back("A", 1).await;
    knows(&reservation, &first, "1").await;
    let replica = world.replica(&keys).await;
    for turn in 2..=10 {
        let changed = world.keep_back("A", turn).await;
        knows(&reservation, &changed, &turn.to_string()).await;
    }
    let holders = world.number("SELECT count(DISTINCT holder) FROM relay WHERE destination = 'reservation'").await;
    assert_eq!(holders, 1);
    let versions: Vec<i64> = reservation.told().into_iter().map(|told| told.version).collect();
    assert!(versions.is_sorted_by(|one, other| one < other), "told once each: {versions:?}");
    world.shutdown.cancel();
    (&mut world.served).await.unwrap().unwrap();
    let admin = world.database.admin_pool().await;
    admin.execute("UPDATE sku SET policy = '{\"safety_stock\": 99}', version = version + 1").await.unwrap();
    let told = || async { reservation.knows("A").filter(|told| told.what == "99") };
    eventually("the other one tells what nobody rang for", PATIENCE, told).await;
    replica.shutdown.cancel();
    replica.served.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_keep_to_their_size() {
    let (reservation, vendor_sync) = (Peer::reservation().await, Peer::vendor_sync().await);
    let world =
        world(&reservation, &vendor_sync, &[("RELAY__BATCH_BYTES_MAX", "100"), ("RELAY__BATCH_SKUS", "50")]).await;
    let rows: String = (0..50).map(|row| format!("SKU-{row:02},,1\n")).collect();
    let columns = wire::PolicyColumns { safety_stock: "safety".into(), ..Default::default() };
    let spec = wire::ImportSkusSpec { policy_columns: Some(columns), ..spec() };
    world.import(spec, format!("sku,name,safety\n{rows}")).await.unwrap();
    let all = || async { (reservation.told().len() == 50).then_some(()) };
    eventually("all are told", PATIENCE, all).await;
    let sizes: Vec<usize> = reservation.messages().iter().map(Vec::len).collect();
    assert!(sizes.iter().all(|size| (1..=6).contains(size)), "{sizes:?}");
}
