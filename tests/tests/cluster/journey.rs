//! The three services together: from a shop's files to a sale, and through the death of either service in the middle of a feed.

use holdfast_api::reservation::v1 as pb;
use holdfast_client::api::vendorsync::v1::{RowOutcome, Run, RunState, RunTotals};
use holdfast_client::{Error, Line, RequestKey, ReservationKey, Reserve};
use holdfast_testkit::{eventually, seed};
use rand::Rng as _;

use crate::shop::{file, open, sku, spec, units};
use crate::world::{Cluster, Options, scenario};

#[test]
fn a_vendors_file_becomes_stock_that_can_be_sold() {
    scenario(Options::whole(), async |cluster| {
        open(cluster, 300).await;
        let run = cluster.upload(spec(), file(250, 0)).await;
        assert_eq!(applied(&run), (RunState::Applied, 250, 250));
        let report = cluster.report(&run).await;
        assert!(report.iter().all(|row| row.outcome() == RowOutcome::Applied && row.previous_on_hand == 0));

        let skus = vec![sku(0), sku(96), sku(299), "NOBODY-KNOWS".to_owned()];
        let read = cluster.stock().batch_get_availability(skus, pb::ReadSource::Record).await.expect("availability");
        let seen: Vec<_> = read.results.iter().map(|one| (one.known, one.available)).collect();
        assert_eq!(seen, [(true, 1), (true, 97), (false, 0), (false, 0)]);

        let (reservations, key) = (cluster.reservations(), ReservationKey::new());
        let cart = Reserve::new(key, "cart", [Line::anywhere(sku(96), 7), Line::anywhere(sku(0), 1)]);
        reservations.reserve(&cart).await.expect("the vendor has them");
        reservations.confirm(RequestKey::new(), key).await.expect("they are held");
        let late = Reserve::new(ReservationKey::new(), "cart", [Line::anywhere(sku(0), 1)]);
        assert!(matches!(reservations.reserve(&late).await, Err(Error::Insufficient { .. })));

        let ledger = cluster.ledger(&sku(96)).await;
        let causes: Vec<_> = ledger.iter().rev().map(pb::LedgerEntry::cause).collect();
        assert_eq!(causes, [pb::LedgerCause::Count, pb::LedgerCause::Reserve, pb::LedgerCause::Confirm]);
        assert!(ledger[2].note.contains(&run.run_id), "the ledger names the run: {:?}", ledger[2]);

        // The next file leaves ten out, and was counted before the vendor heard of the sale.
        let run = cluster.upload(spec(), file(240, 10)).await;
        assert_eq!(applied(&run), (RunState::Applied, 250, 250), "ten of them because they are gone");
        let level = |number| {
            let stock = cluster.stock();
            async move { stock.get_stock(&sku(number)).await.expect("stock").levels.remove(0) }
        };
        let sold = level(96).await;
        assert_eq!((sold.on_hand, sold.committed, sold.available), (107, 7, 100));
        assert_eq!(level(245).await.on_hand, 0);
        each_counted(cluster, 250, 2).await;
    });
}

#[test]
fn a_vendor_sync_killed_while_it_applies_a_file_completes_it_when_it_is_back() {
    const ROWS: usize = 3_000;
    let seed = seed();
    scenario(feeding(), async |cluster| {
        eprintln!("to repeat: HOLDFAST_TEST_SEED={}", seed.value());
        let mut random = seed.rng(0);
        open(cluster, ROWS).await;
        let (spec, file) = (spec(), file(ROWS, 0));
        let mut uploads = Vec::new();
        for _ in 0..3 {
            uploads.push(upload_in_background(cluster, spec.clone(), file.clone()));
            let counted = cluster.number("SELECT count(*) FROM stock").await;
            some_more(cluster, counted, random.random_range(1..600)).await;
            let vendor_sync = cluster.vendor_sync.as_mut().expect("a whole cluster");
            vendor_sync.kill().await.expect("it is killed");
            let done = cluster.number("SELECT count(*) FROM stock").await;
            assert!(done < 3_000, "it was done before it was killed, so this says nothing");
            eprintln!("killed after {done} of {ROWS} rows");
            cluster.vendor_sync.as_mut().expect("a whole cluster").start_again().await.expect("it starts again");
        }
        let run = cluster.finished_run().await;
        assert_eq!(applied(&run), (RunState::Applied, 3_000, 3_000), "{run:?}");
        each_counted(cluster, ROWS, 1).await;
        let report = cluster.report(&run).await;
        assert!(report.iter().all(|row| row.outcome() == RowOutcome::Applied && row.previous_on_hand == 0));

        // Sent again it is the same run.
        let again = cluster.upload(spec, file).await;
        assert_eq!(again.run_id, run.run_id);
        each_counted(cluster, ROWS, 1).await;
        for upload in uploads {
            upload.abort();
        }
    });
}

