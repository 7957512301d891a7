//! The stream of an upload: its order, its size, its keys.

use holdfast_api::error::v1::ErrorReason as R;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::FeedMode;
use holdfast_api::vendorsync::v1::upload_feed_request::Part;
use holdfast_client::{Connection, Progress, RequestKey, VendorSyncClient};

use crate::world::{World, file, id, reason, spec, subjects, totals, violations};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_content_of_the_same_moment_is_one_run_however_often_it_is_sent() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR").await;
    let first = world.upload_file(0, file("a=3")).await.unwrap();
    assert!(!first.replayed);
    for _ in 0..3 {
        let again = world.upload_file(0, file("a=3")).await.unwrap();
        assert_eq!((again.run, again.replayed), (first.run.clone(), true));
    }
    assert_eq!(world.peers.landed(), 1);
    let later = world.upload_file(1, file("a=3")).await.unwrap();
    assert!(!later.replayed, "another moment is another run");
    assert_ne!(later.run.unwrap().run_id, first.run.unwrap().run_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_file_sent_ten_times_at_once_is_one_run() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR").await;
    let mut answers = Vec::new();
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (mut client, requests) = (world.client.clone(), parts(spec(0), &file("a=3")));
        set.spawn(async move { client.upload_feed(tokio_stream::iter(requests)).await });
    }
    while let Some(answer) = set.join_next().await {
        match answer.unwrap() {
            Ok(answer) => answers.push(answer.into_inner()),
            Err(status) => assert_eq!(reason::<()>(Err(status)), R::Overloaded, "all places are taken"),
        }
    }
    assert!(answers.len() >= 4, "as many as there are places");
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert_eq!((world.number("SELECT count(*) FROM run").await, world.peers.landed()), (1, 1));
}

