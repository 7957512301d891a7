//! Reservations that lack units: named at once, the newest first, whatever made the row short.

use std::time::Duration;

use holdfast_api::reservation::v1 as pb;
use holdfast_testkit::eventually;
use pb::ReservationEventKind as K;

use crate::watcher::{Events, watch_reservations};
use crate::world::{Options, World, ask, fulfil, id_of, key, portion, seconds, test, test_with};

fn quick() -> Options {
    let settings = vec![("WATCH__CHECKPOINT_MS", "200".to_owned()), ("WATCH__SNAPSHOT_ROWS_MAX", "2".to_owned())];
    Options { settings, ..Options::default() }
}

async fn hold(world: &World, units: i64, last: i64) -> String {
    let request = pb::ReserveRequest { hold_duration: seconds(last), ..ask(&[("CHAIR", units)]) };
    id_of(&world.reservations().reserve(request).await.unwrap().into_inner())
}

/// Who is at risk now, with what they lack, as the list pages it.
async fn listed(world: &World, sku: &str) -> Vec<(String, i64, i64)> {
    let (mut listed, mut token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListAtRiskRequest { page_size: 2, page_token: token, sku: sku.into(), ..Default::default() };
        let page = world.reservations().list_at_risk(request).await.unwrap().into_inner();
        listed.extend(page.reservations.into_iter().map(|at_risk| {
            let shortage = at_risk.shortage.unwrap();
            (at_risk.reservation.unwrap().reservation_id, shortage.quantity, shortage.shortfall)
        }));
        token = page.next_page_token;
        if token.is_empty() {
            return listed;
        }
    }
}

fn lacking(events: &[pb::ReservationEvent]) -> Vec<(String, i64, i64)> {
    let lacks = |event: &pb::ReservationEvent| {
        assert_eq!(event.kind(), K::AtRisk);
        let shortage = event.shortage.as_ref().unwrap();
        (event.reservation.as_ref().unwrap().reservation_id.clone(), shortage.quantity, shortage.shortfall)
    };
    events.iter().map(lacks).collect()
}

/// So many chairs are not there any more.
fn lost(units: i64) -> pb::AdjustStockRequest {
    let lost = pb::Adjustment {
        sku: "CHAIR".into(),
        location: "main".into(),
        condition: pb::Condition::Sellable.into(),
        delta: -units,
        reason: pb::AdjustmentReason::Lost.into(),
    };
    pb::AdjustStockRequest { request_id: key(), adjustments: vec![lost], actor: "ann".into(), note: String::new() }
}

#[test]
fn a_count_below_what_is_promised_names_the_newest_reservations_first_the_last_one_in_part() {
    test_with(quick(), async |world| {
        world.count("CHAIR", 20).await;
        let (mut events, mut stream) =
            (Events::default(), watch_reservations(world.reservations(), "", &[K::AtRisk], "").await.unwrap());
        events.until_snapshot_end(&mut stream).await;
        assert!(events.snapshot.is_empty());
        let (oldest, older, newer, newest) = (
            hold(world, 4, 600).await,
            hold(world, 4, 600).await,
            hold(world, 4, 600).await,
            hold(world, 2, 600).await,
        );
        world.confirm(&newer).await.unwrap();
        let over = hold(world, 1, 1).await;
        // Until it is swept, it counts for nobody, and its units are still the row's.
        world.level_becomes("CHAIR", "a hold that is over is swept", |level| level.version == 8).await;
        world.count("CHAIR", 7).await;
        let lacks = vec![(newest.clone(), 2, 7), (newer.clone(), 4, 7), (older.clone(), 1, 7)];
        events.until(&mut stream, "those at risk are told", |events| events.told.len() >= 3).await;
        events.until_checkpoint(&mut stream).await;
        assert_eq!(lacking(&events.told), lacks, "{oldest} has its units, {over} counts for nobody");
        assert_eq!(listed(world, "CHAIR").await, lacks);
        assert_eq!(listed(world, "").await, lacks);
        assert!(listed(world, "TABLE").await.is_empty());
        // Another watcher learns it from the snapshot.
        let (mut late, mut stream) =
            (Events::default(), watch_reservations(world.reservations(), "", &[], "").await.unwrap());
        late.until_snapshot_end(&mut stream).await;
        assert_eq!(lacking(&late.snapshot), lacks);
        let (mut other, mut stream) =
            (Events::default(), watch_reservations(world.reservations(), "nobody", &[], "").await.unwrap());
        other.until_snapshot_end(&mut stream).await;
        assert!(other.snapshot.is_empty());
        // Whoever gives back helps the others.
        world.release(&newest).await.unwrap();
        assert_eq!(listed(world, "CHAIR").await, [(newer, 4, 5), (older, 1, 5)]);
        world.count("CHAIR", 20).await;
        assert!(listed(world, "CHAIR").await.is_empty());
    });
}