#[test]
fn a_reservation_killed_while_a_file_is_applied_counts_every_row_once() {
    const ROWS: usize = 3_000;
    let seed = seed();
    scenario(feeding(), async |cluster| {
        eprintln!("to repeat: HOLDFAST_TEST_SEED={}", seed.value());
        let mut random = seed.rng(0);
        open(cluster, ROWS).await;
        let upload = upload_in_background(cluster, spec(), file(ROWS, 0));
        for _ in 0..3 {
            let counted = cluster.number("SELECT count(*) FROM stock").await;
            some_more(cluster, counted, random.random_range(1..600)).await;
            cluster.reservation[0].kill().await.expect("it is killed");
            let done = cluster.number("SELECT count(*) FROM stock").await;
            assert!(done < 3_000, "it was done before it was killed, so this says nothing");
            eprintln!("killed after {done} of {ROWS} rows");
            cluster.reservation[0].start_again().await.expect("it starts again");
        }
        upload.await.expect("no panic").expect("the upload ends well, whoever died behind it");
        let run = cluster.finished_run().await;
        assert_eq!(applied(&run), (RunState::Applied, 3_000, 3_000), "{run:?}");
        each_counted(cluster, ROWS, 1).await;
    });
}

/// All services, with many small requests for a file, and work that a dead process held taken over soon.
fn feeding() -> Options {
    Options::whole().set("vendor-sync:runs.batch_counts", 10).set("vendor-sync:runs.lease_ms", 1000)
}

fn upload_in_background(
    cluster: &Cluster,
    spec: holdfast_api::vendorsync::v1::UploadFeedSpec,
    file: bytes::Bytes,
) -> tokio::task::JoinHandle<Result<(), Error>> {
    let client = cluster.vendor_sync();
    tokio::spawn(async move {
        let key = RequestKey::new();
        client.upload_feed(key, spec, file, holdfast_client::Progress::NONE).await.map(drop)
    })
}

/// Waits until some more rows are in reservation's record.
async fn some_more(cluster: &Cluster, counted: i64, more: i64) {
    eventually("rows are counted", std::time::Duration::from_secs(60), || async {
        (cluster.number("SELECT count(*) FROM stock").await >= counted + more).then_some(())
    })
    .await;
}

/// State, rows and rows applied.
fn applied(run: &Run) -> (RunState, i64, i64) {
    let RunTotals { rows, applied, .. } = run.totals.expect("totals");
    (run.state(), rows, applied)
}

/// Every SKU of a file has its number, by so many counts and no more.
async fn each_counted(cluster: &Cluster, skus: usize, times: i64) {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT sku, on_hand, (SELECT count(*) FROM ledger l WHERE l.sku = s.sku AND l.cause = 'COUNT') FROM stock s ORDER BY sku",
    )
    .fetch_all(&cluster.record)
    .await
    .expect("the stock");
    assert_eq!(rows.len(), skus);
    for (number, (code, on_hand, counts)) in rows.into_iter().enumerate() {
        assert_eq!((&code, counts), (&sku(number), times));
        assert!(times > 1 || on_hand == units(number), "{code} has {on_hand}");
    }
}
