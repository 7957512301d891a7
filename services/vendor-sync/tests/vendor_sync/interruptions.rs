//! Whatever breaks off, dies or does not answer: everything has its effect once, and nothing is lost that was received.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use holdfast_api::error::v1::ErrorReason;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::upload_feed_request::Part;
use holdfast_api::vendorsync::v1::{FeedMode, RunState};
use holdfast_stack::postgres::StopMode;
use holdfast_stack::process::{Process, Spec};
use holdfast_testkit::eventually;
use holdfast_vendor_sync::store::MIGRATOR;
use rand::Rng as _;
use tonic::Request;

use crate::world::{World, client, connection, file, many, reason, spec, totals};

/// Long enough for anything on a busy machine; no test waits for so long when it passes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Uploads with a deadline, in the background.
fn upload_in_background(
    world: &World,
    spec: wire::UploadFeedSpec,
    content: &str,
    deadline: Duration,
) -> tokio::task::JoinHandle<Result<wire::UploadFeedResponse, tonic::Status>> {
    let parts = [Part::Spec(spec), Part::Chunk(content.as_bytes().to_vec())];
    let stream = tokio_stream::iter(parts.map(|part| wire::UploadFeedRequest { part: Some(part) }));
    let mut client = world.client.clone();
    tokio::spawn(async move {
        let mut request = Request::new(stream);
        request.set_timeout(deadline);
        client.upload_feed(request).await.map(tonic::Response::into_inner)
    })
}

/// Every SKU of a file of [`many`] rows was set exactly once.
fn each_once(world: &World, rows: usize) {
    let stock = world.peers.stock.lock().unwrap();
    assert_eq!(stock.rows.len(), rows);
    for ((sku, _), row) in &stock.rows {
        assert_eq!((format!("S{:05}", row.on_hand), row.taken), (sku.clone(), 1));
    }
}

type Upload = tokio::task::JoinHandle<Result<tonic::Response<wire::UploadFeedResponse>, tonic::Status>>;

/// Begins an upload and leaves it open, with the only place taken. None if the look at the place had it: then the service has refused the upload.
async fn half_an_upload(world: &World) -> Option<(Upload, tokio::sync::mpsc::Sender<wire::UploadFeedRequest>)> {
    let (sender, receiver) = tokio::sync::mpsc::channel(2);
    let mut client = world.client.clone();
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let upload = tokio::spawn(async move { client.upload_feed(stream).await });
    for part in [Part::Spec(spec(0)), Part::Chunk(b"code,stock,name\na,3,x\n".to_vec())] {
        sender.send(wire::UploadFeedRequest { part: Some(part) }).await.ok()?;
    }
    while !upload.is_finished() {
        if reason(world.upload_parts(Vec::new()).await) == ErrorReason::Overloaded {
            return Some((upload, sender));
        }
    }
    None
}