#[test]
fn an_adjustment_and_a_policy_put_reservations_at_risk_too_and_each_growth_is_told_anew() {
    test_with(quick(), async |world| {
        let policy = |version, backorder| pb::SkuPolicy {
            sku: "CHAIR".into(),
            version,
            backorder_limit: backorder,
            locations: vec!["main".into()],
            ..Default::default()
        };
        let set = |version, backorder| async move {
            let request = pb::ApplyPoliciesRequest { policies: vec![policy(version, backorder)] };
            world.stock().apply_policies(request).await.unwrap();
        };
        world.count("CHAIR", 3).await;
        set(1, 5).await;
        let (mut events, mut stream) =
            (Events::default(), watch_reservations(world.reservations(), "", &[K::AtRisk], "").await.unwrap());
        events.until_snapshot_end(&mut stream).await;
        let (first, second) = (hold(world, 4, 600).await, hold(world, 4, 600).await);
        set(2, 3).await;
        events.until(&mut stream, "the policy is told", |events| !events.told.is_empty()).await;
        let request = lost(3);
        world.stock().adjust_stock(request.clone()).await.unwrap();
        // Sent twice, it is told once.
        world.stock().adjust_stock(request).await.unwrap();
        events.until(&mut stream, "the adjustment is told", |events| events.told.len() >= 3).await;
        events.until_checkpoint(&mut stream).await;
        assert_eq!(lacking(&events.told), [(second.clone(), 2, 2), (second, 4, 5), (first, 1, 5)]);
    });
}

#[test]
fn only_units_that_somebody_still_waits_for_are_at_risk() {
    let mut unswept = quick();
    unswept.settings.push(("SWEEPER__PERIOD_MS", "3600000".to_owned()));
    test_with(unswept, async |world| {
        world.count("CHAIR", 20).await;
        let (older, sold, booked) = (hold(world, 3, 600).await, hold(world, 4, 600).await, hold(world, 2, 600).await);
        for id in [&sold, &booked] {
            world.confirm(id).await.unwrap();
        }
        let told = pb::RecordEvidenceRequest {
            request_id: key(),
            reservation_id: booked.clone(),
            kind: pb::EvidenceKind::Booked.into(),
            ..Default::default()
        };
        world.reservations().record_evidence(told).await.unwrap();
        let meaning = pb::CountMeaning::Available.into();
        let count = pb::ApplyCountsRequest { meaning, ..world.counts(vec![("CHAIR", "main", 18)]) };
        world.stock().apply_counts(count).await.unwrap();
        world.reservations().fulfil(fulfil(&sold, vec![portion("CHAIR", 3)])).await.unwrap();
        let over = hold(world, 2, 1).await;
        eventually("the hold is over", Duration::from_secs(20), || async {
            (world.get(&over).await.unwrap().state() == pb::ReservationState::Expired).then_some(())
        })
        .await;
        world.stock().adjust_stock(lost(11)).await.unwrap();
        // Two are missing of the row. What was shipped, what the vendor has booked off its number and what is over lacks nothing.
        assert_eq!(
            listed(world, "CHAIR").await,
            [(sold, 1, 2), (older, 1, 2)],
            "{booked} and {over} have what they need"
        );
    });
}

