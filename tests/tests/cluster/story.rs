//! What Holdfast is for, over the three services: a number that is wrong never reaches a buyer, whatever is killed on the way.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use holdfast_api::reservation::v1 as pb;
use holdfast_client::api::catalog::v1::{SellingPolicy, Sku};
use holdfast_client::api::vendorsync::v1::{
    HouseAdjustment, HouseCondition, HouseCount, HouseReason, ListQuarantinedRowsRequest, QuarantineState,
    QuarantinedRow, RowOutcome, Run, RunState, SubmitCountsRequest,
};
use holdfast_client::{Decision, Error, Line, RequestKey, ReservationKey, Reserve, SkuEvent};
use holdfast_testkit::{eventually, seed};
use rand::Rng as _;

use crate::shop::{FEED, file_of, open, sku, spec};
use crate::world::{Cluster, Options, scenario};

const WAIT: Duration = Duration::from_secs(60);

fn decision(reason: &str) -> Decision {
    Decision { actor: "ann".to_owned(), reason: reason.to_owned() }
}

/// What can be reserved, by the record.
async fn on_offer(cluster: &Cluster, number: usize) -> i64 {
    let read = cluster.stock().batch_get_availability(vec![sku(number)], pb::ReadSource::Record).await;
    read.expect("availability").results[0].available
}

/// The moment at which something is killed: any will do.
async fn moment(from_now: Duration) {
    tokio::time::sleep_until(tokio::time::Instant::now() + from_now).await;
}

async fn waiting(cluster: &Cluster) -> Vec<QuarantinedRow> {
    let request = ListQuarantinedRowsRequest::default();
    cluster.quarantine().list_quarantined_rows(request).await.expect("the quarantine").rows
}

/// The state and outcome of a quarantined row, once it is decided and applied.
async fn settled(cluster: &Cluster, id: &str) -> QuarantinedRow {
    eventually("the decision is carried out", WAIT, || async {
        let row = cluster.quarantine().get_quarantined_row(id).await.ok()?.row?;
        (row.state() != QuarantineState::Pending && row.outcome() != RowOutcome::Pending).then_some(row)
    })
    .await
}

/// 300 SKUs of which the vendor has 150 each.
async fn stocked(cluster: &Cluster) -> Run {
    open(cluster, 300).await;
    let run = cluster.upload(spec(), file_of((0..300).map(|number| (number, "150".to_owned())))).await;
    assert_eq!(run.state(), RunState::Applied, "{run:?}");
    run
}

fn with(number: usize, quantity: &str) -> Bytes {
    file_of((0..300).map(|other| (other, if other == number { quantity } else { "150" }.to_owned())))
}

#[test]
fn a_999_where_there_were_150_waits_for_a_person_and_its_neighbours_do_not() {
    scenario(Options::whole(), async |cluster| {
        stocked(cluster).await;
        let rows = (0..300).map(|number| (number, if number == 7 { "999".to_owned() } else { "151".to_owned() }));
        let run = cluster.upload(spec(), file_of(rows)).await;
        let totals = run.totals.expect("totals");
        assert_eq!((run.state(), totals.quarantined, totals.applied), (RunState::Applied, 1, 299), "{run:?}");
        assert_eq!((on_offer(cluster, 7).await, on_offer(cluster, 8).await), (150, 151));

        let [row] = waiting(cluster).await.try_into().expect("one row");
        assert_eq!((row.old_quantity, row.new_quantity, row.exposure), (Some(150), Some(999), 849));
        assert_eq!((row.sku.as_str(), row.connection.as_str(), row.run_id.as_str()), (&*sku(7), FEED, &*run.run_id));
        assert!(row.rules.iter().any(|rule| rule == "R2" || rule == "R4"), "{row:?}");
        let buyer = Reserve::new(ReservationKey::new(), "cart", [Line::anywhere(sku(7), 151)]);
        assert!(matches!(cluster.reservations().reserve(&buyer).await, Err(Error::Insufficient { .. })));

        // Without a reason nothing is decided; with one it is, once, by whoever comes first.
        let quarantine = cluster.quarantine();
        let silent =
            quarantine.approve_quarantined_row(RequestKey::new(), &row.quarantine_id, &decision(""), None).await;
        assert!(matches!(silent, Err(Error::Invalid { .. })), "{silent:?}");
        let key = RequestKey::new();
        for _ in 0..2 {
            quarantine
                .approve_quarantined_row(key, &row.quarantine_id, &decision("a pallet came"), None)
                .await
                .expect("yes");
        }
        let decided = settled(cluster, &row.quarantine_id).await;
        assert_eq!((decided.state(), decided.outcome()), (QuarantineState::Approved, RowOutcome::Applied));
        assert_eq!((decided.decided_by.as_str(), decided.decision_reason.as_str()), ("ann", "a pallet came"));
        assert_eq!(on_offer(cluster, 7).await, 999);
        let late = quarantine.reject_quarantined_row(RequestKey::new(), &row.quarantine_id, &decision("no")).await;
        assert!(matches!(late, Err(Error::AlreadyDecided { .. })), "{late:?}");
        let counts = cluster.ledger(&sku(7)).await.iter().filter(|entry| entry.on_hand_delta != 0).count();
        assert_eq!(counts, 2, "150, then 999, and nothing in between or after");
    });
}

