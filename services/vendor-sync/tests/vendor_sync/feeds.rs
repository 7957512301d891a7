//! What files come to: rows, modes, the gate, and the order of time.

use holdfast_api::reservation::v1 as pb;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::{FeedMode, QuantityMeaning, RowOutcome, RunState};

use crate::world::{World, connection, file, many, totals};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_sets_the_stock_of_its_skus_and_reports_row_by_row() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR b:CUP*12 z:LAMP").await;
    let run = world.upload(0, "a=3 b=2 c=1 z=1.5").await;
    assert_eq!((run.state(), run.reason.as_str()), (RunState::Applied, ""));
    assert_eq!(totals(&run), [4, 2, 0, 0, 1, 0]);
    assert_eq!(world.report(&run).await, "2:a:Applied 3:b:Applied 4:c:Unmapped 5:z:Quarantined");
    assert_eq!(world.stock(), "CHAIR=3 CUP=24");
    let rows = world.rows(&run).await;
    let cup = &rows[1];
    assert_eq!((cup.raw_quantity.as_str(), cup.sku.as_str(), cup.quantity), ("2", "CUP", 24));
    assert!(rows[3].note.starts_with("R1"), "{}", rows[3].note);
    assert_eq!(run.content_sha256.len(), 64);
    assert!(run.end_time.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reservation_is_told_whose_numbers_they_are_and_what_they_mean() {
    let world = World::with(&[]).await;
    world.offers("a:CHAIR");
    let available = wire::Connection { meaning: QuantityMeaning::Available.into(), ..connection(FeedMode::Partial) };
    world.create(available).await.unwrap();
    let run = world.upload(7, "a=3").await;
    let landed = world.peers.stock.lock().unwrap().landed.clone();
    let [request] = landed.as_slice() else { panic!("one request, not {}", landed.len()) };
    assert_eq!((request.connection.as_str(), &request.run), ("acme-berlin", &run.run_id));
    assert_eq!(request.meaning(), pb::CountMeaning::Available);
    assert_eq!((request.as_of_time, request.sequence), (run.as_of_time, 0));
    assert_eq!(request.counts[0].location, "berlin");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_file_changes_what_changed() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR b:CUP").await;
    world.upload(0, "a=3 b=2").await;
    let run = world.upload(1, "a=3 b=5").await;
    assert_eq!(world.report(&run).await, "2:a:Unchanged 3:b:Applied");
    assert_eq!(totals(&run), [2, 1, 1, 0, 0, 0]);
    let rows = world.rows(&run).await;
    assert_eq!((rows[0].previous_on_hand, rows[1].previous_on_hand), (3, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_file_is_stale_row_by_row_in_a_partial_feed() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR b:CUP").await;
    world.upload(10, "a=3").await;
    let run = world.upload(5, "a=9 b=2").await;
    assert_eq!(run.state(), RunState::Applied);
    assert_eq!(world.report(&run).await, "2:a:Stale 3:b:Applied");
    assert_eq!(world.stock(), "CHAIR=3 CUP=2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_full_file_is_stale_as_a_whole_and_brings_nothing_back() {
    let world = World::feed(FeedMode::Full, "a:CHAIR b:CUP").await;
    world.upload(10, "a=3").await;
    let calls = world.peers.landed();
    let run = world.upload(5, "a=9 b=2 x=y").await;
    assert_eq!(run.state(), RunState::Applied);
    assert_eq!(world.report(&run).await, "2:a:Stale 3:b:Stale 4:x:Rejected");
    assert_eq!((world.stock().as_str(), world.peers.landed()), ("CHAIR=3", calls));
    // And it was not taken for the last word: what the newer file said is still known.
    let run = world.upload(11, "b=2").await;
    assert_eq!(world.report(&run).await, "2:b:Applied 0:a:Applied");
    assert_eq!(world.stock(), "CHAIR=0 CUP=2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_files_of_the_same_moment_count_in_the_order_of_their_arrival() {
    let world = World::feed(FeedMode::Full, "a:CHAIR").await;
    world.upload(0, "a=3").await;
    let second = world.upload(0, "a=4").await;
    assert_eq!(world.report(&second).await, "2:a:Applied");
    // The first one again is the first run again, not a third word.
    let first = world.upload_file(0, file("a=3")).await.unwrap();
    assert!(first.replayed);
    assert_eq!(world.stock(), "CHAIR=4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_file_leaves_out_is_gone_and_reported_on_line_0() {
    let world = World::feed(FeedMode::Full, "a:CHAIR b:CUP c:LAMP").await;
    world.upload(0, "a=3 b=2 c=1").await;
    let run = world.upload(1, "a=3 c=1").await;
    assert_eq!(world.report(&run).await, "2:a:Unchanged 3:c:Unchanged 0:b:Applied");
    assert_eq!(totals(&run), [3, 1, 2, 0, 0, 0]);
    assert_eq!(world.stock(), "CHAIR=3 CUP=0 LAMP=1");
    let gone = &world.rows(&run).await[2];
    assert_eq!((gone.line, gone.quantity, gone.previous_on_hand), (0, 0, 2));
    // Gone is said once.
    let run = world.upload(2, "a=4 c=1").await;
    assert_eq!(world.report(&run).await, "2:a:Applied 3:c:Unchanged");
    // And it may come back.
    let run = world.upload(3, "a=4 b=8 c=1").await;
    assert_eq!(world.report(&run).await, "2:a:Unchanged 3:b:Applied 4:c:Unchanged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_partial_file_leaves_out_is_unchanged() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR b:CUP").await;
    world.upload(0, "a=3 b=2").await;
    let run = world.upload(1, "a=4").await;
    assert_eq!(world.report(&run).await, "2:a:Applied");
    assert_eq!(world.stock(), "CHAIR=4 CUP=2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_file_cut_off_in_the_middle_is_held_and_changes_nothing() {
    let (rows, offers) = many(300);
    let world = World::feed(FeedMode::Full, &offers).await;
    world.upload(0, &rows).await;
    let (before, landed) = (world.stock(), world.peers.landed());
    let whole = file(&rows);
    let run = world.upload_file(1, &whole.as_bytes()[..whole.len() / 2]).await.unwrap().run.unwrap();
    assert_eq!(run.state(), RunState::Held);
    assert!(run.reason.contains("of 300 known codes are gone"), "{}", run.reason);
    assert_eq!((world.stock(), world.peers.landed()), (before, landed));
    // A good newer file goes through, and is compared with the last accepted one.
    let run = world.upload(2, &rows).await;
    assert_eq!(totals(&run), [300, 0, 300, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_a_shifted_column_is_held_and_names_the_rows_that_speak_against_it() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR").await;
    let rows: String = (0..30).map(|n| format!("a{n}={}.50 ", n + 1)).collect();
    let run = world.upload(0, &format!("a=3 {rows}")).await;
    assert_eq!(run.state(), RunState::Held);
    assert!(run.reason.contains("30 of 31 rows cannot be read"), "{}", run.reason);
    assert_eq!(totals(&run), [31, 0, 0, 0, 0, 30]);
    assert!(world.rows(&run).await.iter().all(|row| row.outcome() == RowOutcome::Rejected));
    assert_eq!(world.stock(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_unlike_the_registered_header_is_refused_and_says_why() {
    let world = World::feed(FeedMode::Full, "a:CHAIR").await;
    for (minute, (content, why)) in [
        (&b""[..], "the file is empty"),
        (b"code,stock,name\n", "no rows"),
        (b"code;stock;name\na;3;thing\n", "the delimiter is `;` instead of `,`"),
        (b"code,qty,name\na,3,thing\n", "missing `stock`, added `qty`"),
        (b"code,stock,name\na,3,\xf1\xf2\xf3\xeb\n", "not UTF-8"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = world.upload_file(minute.try_into().unwrap(), content).await.unwrap();
        let run = answer.run.unwrap();
        assert_eq!(run.state(), RunState::Refused, "{why}");
        assert!(run.reason.contains(why), "{} does not say {why}", run.reason);
        assert!(run.end_time.is_some());
    }
    assert_eq!(world.stock(), "");
    assert_eq!(world.number("SELECT count(*) FROM run_content").await, 0, "a refused file is not kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_more_rows_than_allowed_is_refused() {
    let world = World::feed_with(FeedMode::Full, "a:CHAIR", &[("RUNS__ROWS_MAX", "2")]).await;
    let run = world.upload(0, "a=1 b=1 c=1").await;
    assert_eq!((run.state(), run.reason.as_str()), (RunState::Refused, "the file has more than 2 rows"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_numbers_are_read_literally_or_not_at_all() {
    let world = World::feed(FeedMode::Partial, "a:A b:B c:C d:D e:E f:F g:G h:H i:I").await;
    let run = world.upload(0, "a=-5 b=1e3 c=1.000 d=>50 e=007 f= g=1000000001 h=99999999999999999999 i=0").await;
    assert_eq!(run.state(), RunState::Applied);
    assert_eq!(world.stock(), "A=0 E=7 I=0");
    let notes: Vec<String> = world.rows(&run).await.into_iter().map(|row| row.note).collect();
    assert!(notes[0].contains("below zero"), "{notes:?}");
    assert!(notes[3].starts_with("R10"), "{notes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_numbers_for_one_code_the_smaller_is_applied_and_both_rows_say_so() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR").await;
    let run = world.upload(0, "a=7 a=5").await;
    assert_eq!((world.stock().as_str(), totals(&run)), ("CHAIR=5", [2, 2, 0, 0, 0, 0]));
    for row in world.rows(&run).await {
        assert_eq!((row.outcome(), row.quantity), (RowOutcome::Applied, 5));
        assert!(row.note.starts_with("R7"), "{}", row.note);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendors_codes_for_one_sku_add_up_also_over_partial_files() {
    let world = World::feed(FeedMode::Partial, "single:CUP dozen:CUP*12").await;
    world.upload(0, "single=5 dozen=2").await;
    assert_eq!(world.stock(), "CUP=29");
    let run = world.upload(1, "single=4").await;
    assert_eq!(world.stock(), "CUP=28");
    let note = &world.rows(&run).await[0].note;
    assert!(note.contains("1 of them as it said in an earlier file"), "{note}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_no_offer_maps_for_a_while_does_not_leave_its_units_behind() {
    let world = World::feed(FeedMode::Full, "a:CHAIR b:CUP").await;
    world.upload(0, "a=3 b=2").await;
    let offer = world.peers.offers.lock().unwrap().remove("a");
    let run = world.upload(1, "a=3 b=2").await;
    assert_eq!(world.report(&run).await, "2:a:Unmapped 3:b:Unchanged");
    assert_eq!(world.stock(), "CHAIR=3 CUP=2", "a missing offer alone takes nothing away");
    let run = world.upload(2, "b=2").await;
    assert_eq!(world.report(&run).await, "2:b:Unchanged 0:a:Applied");
    assert_eq!(world.stock(), "CHAIR=0 CUP=2");
    drop(offer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_goes_in_batches_of_the_configured_size() {
    let (rows, offers) = many(2500);
    // One of the rows says 999.
    let world = World::feed_with(FeedMode::Full, &offers, &[("GUARDS__SENTINELS", "[]")]).await;
    let run = world.upload(0, &rows).await;
    assert_eq!(totals(&run), [2500, 2500, 0, 0, 0, 0]);
    let mut sizes: Vec<usize> = {
        let stock = world.peers.stock.lock().unwrap();
        stock.landed.iter().map(|request| request.counts.len()).collect()
    };
    sizes.sort_unstable();
    assert_eq!(sizes, [500, 1000, 1000]);
    assert_eq!(world.peers.on_hand("S02499", "berlin"), Some(2499));
    assert_eq!(world.rows(&run).await.len(), 2500);
}