#[test]
fn no_more_are_named_than_units_are_missing_and_nobody_anew_when_fewer_are() {
    test_with(quick(), async |world| {
        world.count("CHAIR", 4).await;
        let (_oldest, older, newest) =
            (hold(world, 1, 600).await, hold(world, 1, 600).await, hold(world, 2, 600).await);
        for (lost_in_all, lacks) in [
            (1, vec![(newest.clone(), 1, 1)]),
            (2, vec![(newest.clone(), 2, 2)]),
            (3, vec![(newest.clone(), 2, 3), (older.clone(), 1, 3)]),
        ] {
            world.stock().adjust_stock(lost(1)).await.unwrap();
            assert_eq!(listed(world, "CHAIR").await, lacks, "{lost_in_all} lost");
        }
        let named = async || {
            let query = "SELECT count(*) FROM at_risk";
            sqlx::query_scalar::<_, i64>(query).fetch_one(&world.database.admin_pool().await).await.unwrap()
        };
        assert_eq!(named().await, 4);
        world.release(&newest).await.unwrap();
        assert_eq!(listed(world, "CHAIR").await, [(older, 1, 1)]);
        assert_eq!(named().await, 4);
    });
}

#[test]
fn who_is_put_at_risk_by_a_transaction_that_commits_late_is_told_all_the_same() {
    test_with(quick(), async |world| {
        for sku in ["CHAIR", "LAMP"] {
            world.count(sku, 2).await;
            world.hold(sku, 2).await;
        }
        let (mut events, mut stream) =
            (Events::default(), watch_reservations(world.reservations(), "", &[K::AtRisk], "").await.unwrap());
        events.until_snapshot_end(&mut stream).await;
        let admin = world.database.admin_pool().await;
        let mut late = admin.begin().await.unwrap();
        let adjust = "UPDATE stock SET on_hand = 0, shortfall = 2, version = version + 1 WHERE sku = 'CHAIR';
                      INSERT INTO ledger (sku, location, version, at, cause, cause_id, on_hand, reason, actor)
                      SELECT sku, location, version, clock_timestamp(), 'ADJUST', gen_random_uuid(), -2, 'LOST', 'late' FROM stock WHERE sku = 'CHAIR'";
        sqlx::raw_sql(adjust).execute(&mut *late).await.unwrap();
        world.count("LAMP", 1).await;
        events.until(&mut stream, "others are told meanwhile", |events| events.told.len() == 1).await;
        events.until_checkpoint(&mut stream).await;
        late.commit().await.unwrap();
        events.until(&mut stream, "what was committed late is told", |events| events.told.len() == 2).await;
        assert_eq!(lacking(&events.told).iter().map(|(_, units, _)| *units).collect::<Vec<_>>(), [1, 2]);
    });
}

#[test]
fn what_is_put_at_risk_and_the_shortfall_itself_are_committed_together() {
    test(async |world| {
        world.count("CHAIR", 5).await;
        let id = world.hold("CHAIR", 5).await;
        let admin = world.database.admin_pool().await;
        let before = "SELECT count(*) FROM at_risk";
        let number = async || sqlx::query_scalar::<_, i64>(before).fetch_one(&admin).await.unwrap();
        let mut undone = admin.begin().await.unwrap();
        let short = "UPDATE stock SET on_hand = 1, shortfall = 4, version = version + 1 WHERE sku = 'CHAIR'";
        sqlx::query(short).execute(&mut *undone).await.unwrap();
        sqlx::query("SET CONSTRAINTS ALL IMMEDIATE").execute(&mut *undone).await.unwrap();
        let within: i64 = sqlx::query_scalar(before).fetch_one(&mut *undone).await.unwrap();
        undone.rollback().await.unwrap();
        assert_eq!((within, number().await), (1, 0));
        world.count("CHAIR", 1).await;
        let named: (uuid::Uuid, i64, i64, i64) =
            sqlx::query_as("SELECT reservation_id, units, shortfall, stock_version FROM at_risk")
                .fetch_one(&admin)
                .await
                .unwrap();
        assert_eq!((named.0.to_string(), named.1, named.2), (id, 4, 4));
        assert_eq!(named.3, world.level("CHAIR").await.version);
    });
}