#[test]
fn an_approval_is_carried_out_once_though_vendor_sync_and_reservation_are_killed() {
    let seed = seed();
    scenario(Options::whole().set("vendor-sync:runs.lease_ms", 1000), async |cluster| {
        eprintln!("to repeat: HOLDFAST_TEST_SEED={}", seed.value());
        let mut random = seed.rng(0);
        stocked(cluster).await;
        let rows = (0..300).map(|number| (number, if number < 8 { "999".to_owned() } else { "150".to_owned() }));
        cluster.upload(spec(), file_of(rows)).await;
        let rows = waiting(cluster).await;
        assert_eq!(rows.len(), 8);
        for (index, row) in rows.iter().enumerate() {
            let (client, id) = (cluster.quarantine(), row.quarantine_id.clone());
            let key = RequestKey::new();
            let asked = tokio::spawn(async move {
                client.approve_quarantined_row(key, &id, &decision("counted again"), None).await
            });
            moment(Duration::from_millis(random.random_range(0..40))).await;
            let victim = match index % 2 {
                0 => cluster.vendor_sync.as_mut().expect("a whole cluster"),
                _ => &mut cluster.reservation[0],
            };
            victim.kill().await.expect("it is killed");
            victim.start_again().await.expect("it starts again");
            asked.await.expect("no panic").expect("the client sends it again with the same key");
        }
        for row in rows {
            let decided = settled(cluster, &row.quarantine_id).await;
            assert_eq!(decided.outcome(), RowOutcome::Applied);
            let counts = cluster.ledger(&row.sku).await.iter().filter(|entry| entry.on_hand_delta != 0).count();
            assert_eq!(counts, 2, "{} was counted twice in all", row.sku);
        }
    });
}

