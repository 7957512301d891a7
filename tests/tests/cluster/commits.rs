//! Many reservations share one commit: each answer's truth is in Postgres, and Postgres is asked far less often than there are answers.

use std::time::Duration;

use holdfast_api::reservation::v1::ReservationState;
use holdfast_client::ReservationKey;
use holdfast_loadgen::history::{Answer, Verb};
use holdfast_loadgen::load;
use holdfast_testkit::eventually;

use crate::world::{Cluster, Options, end_in_order, scenario};

const CALLERS: usize = 64;
const ASKS: usize = 6_400;
const COMMITS_MAX: i64 = 800;

#[test]
fn reservations_for_one_sku_share_at_most_800_commits() {
    scenario(Options::reservation(1), async |cluster| {
        let sold = flash_sale(cluster, 6_400).await;
        assert_eq!(sold.granted, ASKS);
        assert_eq!(cluster.number("SELECT count(*) FROM reservation WHERE state = 'HELD'").await, 6_400);
    });
}

#[test]
fn of_6_400_asks_for_150_units_150_are_granted_and_the_others_are_told_so() {
    scenario(Options::reservation(1), async |cluster| {
        let sold = flash_sale(cluster, 150).await;
        assert_eq!((sold.granted, sold.refused), (150, ASKS - 150));
        assert_eq!(cluster.number("SELECT held FROM stock").await, 150);
        assert_eq!(cluster.number("SELECT count(*) FROM reservation").await, 150, "a no stores nothing");
    });
}

struct Sold {
    granted: usize,
    refused: usize,
}

/// Every caller asks a hundred times; each answer is compared with the record.
async fn flash_sale(cluster: &mut Cluster, units: i64) -> Sold {
    cluster.count(&[("SALE", units)]).await;
    let before = commits_at_rest(cluster).await;
    cluster.reservation[0].start_again().await.expect("it starts again");
    let began = std::time::Instant::now();
    let spec = load::Spec { callers: CALLERS, ..load::Spec::new(cluster.reservation[0].url(), "SALE") };
    let history = load::run(&spec).await.expect("an endpoint");
    let took = began.elapsed();
    let commits = commits_at_rest(cluster).await - before;
    cluster.reservation[0].start_again().await.expect("it starts again");

    let records = cluster.all_reservations().await;
    let recorded = |key: &ReservationKey| records.get(key).map(holdfast_api::reservation::v1::Reservation::state);
    for call in &history.calls {
        match &call.answer {
            Answer::Done { reservation, .. } => {
                assert_eq!(records.get(&call.reservation), Some(&**reservation), "every yes is in Postgres");
                assert_eq!(recorded(&call.reservation), Some(ReservationState::Held));
            }
            Answer::SoldOut(lines) => {
                assert_eq!(recorded(&call.reservation), None);
                assert_eq!((lines[0].requested, lines[0].available), (Some(1), Some(0)), "{lines:?}");
            }
            odd => panic!("{odd:?}"),
        }
    }
    let granted = history.count(Verb::Reserve, Answer::is_done);
    let refused = history.count(Verb::Reserve, |answer| matches!(answer, Answer::SoldOut(_)));
    eprintln!("{units} units: {granted} granted, {refused} refused, {commits} commits in {took:?}");
    assert!(commits <= COMMITS_MAX, "{commits} commits for {ASKS} asks");
    Sold { granted, refused }
}

/// Transactions committed in the database so far. A backend reports them when it likes, but at its end at the latest: so the service ends first.
async fn commits_at_rest(cluster: &mut Cluster) -> i64 {
    let process = &mut cluster.reservation[0];
    assert!(end_in_order(process).await.success());
    eventually("its connections are closed", Duration::from_secs(10), || async {
        let open = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND usename = 'holdfast_reservation'";
        (cluster.number(open).await == 0).then_some(())
    })
    .await;
    let commits = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    cluster.number(commits).await
}