fn parts(spec: wire::UploadFeedSpec, file: &str) -> Vec<wire::UploadFeedRequest> {
    [Part::Spec(spec), Part::Chunk(file.as_bytes().to_vec())]
        .map(|part| wire::UploadFeedRequest { part: Some(part) })
        .to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_is_for_one_upload() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR").await;
    let spec = spec(0);
    let first = world.upload_as(spec.clone(), file("a=3")).await.unwrap();
    let again = world.upload_as(spec.clone(), file("a=3")).await.unwrap();
    assert_eq!((again.run, again.replayed), (first.run, true));
    assert_eq!(reason(world.upload_as(spec.clone(), file("a=4")).await), R::KeyReused);
    let renamed = wire::UploadFeedSpec { file_name: "other.csv".into(), ..spec };
    assert_eq!(reason(world.upload_as(renamed, file("a=3")).await), R::KeyReused);
    assert_eq!((world.stock().as_str(), world.number("SELECT count(*) FROM run").await), ("CHAIR=3", 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_is_wrong_with_a_specification_is_said_at_once() {
    let world = World::feed(FeedMode::Partial, "").await;
    let wrong = wire::UploadFeedSpec {
        request_id: String::new(),
        connection: "a b".into(),
        as_of_time: None,
        file_name: "x".repeat(256),
        size_bytes: -1,
        ..wire::UploadFeedSpec::default()
    };
    let (fields, total) = violations(world.upload_as(wrong, "").await);
    assert_eq!(fields, ["spec.request_id", "spec.connection", "spec.file_name", "spec.size_bytes", "spec.as_of_time"]);
    assert_eq!(total, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moment_more_than_five_minutes_ahead_is_refused() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR").await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let at = |seconds: u64| wire::UploadFeedSpec {
        as_of_time: Some(prost_types::Timestamp { seconds: (now + seconds).try_into().unwrap(), nanos: 0 }),
        ..spec(0)
    };
    assert_eq!(violations(world.upload_as(at(400), file("a=3")).await).0, ["spec.as_of_time"]);
    assert_eq!(totals(&world.upload_as(at(200), file("a=3")).await.unwrap().run.unwrap()), [1, 1, 0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_to_a_connection_that_does_not_exist_is_refused_before_its_bytes() {
    let world = World::new().await;
    let unknown = wire::UploadFeedSpec { connection: "nobody".into(), ..spec(0) };
    let refused = world.upload_as(unknown, file("a=3")).await.unwrap_err();
    assert_eq!(subjects(&refused), ["connection/nobody"]);
    assert_eq!(reason::<()>(Err(refused)), R::UnknownReference);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_out_of_order_is_refused_and_leaves_nothing() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR").await;
    let chunk = || Some(Part::Chunk(b"x".to_vec()));
    let first = || Some(Part::Spec(spec(0)));
    let large = Some(Part::Chunk(vec![b'x'; 1024 * 1024 + 1]));
    for (parts, field) in [
        (vec![], "spec"),
        (vec![None], "spec"),
        (vec![chunk()], "spec"),
        (vec![first(), first()], "spec"),
        (vec![first(), chunk(), None], "chunk"),
        (vec![first(), large], "chunk"),
    ] {
        assert_eq!(violations(world.upload_parts(parts).await).0, [field]);
    }
    assert_eq!(world.number("SELECT count(*) FROM run").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_above_the_limit_is_refused_and_leaves_nothing() {
    let world = World::feed_with(FeedMode::Partial, "a:CHAIR", &[("UPLOADS__FILE_BYTES_MAX", "5000")]).await;
    assert_eq!(reason(world.upload_file(0, vec![b'x'; 5001]).await), R::MessageTooLarge);
    assert_eq!(world.number("SELECT count(*) FROM run").await, 0);
    let run = world.upload_file(0, vec![b'x'; 5000]).await.unwrap().run.unwrap();
    assert_eq!(run.state(), wire::RunState::Refused, "it is received, and no feed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_falls_silent_gives_its_place_back() {
    let keys = [("UPLOADS__IDLE_SECONDS_MAX", "1"), ("UPLOADS__AT_ONCE_MAX", "1")];
    let world = World::feed_with(FeedMode::Partial, "a:CHAIR", &keys).await;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut client = world.client.clone();
    let silent = tokio::spawn(async move { client.upload_feed(stream).await });
    sender.send(wire::UploadFeedRequest { part: Some(Part::Spec(spec(0))) }).await.unwrap();
    assert_eq!(reason(silent.await.unwrap()), R::DeadlineExceeded);
    assert_eq!(totals(&world.upload(0, "a=3").await), [1, 1, 0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_in_very_small_chunks_is_kept_in_large_parts() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR").await;
    world.peers.let_through(0);
    let text = file(&"a=3 ".repeat(500));
    let chunks = text.as_bytes().chunks(3).map(|bytes| Some(Part::Chunk(bytes.to_vec())));
    let upload = world.upload_parts(std::iter::once(Some(Part::Spec(spec(0)))).chain(chunks).collect());
    let parts = async {
        holdfast_testkit::eventually("the file is in the record", std::time::Duration::from_secs(20), || async {
            (world.number("SELECT count(*) FROM run").await == 1).then_some(())
        })
        .await;
        let parts = world.number("SELECT count(*) FROM run_content").await;
        world.peers.let_through(10);
        parts
    };
    let (answer, parts) = tokio::join!(upload, parts);
    assert_eq!((totals(&answer.unwrap().run.unwrap())[0], parts), (500, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rust_client_uploads_a_file_and_hears_of_its_progress() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR").await;
    let connection = Connection::builder(world.address.clone()).build().unwrap();
    let client = VendorSyncClient::new(&connection);
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let progress = {
        let sent = std::sync::Arc::clone(&sent);
        Progress::new(move |bytes| sent.store(bytes, std::sync::atomic::Ordering::SeqCst))
    };
    let content = bytes::Bytes::from(file("a=3"));
    let length = content.len() as u64;
    let key: RequestKey = id().parse().unwrap();
    let answer = client.upload_feed(key, spec(0), content, progress).await.unwrap();
    assert_eq!(totals(&answer.run.unwrap()), [1, 1, 0, 0, 0, 0]);
    assert_eq!(sent.load(std::sync::atomic::Ordering::SeqCst), length);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_has_not_the_size_announced_is_not_taken_for_a_whole_one() {
    let world = World::feed(FeedMode::Full, "a:CHAIR").await;
    let content = file("a=3");
    let size = i64::try_from(content.len()).unwrap();
    for size_bytes in [size - 1, size + 1] {
        let spec = wire::UploadFeedSpec { size_bytes, ..spec(0) };
        assert_eq!(reason(world.upload_as(spec, &content).await), R::FileRefused);
    }
    assert_eq!(world.number("SELECT count(*) FROM run").await, 0);
    let run = world.upload_as(wire::UploadFeedSpec { size_bytes: size, ..spec(0) }, &content).await.unwrap().run;
    assert_eq!(totals(&run.unwrap()), [1, 1, 0, 0, 0, 0]);
}