#[test]
fn a_number_typed_by_the_shop_meets_the_same_guards_as_a_vendors() {
    scenario(Options::whole(), async |cluster| {
        stocked(cluster).await;
        let house = cluster.house();
        let typed = SubmitCountsRequest {
            location: "berlin".to_owned(),
            counts: vec![count(1, 999), count(2, 160), seen(count(5, 140), 150), seen(count(6, 140), 149)],
            actor: "bert".to_owned(),
            note: "monthly count".to_owned(),
            ..Default::default()
        };
        let key = RequestKey::new();
        let first = house.submit_counts(key, typed.clone()).await.expect("a run");
        let outcomes: Vec<_> = first.rows.iter().map(|row| row.outcome()).collect();
        use RowOutcome::{Applied, Conflict, Quarantined};
        assert_eq!(outcomes, [Quarantined, Applied, Applied, Conflict], "{first:?}");
        assert_eq!((on_offer(cluster, 1).await, on_offer(cluster, 2).await), (150, 160));
        assert_eq!((on_offer(cluster, 5).await, on_offer(cluster, 6).await), (140, 150), "149 was not on hand");
        let again = house.submit_counts(key, typed).await.expect("a replay");
        assert!(again.replayed && again.run.expect("a run").run_id == first.run.expect("a run").run_id);

        let adjust = |number, delta, condition: HouseCondition, reason: HouseReason| {
            vec![HouseAdjustment {
                sku: sku(number),
                location: "berlin".to_owned(),
                condition: condition.into(),
                delta,
                reason: reason.into(),
            }]
        };
        let slip = adjust(3, 1500, HouseCondition::Sellable, HouseReason::Received);
        let slipped =
            house.submit_adjustments(RequestKey::new(), slip, "bert", "delivery note 4711").await.expect("taken");
        let stopped = slipped.quarantined.expect("1,500 more where there are 150 waits for a person");
        assert_eq!(on_offer(cluster, 3).await, 150);
        cluster
            .quarantine()
            .reject_quarantined_row(RequestKey::new(), &stopped.quarantine_id, &decision("it was 15"))
            .await
            .expect("no");
        let right = adjust(3, 15, HouseCondition::Sellable, HouseReason::Received);
        let key = RequestKey::new();
        for _ in 0..2 {
            let taken =
                house.submit_adjustments(key, right.clone(), "bert", "delivery note 4711").await.expect("taken");
            assert!(taken.quarantined.is_none());
        }
        assert_eq!(on_offer(cluster, 3).await, 165);

        let returns = adjust(4, 3, HouseCondition::Damaged, HouseReason::Returned);
        house.submit_adjustments(RequestKey::new(), returns, "bert", "three dented chairs").await.expect("taken");
        assert_eq!(on_offer(cluster, 4).await, 150, "what is damaged is not sold");
        let level = cluster.stock().get_stock(&sku(4)).await.expect("stock").levels.remove(0);
        assert_eq!((level.on_hand, level.unsellable[0].quantity), (150, 3));
        // Nobody gets past the guards: reservation takes numbers from vendor-sync alone.
        assert_eq!(cluster.number("SELECT count(*) FROM ledger WHERE actor = 'bert'").await, 2);
    });
}

fn count(number: usize, quantity: i64) -> HouseCount {
    HouseCount { sku: sku(number), quantity, expected_quantity: None, overwrite: true }
}

/// A count of somebody who saw so many on hand before.
fn seen(count: HouseCount, expected: i64) -> HouseCount {
    HouseCount { expected_quantity: Some(expected), overwrite: false, ..count }
}

#[test]
fn a_file_cut_off_or_full_of_zeros_changes_nothing_until_a_person_or_a_good_file_decides() {
    scenario(Options::whole(), async |cluster| {
        stocked(cluster).await;
        let whole = with(0, "150");
        let cut = whole.slice(..whole.len() / 2);
        let cut = cut.slice(..cut.iter().rposition(|byte| *byte == b'\n').expect("lines") + 1);
        let held = cluster.upload(spec(), cut).await;
        assert_eq!(held.state(), RunState::Held, "{held:?}");
        assert!(!held.reason.is_empty());
        let zeros = file_of((0..300).map(|number| (number, "0".to_owned())));
        let empty = cluster.upload(spec(), zeros).await;
        assert_eq!(empty.state(), RunState::Held, "{empty:?}");
        assert_eq!((on_offer(cluster, 1).await, on_offer(cluster, 299).await), (150, 150));

        let runs = cluster.vendor_sync();
        let rejected = runs.reject_run(RequestKey::new(), &empty.run_id, &decision("their export broke")).await;
        assert_eq!(rejected.expect("no").run.expect("a run").state(), RunState::Rejected);
        let good = cluster.upload(spec(), with(5, "140")).await;
        assert_eq!(good.state(), RunState::Applied, "{good:?}");
        assert_eq!((on_offer(cluster, 5).await, on_offer(cluster, 299).await), (140, 150));
        let superseded = runs.get_run(&held.run_id).await.expect("the run").run.expect("a run");
        assert_eq!(superseded.state(), RunState::Superseded, "a good newer file took its place");
        let late = runs.approve_run(RequestKey::new(), &held.run_id, &decision("really")).await;
        assert!(matches!(late, Err(Error::AlreadyDecided { .. })), "{late:?}");
    });
}

