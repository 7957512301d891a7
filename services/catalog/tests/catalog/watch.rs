//! Watching the catalog: the whole, and then every change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_api::catalog::v1 as wire;
use holdfast_api::catalog::v1::catalog_service_client::CatalogServiceClient;
use holdfast_api::catalog::v1::watch_skus_response::Event;
use holdfast_api::error::v1::ErrorReason as R;
use holdfast_testkit::{eventually, seed};
use rand::Rng as _;
use sqlx::Executor as _;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::world::{World, id, offer, reason, sku};

type Stream = Streaming<wire::WatchSkusResponse>;

async fn watch(client: &CatalogServiceClient<Channel>, token: &str) -> Result<Stream, Status> {
    let request = wire::WatchSkusRequest { resume_token: token.into() };
    client.clone().watch_skus(request).await.map(tonic::Response::into_inner)
}

/// The next message, or the error that ends the stream.
async fn next(stream: &mut Stream) -> Result<wire::WatchSkusResponse, Status> {
    let message = tokio::time::timeout(Duration::from_secs(30), stream.message()).await.expect("a message comes");
    Ok(message?.expect("a watch ends only with an error"))
}

/// What a watcher knows.
#[derive(Default)]
struct Watcher {
    token: String,
    known: BTreeMap<String, wire::SkuState>,
    ended: bool,
    states: usize,
}

impl Watcher {
    fn take(&mut self, message: wire::WatchSkusResponse) {
        assert!(!message.resume_token.is_empty());
        self.token = message.resume_token;
        match message.event.unwrap() {
            Event::State(state) => {
                self.states += 1;
                let sku = state.sku.clone().unwrap();
                let older = self.known.insert(sku.code.clone(), state);
                let older = older.map_or(0, |older| older.sku.unwrap().version);
                assert!(sku.version >= older, "{}: {} after {older}", sku.code, sku.version);
            }
            Event::SnapshotEnd(_) => self.ended = true,
            Event::Checkpoint(_) => {}
        }
    }

