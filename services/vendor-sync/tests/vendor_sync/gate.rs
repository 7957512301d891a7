//! Files that look suspect as a whole: held, approved, rejected, replaced; and what reservation is told of those that were applied.

use std::time::Duration;

use holdfast_api::error::v1::ErrorReason as R;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::{ConnectionState, FeedMode, RunState};
use holdfast_testkit::eventually;
use tokio::task::JoinSet;

use crate::interruptions::Killable;
use crate::world::{BERLIN, FEED, World, client, connection, file, id, many, reason, spec, totals, violations};

const PATIENCE: Duration = Duration::from_secs(60);

/// Rows with numbers of their own choosing, `c0=… c1=…`, with offers for all.
fn numbered(rows: usize, number: impl Fn(usize) -> usize) -> String {
    (0..rows).map(|row| format!("c{row}={}", number(row))).collect::<Vec<_>>().join(" ")
}

async fn shop(rows: usize) -> World {
    let world = World::feed(FeedMode::Full, &many(rows).1).await;
    let run = world.upload(0, &numbered(rows, |row| row % 50 + 10)).await;
    assert_eq!(run.state(), RunState::Applied);
    world
}

async fn state_of(world: &World) -> (ConnectionState, String) {
    let request = wire::GetConnectionRequest { code: FEED.to_owned() };
    let found = world.client.clone().get_connection(request).await.unwrap().into_inner().connection.unwrap();
    (found.state(), found.state_reason)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_file_waits_for_somebody_who_looks_at_it_and_its_rows_still_pass_their_guards() {
    let world = World::new().await;
    world.offers("a:CHAIR b:CUP");
    world.create(wire::Connection { apply_first_file: false, ..connection(FeedMode::Full) }).await.unwrap();
    let held = world.upload(0, "a=5000 b=999").await;
    assert_eq!(held.state(), RunState::Held);
    assert!(held.reason.contains("first file"), "{}", held.reason);
    assert_eq!((held.end_time, world.stock().as_str()), (None, ""));
    let applied = world.approve_run(&held).await.unwrap();
    assert_eq!((applied.state(), applied.decided_by.as_str()), (RunState::Applied, "eva"));
    assert_eq!(world.report(&applied).await, "2:a:Applied 3:b:Quarantined");
    assert_eq!(world.stock(), "CHAIR=5000");
    // From now on there is something to compare with.
    assert_eq!(world.upload(1, "a=4999 b=5").await.state(), RunState::Applied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_file_is_rejected_for_good() {
    let world = shop(300).await;
    let held = world.upload(1, &numbered(100, |row| row % 50 + 10)).await;
    assert_eq!(held.state(), RunState::Held);
    let rejected = world.reject_run(&held).await.unwrap();
    assert_eq!((rejected.state(), rejected.decision_reason.as_str()), (RunState::Rejected, "nonsense"));
    assert!(rejected.end_time.is_some());
    assert_eq!(reason(world.approve_run(&held).await), R::AlreadyDecided);
    assert_eq!(world.number("SELECT count(*) FROM run_content").await, 0);
    let again = world.upload_file(1, file(&numbered(100, |row| row % 50 + 10))).await.unwrap();
    assert_eq!((again.replayed, again.run.unwrap().state()), (true, RunState::Rejected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_file_that_is_approved_is_applied_whole() {
    let world = shop(300).await;
    let held = world.upload(1, &numbered(100, |row| row % 50 + 11)).await;
    let applied = world.approve_run(&held).await.unwrap();
    assert_eq!(applied.state(), RunState::Applied);
    assert!(applied.warnings.iter().any(|warning| warning.contains("known codes are gone")), "{:?}", applied.warnings);
    assert_eq!(totals(&applied), [300, 300, 0, 0, 0, 0]);
    assert_eq!(world.peers.on_hand("S00299", BERLIN), Some(0), "what it left out is gone, as it was approved");
    assert_eq!(reason(world.reject_run(&held).await), R::AlreadyDecided);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_zeros_does_not_empty_the_shop() {
    let world = shop(300).await;
    let before = world.stock();
    let held = world.upload(1, &numbered(300, |_| 0)).await;
    assert_eq!(held.state(), RunState::Held);
    assert!(held.reason.contains("300 of 300 codes in stock fell to 0"), "{}", held.reason);
    assert!(held.reason.contains("300 of 300 rows say 0"), "{}", held.reason);
    assert_eq!(world.stock(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_other_codes_is_held() {
    let world = shop(300).await;
    let rows = (0..300).map(|row| format!("x{row}=5")).collect::<Vec<_>>().join(" ");
    let held = world.upload(1, &rows).await;
    assert_eq!(held.state(), RunState::Held);
    assert!(held.reason.contains("300 codes are new beside 300 known ones"), "{}", held.reason);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moves_too_much_is_held_once_five_files_were_accepted() {
    let world = World::feed(FeedMode::Full, &many(300).1).await;
    for minute in 0..4 {
        let run = world.upload(minute, &numbered(300, |row| row % 50 + 10)).await;
        assert_eq!((run.state(), run.warnings.as_slice()), (RunState::Applied, &[][..]));
    }
    // Not yet: half of the numbers change.
    let half = numbered(300, |row| row % 50 + 10 + row % 2);
    assert_eq!(world.upload(4, &half).await.state(), RunState::Applied);
    let warned = world.upload(5, &numbered(300, |row| row % 50 + 10 + row % 2 + usize::from(row % 4 == 0))).await;
    assert_eq!(warned.state(), RunState::Applied);
    assert!(
        warned.warnings.iter().any(|warning| warning.contains("75 of 300 numbers changed")),
        "{:?}",
        warned.warnings
    );
    let held = world.upload(6, &numbered(300, |row| row % 50 + 12)).await;
    assert_eq!(held.state(), RunState::Held);
    assert!(held.reason.contains("numbers changed at once"), "{}", held.reason);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_suspect_files_in_a_row_pause_the_connection_and_a_person_resumes_it() {
    let world = shop(300).await;
    let usual = |extra| numbered(300, move |row| row % 50 + 10 + usize::from(row == extra));
    for (minute, rows) in (1..=2).zip(101..) {
        assert_eq!(world.upload(minute, &numbered(rows, |_| 5)).await.state(), RunState::Held);
    }
    assert_eq!(state_of(&world).await.0, ConnectionState::Active);
    assert_eq!(world.upload(3, &usual(1)).await.state(), RunState::Applied);
    for (minute, rows) in (4..=6).zip(104..) {
        assert_eq!(world.upload(minute, &numbered(rows, |_| 5)).await.state(), RunState::Held);
    }
    assert_eq!(state_of(&world).await, (ConnectionState::Paused, "3 files in a row were held".to_owned()));
    let held = world.upload(7, &usual(2)).await;
    assert_eq!(held.state(), RunState::Held);
    assert!(held.reason.contains("the connection is paused: 3 files in a row were held"), "{}", held.reason);
    let resume = wire::ResumeConnectionRequest {
        request_id: id(),
        code: FEED.to_owned(),
        actor: "eva".to_owned(),
        reason: "the vendor repaired it".to_owned(),
    };
    world.client.clone().resume_connection(resume).await.unwrap();
    assert_eq!(world.upload(8, &usual(3)).await.state(), RunState::Applied);
    let superseded = wire::ListRunsRequest { state: RunState::Superseded.into(), ..Default::default() };
    let superseded = world.client.clone().list_runs(superseded).await.unwrap().into_inner().runs;
    assert_eq!(superseded.len(), 6, "a good newer file takes the place of all that were held before");
    assert_eq!(reason(world.approve_run(&held).await), R::AlreadyDecided);
    assert_eq!(world.number("SELECT count(*) FROM run_content").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_file_approved_after_a_newer_one_began_brings_nothing_back() {
    let mut world = World::feed_with(FeedMode::Full, &many(300).1, &[("RUNS__BATCH_COUNTS", "100")]).await;
    world.upload(0, &numbered(300, |row| row % 50 + 10)).await;
    let held = world.upload(1, &numbered(100, |row| row % 50 + 11)).await;
    assert_eq!(held.state(), RunState::Held);
    world.shutdown.cancel();
    (&mut world.served).await.unwrap().unwrap();
    // A newer file is half applied when the process is killed; then the older one is approved.
    world.peers.let_through(1);
    let mut process = Killable::start(&world).await;
    (world.address, world.client) = (process.address.clone(), client(&process.address));
    let newer = file(&numbered(290, |row| row % 50 + 12));
    let (mut uploads, spec) = (world.client.clone(), spec(2));
    let upload = tokio::spawn(async move {
        use wire::upload_feed_request::Part;
        let parts = [Part::Spec(spec), Part::Chunk(newer.into_bytes())];
        let parts = parts.map(|part| wire::UploadFeedRequest { part: Some(part) });
        uploads.upload_feed(tokio_stream::iter(parts)).await
    });
    eventually("a batch landed and others wait", PATIENCE, || async {
        (world.peers.waiting() > 0 && world.peers.landed() > 3).then_some(())
    })
    .await;
    process.kill().await;
    drop(upload.await);
    world.peers.let_through(0);
    world.start_again().await;
    let request = wire::ApproveRunRequest {
        request_id: id(),
        run_id: held.run_id.clone(),
        actor: "eva".to_owned(),
        reason: "late".to_owned(),
    };
    let mut approving = tonic::Request::new(request);
    approving.set_timeout(Duration::from_secs(3));
    let approved = world.client.clone().approve_run(approving).await.unwrap().into_inner().run.unwrap();
    assert_eq!(approved.state(), RunState::Applying);
    world.peers.let_through(1000);
    let applied = world.finished(&held.run_id).await;
    assert_eq!((applied.state(), totals(&applied)), (RunState::Applied, [100, 0, 0, 100, 0, 0]), "stale as a whole");
    assert_eq!(world.peers.on_hand("S00000", BERLIN), Some(12));
    assert_eq!(world.peers.on_hand("S00299", BERLIN), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_people_who_decide_on_a_file_at_once_one_does() {
    let world = shop(300).await;
    let held = world.upload(1, &numbered(100, |row| row % 50 + 11)).await;
    let mut set = JoinSet::new();
    for person in 0..10 {
        let (mut client, run_id) = (world.client.clone(), held.run_id.clone());
        set.spawn(async move {
            let (request_id, actor, reason) = (id(), format!("person {person}"), "sure".to_owned());
            if person % 2 == 0 {
                let request = wire::ApproveRunRequest { request_id, run_id, actor, reason };
                client.approve_run(request).await.map(|answer| answer.into_inner().run)
            } else {
                let request = wire::RejectRunRequest { request_id, run_id, actor, reason };
                client.reject_run(request).await.map(|answer| answer.into_inner().run)
            }
        });
    }
    let mut decided = Vec::new();
    while let Some(answer) = set.join_next().await {
        match answer.unwrap() {
            Ok(run) => decided.push(run.unwrap()),
            Err(status) => assert_eq!(reason::<()>(Err(status)), R::AlreadyDecided),
        }
    }
    assert_eq!(decided.len(), 1, "{decided:?}");
    let empty = world.client.clone().approve_run(wire::ApproveRunRequest::default()).await;
    assert_eq!(violations(empty).0, ["request_id", "run_id", "actor", "reason"]);
    let nobody = wire::Run { run_id: id(), ..Default::default() };
    assert_eq!(reason(world.approve_run(&nobody).await), R::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reservation_is_told_that_a_run_is_complete_once_every_batch_landed() {
    let world = World::with(&[]).await;
    world.offers("a:CHAIR b:CUP");
    let cadence = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    let clock_margin = Some(prost_types::Duration { seconds: 300, nanos: 0 });
    let reflection_lag = Some(prost_types::Duration { seconds: 86_400, nanos: 0 });
    let promising = wire::Connection { cadence, clock_margin, reflection_lag, ..connection(FeedMode::Full) };
    world.create(promising).await.unwrap();
    let run = world.upload(5, "a=3 b=4").await;
    {
        let stock = world.peers.stock.lock().unwrap();
        let [completed] = stock.completed.as_slice() else { panic!("{:?}", stock.completed) };
        assert_eq!((completed.connection.as_str(), completed.location.as_str()), (FEED, BERLIN));
        assert_eq!((completed.as_of_time, completed.promised_interval), (run.as_of_time, cadence));
        assert_eq!((completed.clock_margin, completed.reflection_lag), (clock_margin, reflection_lag));
        assert!(completed.covers_all && stock.landed[0].covers_all);
    }
    // What is stale as a whole says nothing of how fresh the feed is.
    world.upload(4, "a=9").await;
    assert_eq!(world.peers.stock.lock().unwrap().completed.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_partial_file_is_not_replaced_by_the_next_one_which_says_other_things() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR b:CUP").await;
    world.upload(0, "b=1").await;
    let unreadable: String = (0..30).map(|row| format!("x{row}=n/a ")).collect();
    let held = world.upload(1, &format!("a=3 {unreadable}")).await;
    assert_eq!(held.state(), RunState::Held);
    assert_eq!(world.upload(2, "b=2").await.state(), RunState::Applied);
    let applied = world.approve_run(&held).await.unwrap();
    assert_eq!((applied.state(), world.stock().as_str()), (RunState::Applied, "CHAIR=3 CUP=2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_of_words_where_numbers_were_is_held_and_makes_nothing_fresh() {
    let world = shop(300).await;
    let completed = || world.peers.stock.lock().unwrap().completed.len();
    let before = completed();
    let words = (0..300).map(|row| format!("c{row}=yes")).collect::<Vec<_>>().join(" ");
    let held = world.upload(1, &words).await;
    assert_eq!(held.state(), RunState::Held);
    assert!(held.reason.contains("say none"), "{}", held.reason);
    let approved = world.approve_run(&held).await.unwrap();
    assert_eq!((approved.state(), approved.totals.unwrap().rejected), (RunState::Applied, 300));
    assert_eq!(completed(), before, "a file that says nothing does not make old numbers fresh");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_with_many_codes_that_the_shop_does_not_sell_is_not_suspect_for_it() {
    let rows = numbered(300, |row| row % 50 + 10);
    let sold = many(300).1.split(' ').take(200).collect::<Vec<_>>().join(" ");
    let world = World::feed(FeedMode::Full, &sold).await;
    for minute in 0..8 {
        let run = world.upload(minute, &rows).await;
        assert_eq!((run.state(), run.warnings.as_slice()), (RunState::Applied, [].as_slice()), "file {minute}");
    }
}