#[test]
fn a_file_sent_twice_is_one_run_and_an_older_one_is_stale() {
    scenario(Options::whole(), async |cluster| {
        let first = stocked(cluster).await;
        let old = spec();
        let new = cluster.upload(spec(), with(5, "140")).await;
        let before = cluster.number("SELECT count(*) FROM ledger").await;
        let stale = cluster.upload(old, with(5, "149")).await;
        assert_eq!(stale.totals.expect("totals").stale, 300, "{stale:?}");
        let mut again = spec();
        (again.as_of_time, again.file_name) = (new.as_of_time, "the same under another name.csv".to_owned());
        let twice = cluster.upload(again, with(5, "140")).await;
        assert_eq!(twice.run_id, new.run_id);
        assert_ne!(first.run_id, new.run_id);
        assert_eq!(cluster.number("SELECT count(*) FROM ledger").await, before);
        assert_eq!(on_offer(cluster, 5).await, 140);
    });
}

#[test]
fn stock_of_a_vendor_who_has_gone_silent_is_not_sold_though_vendor_sync_is_dead() {
    scenario(Options::whole(), async |cluster| {
        open(cluster, 300).await;
        let mut connection = cluster.vendor_sync().get_connection(FEED).await.expect("it").connection.expect("it");
        connection.cadence = Some(prost_types::Duration { seconds: 60, nanos: 0 });
        let changed = cluster.vendor_sync().update_connection(RequestKey::new(), connection, &["cadence"]).await;
        changed.expect("a cadence");
        // Four minutes are over in a few seconds: what was counted is that old.
        let counted = SystemTime::now() - Duration::from_secs(230);
        let spec = holdfast_client::api::vendorsync::v1::UploadFeedSpec { as_of_time: Some(counted.into()), ..spec() };
        let run = cluster.upload(spec, with(0, "150")).await;
        assert_eq!(run.state(), RunState::Applied, "{run:?}");
        cluster.vendor_sync.as_mut().expect("a whole cluster").kill().await.expect("it is killed");
        eventually("nothing is offered", WAIT, || async { (on_offer(cluster, 7).await == 0).then_some(()) }).await;
        let buyer = Reserve::new(ReservationKey::new(), "cart", [Line::anywhere(sku(7), 1)]);
        assert!(matches!(cluster.reservations().reserve(&buyer).await, Err(Error::Insufficient { .. })));
        let vendor_sync = cluster.vendor_sync.as_mut().expect("a whole cluster");
        vendor_sync.start_again().await.expect("it starts again");
        cluster.upload(crate::shop::spec(), with(0, "150")).await;
        eventually("all is offered again", WAIT, || async { (on_offer(cluster, 7).await == 150).then_some(()) }).await;
    });
}

#[test]
fn a_policy_reaches_the_buyers_whatever_dies_on_its_way() {
    let seed = seed();
    scenario(Options::whole(), async |cluster| {
        eprintln!("to repeat: HOLDFAST_TEST_SEED={}", seed.value());
        let mut random = seed.rng(0);
        stocked(cluster).await;
        for round in 1..=6_i64 {
            let number = usize::try_from(round).expect("small");
            let policy = SellingPolicy { safety_stock: round, max_per_reservation: 10, ..Default::default() };
            let changed = Sku { code: sku(number), policy: Some(policy), ..Default::default() };
            let updated = cluster.catalog().update_sku(RequestKey::new(), changed, &["policy"], false).await;
            updated.expect("a policy");
            moment(Duration::from_millis(random.random_range(0..250))).await;
            let victim = match round % 3 {
                0 => cluster.catalog.as_mut(),
                1 => cluster.reservation.first_mut(),
                _ => cluster.vendor_sync.as_mut(),
            };
            let victim = victim.expect("a whole cluster");
            victim.kill().await.expect("it is killed");
            victim.start_again().await.expect("it starts again");
            let what = format!("{} is kept back", sku(number));
            eventually(&what, WAIT, || async { (on_offer(cluster, number).await == 150 - round).then_some(()) }).await;
        }
        let greedy = Reserve::new(ReservationKey::new(), "cart", [Line::anywhere(sku(1), 11)]);
        let refused = cluster.reservations().reserve(&greedy).await;
        assert!(matches!(refused, Err(Error::LimitExceeded { .. })), "{refused:?}");
        cluster.catalog().archive_sku(RequestKey::new(), &sku(1), "").await.expect("archived");
        eventually("it is not offered", WAIT, || async { (on_offer(cluster, 1).await == 0).then_some(()) }).await;
        let late = Reserve::new(ReservationKey::new(), "cart", [Line::anywhere(sku(1), 1)]);
        let refused = cluster.reservations().reserve(&late).await;
        assert!(matches!(refused, Err(Error::Archived { .. })), "{refused:?}");
    });
}