async fn landed(world: &World, batches: usize) {
    eventually(&format!("{batches} batches landed"), PATIENCE, || async {
        (world.peers.landed() == batches).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_breaks_off_leaves_nothing_and_can_be_sent_again() {
    let world = World::feed_with(FeedMode::Full, "a:CHAIR b:CUP", &[("UPLOADS__AT_ONCE_MAX", "1")]).await;
    let spec = spec(0);
    for _ in 0..10 {
        // The call is cut while its stream is open, once the service has it: the half file must not be taken for a whole one.
        let (broken, sender) = eventually("the upload has the only place", PATIENCE, || half_an_upload(&world)).await;
        broken.abort();
        assert!(broken.await.unwrap_err().is_cancelled());
        drop(sender);
        let free = async || {
            let answer = world.upload_parts(Vec::new()).await;
            (reason(answer) == ErrorReason::InvalidField).then_some(())
        };
        eventually("the place is free again", PATIENCE, free).await;
    }
    assert_eq!(world.number("SELECT count(*) FROM run").await, 0);
    let answer = world.upload_as(spec, file("a=3 b=4")).await.unwrap();
    assert!(!answer.replayed);
    assert_eq!(world.stock(), "CHAIR=3 CUP=4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_reservation_is_down_the_answer_is_honest_and_the_run_goes_on_by_itself() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR").await;
    world.upload(-1, "a=2").await;
    world.peers.faults.down.store(true, Ordering::SeqCst);
    let upload = upload_in_background(&world, spec(0), &file("a=3"), Duration::from_secs(3));
    let run = upload.await.unwrap().expect("an answer before the deadline").run.unwrap();
    assert_eq!(run.state(), RunState::Applying);
    assert!(run.reason.starts_with("waiting for reservation"), "{}", run.reason);
    assert_eq!(world.report(&run).await, "", "what is there has to be known before a number is judged");
    world.peers.faults.down.store(false, Ordering::SeqCst);
    let run = world.finished(&run.run_id).await;
    assert_eq!((totals(&run), run.reason.as_str()), ([1, 1, 0, 0, 0, 0], ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_catalog_is_down_nothing_is_applied_and_nothing_is_taken_for_unmapped() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR").await;
    world.peers.catalog_is_down.store(true, Ordering::SeqCst);
    let upload = upload_in_background(&world, spec(0), &file("a=3"), Duration::from_secs(3));
    let run = upload.await.unwrap().unwrap().run.unwrap();
    assert_eq!(run.state(), RunState::Applying);
    assert!(run.reason.starts_with("waiting for catalog"), "{}", run.reason);
    assert_eq!(world.peers.landed(), 0);
    world.peers.catalog_is_down.store(false, Ordering::SeqCst);
    assert_eq!(totals(&world.finished(&run.run_id).await), [1, 1, 0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_asked_for_again_and_the_counts_land_once() {
    let (rows, offers) = many(50);
    let world = World::feed_with(FeedMode::Full, &offers, &[("RUNS__BATCH_COUNTS", "10")]).await;
    world.peers.faults.lost_answers.store(3, Ordering::SeqCst);
    let run = world.upload(0, &rows).await;
    assert_eq!(
        totals(&run),
        [50, 50, 0, 0, 0, 0],
        "the report has the first answers, not what a second count would say"
    );
    each_once(&world, 50);
    assert_eq!(world.peers.landed(), 5);
    assert!(world.peers.stock.lock().unwrap().calls > 5);
}

/// Makes the keys of all requests under way older than reservation remembers.
async fn forget_keys(world: &World) -> u64 {
    let older = "UPDATE run_batch SET request_id = (lpad(to_hex(('x' || substr(replace(request_id::text, '-', ''), 1, 12))::bit(48)::bigint - 40 * 86400000::bigint), 12, '0')
                     || substr(replace(request_id::text, '-', ''), 13))::uuid
                 WHERE done_time IS NULL";
    sqlx::query(older).execute(&world.database.admin_pool().await).await.unwrap().rows_affected()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_that_waited_for_longer_than_keys_are_remembered_land_once_under_new_ones() {
    let (rows, offers) = many(30);
    let mut world = World::feed_with(FeedMode::Full, &offers, &[("RUNS__BATCH_COUNTS", "10")]).await;
    world.shutdown.cancel();
    (&mut world.served).await.unwrap().unwrap();
    // The first request lands, and its answer is lost; the service dies before it gets another, and is dead for long.
    world.peers.faults.lost_answers.store(1, Ordering::SeqCst);
    world.peers.let_through(1);
    let mut process = Killable::start(&world).await;
    world.client = client(&process.address);
    let upload = upload_in_background(&world, spec(0), &file(&rows), PATIENCE);
    landed(&world, 1).await;
    process.kill().await;
    assert!(upload.await.unwrap().is_err(), "nobody was told that it is done");
    assert_eq!(forget_keys(&world).await, 3);

    world.peers.let_through(1_000);
    world.start_again().await;
    let run = world.finished(&newest_run(&world).await).await;
    assert_eq!((run.state(), totals(&run)[0]), (RunState::Applied, 30));
    each_once(&world, 30);
    assert_eq!(world.number("SELECT count(*) FROM run_batch WHERE revision = 1 AND done_time IS NOT NULL").await, 3);
    assert_eq!(world.number("SELECT count(*) FROM feed_state").await, 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_killed_in_the_middle_of_applying_goes_on_where_it_stopped() {
    let (rows, offers) = many(100);
    // A process of its own is killed, so the world's service is only there for the record and for the end.
    for survive in [0, 1, 4, 9] {
        let mut world = World::feed_with(FeedMode::Full, &offers, &[("RUNS__BATCH_COUNTS", "10")]).await;
        world.shutdown.cancel();
        (&mut world.served).await.unwrap().unwrap();
        world.peers.let_through(survive);

        let mut process = Killable::start(&world).await;
        world.client = client(&process.address);
        let upload = upload_in_background(&world, spec(0), &file(&rows), PATIENCE);
        landed(&world, survive).await;
        eventually("the run is planned", PATIENCE, || async {
            (world.number("SELECT count(*) FROM run WHERE plan_time IS NOT NULL").await == 1).then_some(())
        })
        .await;
        process.kill().await;
        assert!(upload.await.unwrap().is_err(), "nobody was told that it is done");

        world.peers.let_through(1000);
        world.start_again().await;
        let run_id = newest_run(&world).await;
        assert_eq!(totals(&world.finished(&run_id).await), [100, 100, 0, 0, 0, 0]);
        each_once(&world, 100);
        assert_eq!(world.peers.landed(), 10, "after a kill behind {survive} batches");
        let again = world.upload_file(0, file(&rows)).await.unwrap();
        assert!(again.replayed && again.run.unwrap().run_id == run_id);
        assert_eq!(world.number("SELECT count(*) FROM feed_state").await, 100);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_at_any_moment_it_still_has_its_effect_once() {
    let (rows, offers) = many(400);
    let mut world = World::feed_with(FeedMode::Full, &offers, &[("RUNS__BATCH_COUNTS", "10")]).await;
    world.shutdown.cancel();
    (&mut world.served).await.unwrap().unwrap();
    let seed = holdfast_testkit::seed();
    let mut random = seed.rng(0);
    for _ in 0..6 {
        // Some answers get lost too, and the next life goes only so far.
        world.peers.faults.lost_answers.store(1, Ordering::SeqCst);
        let calls_before = world.peers.stock.lock().unwrap().calls;
        let calls = random.random_range(0..8);
        world.peers.let_through(calls);
        let mut process = Killable::start(&world).await;
        world.client = client(&process.address);
        let upload = upload_in_background(&world, spec(0), &file(&rows), PATIENCE);
        eventually("it went as far as it may", PATIENCE, || async {
            (world.peers.stock.lock().unwrap().calls == calls_before + calls).then_some(())
        })
        .await;
        process.kill().await;
        upload.abort();
    }
    world.peers.faults.lost_answers.store(0, Ordering::SeqCst);
    world.peers.let_through(1000);
    world.start_again().await;
    let answer = world.upload_file(0, file(&rows)).await.unwrap();
    assert_eq!(totals(&answer.run.unwrap()), [400, 400, 0, 0, 0, 0]);
    each_once(&world, 400);
    assert_eq!(world.peers.landed(), 40);
    assert_eq!(world.number("SELECT count(*) FROM run").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_ends_in_order_leaves_the_rest_to_the_next_one() {
    let (rows, offers) = many(100);
    let mut world = World::feed_with(FeedMode::Full, &offers, &[("RUNS__BATCH_COUNTS", "10")]).await;
    world.peers.let_through(3);
    let upload = upload_in_background(&world, spec(0), &file(&rows), PATIENCE);
    landed(&world, 3).await;
    world.shutdown.cancel();
    // What is under way at reservation is waited for, and not a batch more is begun.
    world.peers.let_through(2);
    (&mut world.served).await.unwrap().unwrap();
    drop(upload.await);
    assert!(world.peers.landed() <= 5);
    world.peers.let_through(1000);
    world.start_again().await;
    let run_id = newest_run(&world).await;
    assert_eq!(totals(&world.finished(&run_id).await), [100, 100, 0, 0, 0, 0]);
    each_once(&world, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_process_held_is_taken_over_when_its_lease_ends() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR").await;
    let admin = world.database.admin_pool().await;
    let hold = "UPDATE connection SET lease_holder = gen_random_uuid(), lease_until = clock_timestamp() + interval '2 seconds'";
    sqlx::query(hold).execute(&admin).await.unwrap();
    let started = Instant::now();
    let run = world.upload(0, "a=3").await;
    assert_eq!(totals(&run), [1, 1, 0, 0, 0, 0]);
    assert!(started.elapsed() > Duration::from_secs(1), "not while it was held");
    assert_eq!(
        world.number("SELECT count(*) FROM connection WHERE lease_holder IS NULL").await,
        1,
        "it is let go after"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_file_waits_for_the_earlier_one_of_its_connection() {
    let world = World::feed(FeedMode::Full, "a:CHAIR b:CUP").await;
    world.peers.let_through(0);
    let first = upload_in_background(&world, spec(0), &file("a=3 b=1"), PATIENCE);
    eventually("the first is in the record", PATIENCE, || async {
        (world.number("SELECT count(*) FROM run").await == 1).then_some(())
    })
    .await;
    let second = upload_in_background(&world, spec(1), &file("a=4"), PATIENCE);
    eventually("the second is in the record", PATIENCE, || async {
        (world.number("SELECT count(*) FROM run").await == 2).then_some(())
    })
    .await;
    world.peers.let_through(1000);
    let [first, second] = [first.await, second.await].map(|answer| answer.unwrap().unwrap().run.unwrap());
    assert_eq!(totals(&first), [2, 2, 0, 0, 0, 0]);
    assert_eq!(world.report(&second).await, "2:a:Applied 0:b:Applied", "it knew what the first one said");
    assert_eq!(world.stock(), "CHAIR=4 CUP=0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sent_again_a_run_goes_on_at_once() {
    let keys = [("RUNS__PAUSE_MS_MIN", "3600000"), ("RUNS__PAUSE_MS_MAX", "3600000")];
    let world = World::feed_with(FeedMode::Partial, "a:CHAIR", &keys).await;
    world.peers.faults.down.store(true, Ordering::SeqCst);
    let upload = upload_in_background(&world, spec(0), &file("a=3"), Duration::from_secs(4));
    assert_eq!(upload.await.unwrap().unwrap().run.unwrap().state(), RunState::Applying);
    world.peers.faults.down.store(false, Ordering::SeqCst);
    let again = world.upload_file(0, file("a=3")).await.unwrap();
    assert!(again.replayed);
    assert_eq!(totals(&again.run.unwrap()), [1, 1, 0, 0, 0, 0], "it did not wait for an hour");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_that_reservation_refuses_are_rejected_and_do_not_stop_their_neighbours() {
    let (rows, offers) = many(100);
    let world = World::feed_with(FeedMode::Full, &offers, &[("RUNS__BATCH_COUNTS", "50")]).await;
    // More than the 20 that one answer names.
    *world.peers.faults.refused_prefix.lock().unwrap() = Some("S0003".to_owned());
    let run = world.upload(0, &rows).await;
    assert_eq!(totals(&run), [100, 90, 0, 0, 0, 10]);
    let rejected: Vec<_> = world.rows(&run).await.into_iter().filter(|row| row.sku.starts_with("S0003")).collect();
    assert!(rejected.iter().all(|row| row.note.contains("reservation refuses it") && row.note.contains("is odd")));
    assert_eq!(world.number("SELECT count(*) FROM feed_state").await, 90, "what was not accepted was not said");

    *world.peers.faults.refused_prefix.lock().unwrap() = Some("S000".to_owned());
    let run = world.upload(1, &rows).await;
    assert_eq!(totals(&run), [100, 0, 0, 0, 0, 100], "batch by batch, 20 at a time");
    *world.peers.faults.refused_prefix.lock().unwrap() = None;
    let run = world.upload(2, &rows).await;
    assert_eq!(totals(&run), [100, 10, 90, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_reservation_refuses_as_a_whole_is_repeated_and_given_up_in_the_end() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR").await;
    world.peers.faults.refused_requests.store(3, Ordering::SeqCst);
    assert_eq!(totals(&world.upload(0, "a=3").await), [1, 1, 0, 0, 0, 0]);
    world.peers.faults.refused_requests.store(1000, Ordering::SeqCst);
    let run = world.upload(1, "a=4").await;
    assert_eq!((run.state(), totals(&run)), (RunState::Applied, [1, 0, 0, 0, 0, 1]));
    assert_eq!(world.stock(), "CHAIR=3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_gone_nothing_is_promised_and_afterwards_nothing_is_lost() {
    let (rows, offers) = many(100);
    let mut postgres = holdfast_testkit::private_postgres(false).await;
    let database = holdfast_testkit::database::database_on(postgres.info(), "vendor_sync", &MIGRATOR).await;
    let keys = [
        ("RUNS__BATCH_COUNTS", "10"),
        ("POSTGRES__ACQUIRE_TIMEOUT_MS", "500"),
        // A call that waits at reservation still waits when Postgres has been stopped.
        ("RESERVATION__CALL_TIMEOUT_MS", "60000"),
    ];
    let world = World::on(database, &keys).await;
    world.offers(&offers);
    world.create(connection(FeedMode::Full)).await.unwrap();
    world.peers.let_through(3);
    let upload = upload_in_background(&world, spec(0), &file(&rows), PATIENCE);
    landed(&world, 3).await;
    let under_way = || async { (world.peers.waiting() == 2).then_some(()) };
    eventually("two more are under way", PATIENCE, under_way).await;
    postgres.stop(StopMode::Immediate).await.unwrap();
    // What is under way lands, and its answer cannot be kept.
    world.peers.let_through(2);
    landed(&world, 5).await;
    let meanwhile = world.upload_file(1, file(&rows)).await;
    assert!(matches!(reason(meanwhile), ErrorReason::StoreUnavailable | ErrorReason::Overloaded));
    let impatient = upload_in_background(&world, spec(0), &file(&rows), Duration::from_secs(1)).await.unwrap();
    assert!(impatient.is_err());
    world.peers.let_through(1000);
    postgres.start_again().await.unwrap();
    let answer = upload.await.unwrap().expect("it was received, and waited for");
    assert_eq!(totals(&answer.run.unwrap()), [100, 100, 0, 0, 0, 0]);
    each_once(&world, 100);
    assert_eq!(world.peers.landed(), 10);
}

async fn newest_run(world: &World) -> String {
    let request = wire::ListRunsRequest { page_size: 1, ..Default::default() };
    world.client.clone().list_runs(request).await.unwrap().into_inner().runs.remove(0).run_id
}

/// The service as a process of its own, which can be killed like one.
/// A vendor-sync in a process of its own.
pub(crate) struct Killable {
    process: Process,
    pub(crate) address: String,
    folder: std::path::PathBuf,
}

impl Killable {
    pub(crate) async fn start(world: &World) -> Self {
        let folder = std::env::temp_dir().join(format!("holdfast-vendor-sync-{}", crate::world::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let announced = folder.join("announced.json");
        let spec = Spec::new("vendor-sync", env!("CARGO_BIN_EXE_holdfast-vendor-sync"))
            .arg("serve")
            .arg("--announce")
            .arg(&announced)
            .log(folder.join("log"));
        let environment = world.environment();
        let spec = environment.into_iter().fold(spec, |spec, (key, value)| spec.env(key, value));
        let process = Process::spawn(&spec).await.unwrap();
        let address = eventually("the process announces its address", PATIENCE, || async {
            let text = std::fs::read_to_string(&announced).ok()?;
            Some(text.split_once(r#""grpc":""#)?.1.split_once('"')?.0.to_owned())
        })
        .await;
        Self { process, address: format!("http://{address}"), folder }
    }

    pub(crate) async fn kill(&mut self) {
        self.process.check_alive().unwrap();
        self.process.kill().await.unwrap();
    }
}

impl Drop for Killable {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