    async fn until_snapshot_end(&mut self, stream: &mut Stream) {
        while !self.ended {
            self.take(next(stream).await.unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_shows_the_whole_then_its_end_and_then_each_change_as_the_sku_stands() {
    let world = World::with(&[("WATCH__PAGE_SKUS", "2"), ("WATCH__CHECKPOINT_MS", "200")]).await;
    world.vendor("v").await;
    world.location("l").await;
    world.skus(&["A", "B", "C", "D", "E"]).await;
    world.offers(vec![offer("2", "A"), offer("1", "A")]).await.unwrap();
    world.archive("C").await;
    let mut stream = watch(&world.client, "").await.unwrap();
    let mut watcher = Watcher::default();
    watcher.until_snapshot_end(&mut stream).await;
    assert_eq!(watcher.known.keys().collect::<Vec<_>>(), ["A", "B", "C", "D", "E"]);
    let codes: Vec<_> = watcher.known["A"].offers.iter().map(|offer| offer.vendor_sku.as_str()).collect();
    assert_eq!(codes, ["1", "2"]);
    assert!(watcher.known["A"].offers[0].create_time.is_some());
    assert_eq!(watcher.known["C"].sku, Some(world.sku("C").await));
    let Event::Checkpoint(_) = next(&mut stream).await.unwrap().event.unwrap() else { panic!("nothing has changed") };

    let changed = world.keep_back("D", 7).await;
    loop {
        watcher.take(next(&mut stream).await.unwrap());
        if watcher.known["D"].sku.as_ref() == Some(&changed) {
            break;
        }
    }
    assert_eq!(watcher.states, 6, "only the SKU that changed came again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_on_where_it_was_taken_also_in_the_middle_of_the_whole() {
    let world = World::with(&[("WATCH__PAGE_SKUS", "3")]).await;
    let codes: Vec<String> = (10..30).map(|number| format!("S{number}")).collect();
    world.skus(&codes.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for taken in [1, 3, 7, 20] {
        let mut watcher = Watcher::default();
        let mut stream = watch(&world.client, "").await.unwrap();
        for _ in 0..taken {
            watcher.take(next(&mut stream).await.unwrap());
        }
        drop(stream);
        // What changes in between, in front of the token and behind it, is not missed.
        world.keep_back("S10", i64::from(taken)).await;
        world.keep_back("S29", i64::from(taken)).await;
        let new = format!("S0{taken}");
        world.skus(&[&new]).await;
        let mut stream = watch(&world.client, &watcher.token).await.unwrap();
        watcher.until_snapshot_end(&mut stream).await;
        for code in ["S10", "S29", &new] {
            let now = world.sku(code).await;
            while watcher.known.get(code).and_then(|state| state.sku.as_ref()) != Some(&now) {
                watcher.take(next(&mut stream).await.unwrap());
            }
        }
        assert_eq!(watcher.known.len(), world.all_skus().await.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_commits_late_is_not_missed_and_holds_nobody_up() {
    let world = World::with(&[("WATCH__CHECKPOINT_MS", "100")]).await;
    world.skus(&["A", "B"]).await;
    let admin = world.database.admin_pool().await;
    let mut late = admin.begin().await.unwrap();
    late.execute("UPDATE sku SET name = 'late', version = version + 1 WHERE code = 'A'").await.unwrap();
    let mut stream = watch(&world.client, "").await.unwrap();
    let mut watcher = Watcher::default();
    watcher.until_snapshot_end(&mut stream).await;
    let changed = world.keep_back("B", 1).await;
    while watcher.known["B"].sku.as_ref() != Some(&changed) {
        watcher.take(next(&mut stream).await.unwrap());
    }
    // Go on from a token that was made while the transaction was under way.
    let Event::Checkpoint(_) = ({
        let message = next(&mut stream).await.unwrap();
        watcher.token.clone_from(&message.resume_token);
        message.event.unwrap()
    }) else {
        panic!("B was told and A is not committed")
    };
    late.commit().await.unwrap();
    for token in [None, Some(watcher.token.clone())] {
        if let Some(token) = token {
            stream = watch(&world.client, &token).await.unwrap();
        }
        let mut found = None;
        for _message in 0..100 {
            if let Event::State(state) = next(&mut stream).await.unwrap().event.unwrap() {
                found = state.sku;
                break;
            }
        }
        let found = found.expect("the change is told within a hundred checkpoints");
        assert_eq!((found.code.as_str(), found.name.as_str()), ("A", "late"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_comes_and_goes_knows_in_the_end_what_many_writers_left() {
    let seed = seed();
    let world = World::with(&[("WATCH__PAGE_SKUS", "5"), ("WATCH__CHECKPOINT_MS", "50")]).await;
    world.vendor("v").await;
    world.location("l").await;
    let codes: Vec<String> = (0..12).map(|number| format!("S{number:02}")).collect();
    world.skus(&codes.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut writers = Vec::new();
    for writer in 0..4 {
        let (client, mut rng, codes) = (world.client.clone(), seed.rng(writer), codes.clone());
        writers.push(tokio::spawn(async move {
            for turn in 0..40 {
                let code = &codes[rng.random_range(0..codes.len())];
                write(client.clone(), rng.random_range(0..4), code, &format!("{writer}-{turn}")).await;
            }
        }));
    }
    let mut rng = seed.rng(99);
    let mut watcher = Watcher::default();
    let mut resumed = 0;
    while writers.iter().any(|writer| !writer.is_finished()) {
        let mut stream = watch(&world.client, &watcher.token).await.unwrap();
        for _ in 0..rng.random_range(1..15) {
            watcher.take(next(&mut stream).await.unwrap());
        }
        resumed += 1;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let mut stream = watch(&world.client, &watcher.token).await.unwrap();
    loop {
        let quiet = next(&mut stream).await.unwrap();
        let checkpoint = matches!(quiet.event, Some(Event::Checkpoint(_)));
        watcher.take(quiet);
        if checkpoint {
            break;
        }
    }
    let all = world.all_skus().await;
    assert!(all.len() > codes.len() && resumed > 3, "{} SKUs, resumed {resumed} times", all.len());
    let archived = world.number("SELECT count(*) FROM sku WHERE archive_time IS NOT NULL").await;
    assert_eq!(watcher.known.len(), all.len() + usize::try_from(archived).unwrap());
    for sku in all {
        assert_eq!(watcher.known[&sku.code].sku.as_ref(), Some(&sku));
    }
    let known: BTreeSet<String> = watcher
        .known
        .values()
        .flat_map(|state| state.offers.iter().map(|offer| format!("{}/{}", offer.sku, offer.vendor_sku)))
        .collect();
    let all_offers = wire::ListOffersRequest { page_size: 1000, ..Default::default() };
    let offers = world.client.clone().list_offers(all_offers).await.unwrap().into_inner().offers;
    assert_eq!(known, offers.iter().map(|offer| format!("{}/{}", offer.sku, offer.vendor_sku)).collect());
}

/// One of four kinds of writes.
async fn write(mut client: CatalogServiceClient<Channel>, kind: u32, code: &str, text: &str) {
    let done = match kind {
        0 => {
            let sku = wire::Sku { code: code.into(), name: text.into(), ..Default::default() };
            let update_mask = Some(prost_types::FieldMask { paths: vec!["name".into()] });
            let request =
                wire::UpdateSkuRequest { request_id: id(), sku: Some(sku), update_mask, validate_only: false };
            client.update_sku(request).await.map(drop)
        }
        1 => {
            let request = wire::BatchCreateOffersRequest { request_id: id(), offers: vec![offer(text, code)] };
            client.batch_create_offers(request).await.map(drop)
        }
        2 => {
            let request = wire::CreateSkuRequest { request_id: id(), sku: Some(sku(&format!("N-{text}"))) };
            client.create_sku(request).await.map(drop)
        }
        _ => {
            let request = wire::ArchiveSkuRequest { request_id: id(), code: code.into(), etag: String::new() };
            client.archive_sku(request).await.map(drop)
        }
    };
    done.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_none_or_too_old_are_told_apart() {
    let world = World::with(&[("WATCH__CHECKPOINT_MS", "50")]).await;
    world.skus(&["A", "B"]).await;
    let mut stream = watch(&world.client, "").await.unwrap();
    let mut watcher = Watcher::default();
    let first = next(&mut stream).await.unwrap().resume_token;
    watcher.until_snapshot_end(&mut stream).await;
    let admin = world.database.admin_pool().await;
    // Transactions of other tests, begun before these changes, count as long as they run.
    let settled = "SELECT bool_and(xid < pg_snapshot_xmin(pg_current_snapshot())) FROM change";
    let settled = || async { sqlx::query_scalar::<_, bool>(settled).fetch_one(&admin).await.unwrap().then_some(()) };
    eventually("nothing older is under way", Duration::from_secs(30), settled).await;
    for _checkpoint in 0..2 {
        watcher.take(next(&mut stream).await.unwrap());
    }
    drop(stream);
    let one = wire::ListSkusRequest { page_size: 1, ..Default::default() };
    let page_token = world.client.clone().list_skus(one).await.unwrap().into_inner().next_page_token;
    for wrong in ["x", "größer", &page_token, &first[..first.len() - 1]] {
        assert_eq!(reason(watch(&world.client, wrong).await), R::InvalidResumeToken, "{wrong}");
    }
    let store = world.store().await;
    assert_eq!(store.drop_changes(0, 100).await.unwrap(), 2);
    let mut stream = watch(&world.client, &watcher.token).await.unwrap();
    next(&mut stream).await.expect("what was dropped is older than this token");
    world.keep_back("A", 1).await;
    let dropped = || async { (store.drop_changes(0, 100).await.unwrap() == 1).then_some(()) };
    eventually("the change is dropped", Duration::from_secs(10), dropped).await;
    for token in [&watcher.token, &first] {
        let mut stream = watch(&world.client, token).await.unwrap();
        let ended = loop {
            match next(&mut stream).await {
                Ok(_) => {}
                Err(status) => break status,
            }
        };
        assert_eq!(reason::<()>(Err(ended)), R::ResumeTokenExpired);
    }
    admin.execute("UPDATE change_log SET log_id = gen_random_uuid()").await.unwrap();
    let mut stream = watch(&world.client, &watcher.token).await.unwrap();
    assert_eq!(reason(next(&mut stream).await), R::InvalidResumeToken, "a token of another life of the database");
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_are_bounded_and_a_place_is_free_again_when_one_goes() {
    let world = World::with(&[("WATCH__WATCHERS_MAX", "2")]).await;
    let first = watch(&world.client, "").await.unwrap();
    let _second = watch(&world.client, "").await.unwrap();
    assert_eq!(reason(watch(&world.client, "").await), R::Overloaded);
    drop(first);
    let place = || async { watch(&world.client, "").await.ok() };
    eventually("the place is free", Duration::from_secs(10), place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_does_not_read_holds_nobody_up_and_misses_nothing() {
    let world = World::with(&[("WATCH__PAGE_SKUS", "50")]).await;
    let admin = world.database.admin_pool().await;
    let long = "INSERT INTO sku (code, name, attributes) SELECT 'S' || n, repeat('x', 500), jsonb_build_object('a', repeat('y', 500)) FROM generate_series(1, 3000) n";
    admin.execute(long).await.unwrap();
    let mut slow = watch(&world.client, "").await.unwrap();
    for turn in 1..=20 {
        world.keep_back("S1", turn).await;
    }
    let mut watcher = Watcher::default();
    watcher.until_snapshot_end(&mut slow).await;
    let now = world.sku("S1").await;
    while watcher.known["S1"].sku.as_ref() != Some(&now) {
        watcher.take(next(&mut slow).await.unwrap());
    }
    assert_eq!(watcher.known.len(), 3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_ends_says_so_and_the_token_is_good_at_another_one() {
    let mut world = World::new().await;
    world.skus(&["A"]).await;
    let mut stream = watch(&world.client, "").await.unwrap();
    let mut watcher = Watcher::default();
    watcher.until_snapshot_end(&mut stream).await;
    world.shutdown.cancel();
    assert_eq!(reason(next(&mut stream).await), R::ShuttingDown);
    (&mut world.served).await.unwrap().unwrap();
    let replica = world.replica(&[("WATCH__CHECKPOINT_MS", "50")]).await;
    let mut stream = watch(&replica.client, &watcher.token).await.unwrap();
    let Event::Checkpoint(_) = next(&mut stream).await.unwrap().event.unwrap() else { panic!("nothing has changed") };
    let request = wire::ArchiveSkuRequest { request_id: id(), code: "A".into(), etag: String::new() };
    replica.client.clone().archive_sku(request).await.unwrap();
    let archived = loop {
        if let Event::State(state) = next(&mut stream).await.unwrap().event.unwrap() {
            break state.sku.unwrap();
        }
    };
    assert!(archived.archive_time.is_some());
    replica.shutdown.cancel();
    replica.served.await.unwrap().unwrap();
}