#[test]
fn a_changed_offer_is_used_by_the_next_file() {
    scenario(Options::whole(), async |cluster| {
        stocked(cluster).await;
        let catalog = cluster.catalog();
        let pack = |pack_size, sku| holdfast_client::api::catalog::v1::Offer {
            vendor: "acme".to_owned(),
            vendor_sku: "A-9".to_owned(),
            location: "berlin".to_owned(),
            sku,
            pack_size,
            ..Default::default()
        };
        catalog.batch_delete_offers(RequestKey::new(), vec![pack(0, String::new())]).await.expect("removed");
        catalog.batch_create_offers(RequestKey::new(), vec![pack(2, sku(9))]).await.expect("created");
        eventually("vendor-sync knows the new pack size", WAIT, || async {
            let run = cluster.upload(spec(), with(9, "149")).await;
            assert_eq!(run.state(), RunState::Applied, "{run:?}");
            (on_offer(cluster, 9).await == 298).then_some(())
        })
        .await;
    });
}

#[test]
fn a_watch_sees_every_change_though_catalog_is_killed_under_it() {
    const SKUS: usize = 200;
    let seed = seed();
    scenario(Options::whole(), async |cluster| {
        eprintln!("to repeat: HOLDFAST_TEST_SEED={}", seed.value());
        let mut random = seed.rng(0);
        open(cluster, SKUS).await;
        let mut watch = cluster.catalog().watch_skus("");
        let mut seen: BTreeMap<String, i64> = BTreeMap::new();
        while note(&mut seen, watch.next().await.expect("the snapshot")) != Noted::SnapshotEnd {}
        assert_eq!(seen.len(), SKUS);
        for round in 0..5 {
            let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
            for _ in 0..20 {
                let number = random.random_range(0..SKUS);
                let changed =
                    Sku { code: sku(number), name: format!("renamed in round {round}"), ..Default::default() };
                let updated = cluster.catalog().update_sku(RequestKey::new(), changed, &["name"], false).await;
                let updated = updated.expect("a name").sku.expect("a SKU");
                wanted.insert(updated.code, updated.version);
            }
            let catalog = cluster.catalog.as_mut().expect("a whole cluster");
            catalog.kill().await.expect("it is killed");
            catalog.start_again().await.expect("it starts again");
            let is_behind =
                |seen: &BTreeMap<String, i64>| wanted.iter().any(|(code, version)| seen.get(code) < Some(version));
            while is_behind(&seen) {
                let event = tokio::time::timeout(WAIT, watch.next()).await.expect("a change that was made is told");
                note(&mut seen, event.expect("the watch goes on"));
            }
        }
    });
}

#[derive(Debug, PartialEq, Eq)]
enum Noted {
    State,
    SnapshotEnd,
    Nothing,
}

/// Notes the newest version of each SKU; an older one never comes after a newer one.
fn note(seen: &mut BTreeMap<String, i64>, event: SkuEvent) -> Noted {
    match event {
        SkuEvent::State(state) => {
            let changed = state.sku.expect("a SKU");
            let before = seen.insert(changed.code.clone(), changed.version);
            assert!(
                before <= Some(changed.version),
                "{} went back from {before:?} to {}",
                changed.code,
                changed.version
            );
            Noted::State
        }
        SkuEvent::SnapshotEnd => Noted::SnapshotEnd,
        SkuEvent::Checkpoint => Noted::Nothing,
    }
}
