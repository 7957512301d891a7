//! Catalog's offers: told in any order, as often as it likes, and used before catalog is asked.

use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast_api::error::v1::ErrorReason as R;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::{FeedMode, RunState};
use holdfast_testkit::eventually;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use tonic::Status;

use crate::world::{BERLIN, World, file, reason, violations};

const KEYS: &[(&str, &str)] = &[("CALLERS__UNAUTHENTICATED_ROLES", r#"["merchandiser", "catalog"]"#)];

/// A SKU's offers such as `"a b*12"`, all by the vendor and at the location of every test.
fn told(sku: &str, version: i64, offers: &str) -> wire::SkuOffers {
    let offer = |code: &str| {
        let (code, pack) = code.split_once('*').unwrap_or((code, "1"));
        wire::SkuOffer {
            vendor: "acme".to_owned(),
            location: BERLIN.to_owned(),
            vendor_sku: code.to_owned(),
            pack_size: pack.parse().unwrap(),
        }
    };
    let offers = offers.split_whitespace().map(offer).collect();
    wire::SkuOffers { sku: sku.to_owned(), version, offers, archived: false }
}

impl World {
    /// Tells offers; answers how many SKUs were new and how many known.
    async fn tell(&self, skus: Vec<wire::SkuOffers>) -> Result<(i64, i64), Status> {
        let answer = self.client.clone().apply_offers(wire::ApplyOffersRequest { skus }).await?.into_inner();
        Ok((answer.applied, answer.known))
    }

    /// What is known, in short: `CHAIR@2:a*1,b*12`.
    async fn mirror(&self) -> String {
        let rows: Vec<String> = sqlx::query_scalar(
            "SELECT concat(s.sku, '@', s.version, ':', string_agg(concat(o.vendor_sku, '*', o.pack_size), ',' ORDER BY o.vendor_sku))
             FROM sku_offers s LEFT JOIN offer o ON o.sku = s.sku GROUP BY s.sku, s.version ORDER BY s.sku",
        )
        .fetch_all(&self.database.admin_pool().await)
        .await
        .unwrap();
        rows.join(" ")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_catalog_told_maps_a_file_while_catalog_is_down() {
    let world = World::feed_with(FeedMode::Full, "", KEYS).await;
    assert_eq!(world.tell(vec![told("CHAIR", 1, "a"), told("CUP", 4, "b*12")]).await.unwrap(), (2, 0));
    world.peers.catalog_is_down.store(true, Ordering::SeqCst);
    let run = world.upload(0, "a=3 b=2").await;
    assert_eq!((run.state(), world.stock().as_str()), (RunState::Applied, "CHAIR=3 CUP=24"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_made_a_moment_ago_is_asked_for() {
    let world = World::feed_with(FeedMode::Full, "b:CUP", KEYS).await;
    world.tell(vec![told("CHAIR", 1, "a")]).await.unwrap();
    let calls = world.peers.catalog_calls.load(Ordering::SeqCst);
    let run = world.upload(0, "a=3 b=2").await;
    assert_eq!((run.state(), world.stock().as_str()), (RunState::Applied, "CHAIR=3 CUP=2"));
    assert!(world.peers.catalog_calls.load(Ordering::SeqCst) > calls);
    let calls = world.peers.catalog_calls.load(Ordering::SeqCst);
    world.tell(vec![told("CUP", 1, "b")]).await.unwrap();
    world.upload(1, "a=4 b=2").await;
    assert_eq!(world.peers.catalog_calls.load(Ordering::SeqCst), calls, "all is known now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_higher_version_replaces_what_is_known() {
    let world = World::with(KEYS).await;
    assert_eq!(world.tell(vec![told("CHAIR", 2, "a b*12")]).await.unwrap(), (1, 0));
    assert_eq!(world.tell(vec![told("CHAIR", 2, "a b*12")]).await.unwrap(), (0, 1), "repeated");
    assert_eq!(world.tell(vec![told("CHAIR", 1, "z"), told("CUP", 1, "")]).await.unwrap(), (1, 1), "late");
    assert_eq!(world.mirror().await, "CHAIR@2:a*1,b*12 CUP@1:*");
    assert_eq!(world.tell(vec![told("CHAIR", 7, "b*10")]).await.unwrap(), (1, 0));
    assert_eq!(world.mirror().await, "CHAIR@7:b*10 CUP@1:*");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_in_any_order_and_all_at_once_the_highest_versions_stay() {
    const SEED: u64 = 7;
    let world = World::with(KEYS).await;
    let mut all: Vec<wire::SkuOffers> = (0..20)
        .flat_map(|sku| {
            (1..=10).map(move |version| told(&format!("S{sku:02}"), version, &format!("a{sku} v{version}*{version}")))
        })
        .collect();
    all.extend(all.clone());
    all.shuffle(&mut rand::rngs::StdRng::seed_from_u64(SEED));
    let mut set = tokio::task::JoinSet::new();
    for batch in all.chunks(7) {
        let mut skus: Vec<wire::SkuOffers> = Vec::new();
        for told in batch {
            if skus.iter().all(|other| other.sku != told.sku) {
                skus.push(told.clone());
            }
        }
        let rest: Vec<_> = batch.iter().filter(|told| !skus.contains(told)).cloned().collect();
        for told in rest.into_iter().map(|told| vec![told]).chain([skus]) {
            let mut client = world.client.clone();
            set.spawn(async move { client.apply_offers(wire::ApplyOffersRequest { skus: told }).await.map(drop) });
        }
    }
    while let Some(answer) = set.join_next().await {
        answer.unwrap().unwrap();
    }
    let wanted: Vec<String> = (0..20).map(|sku| format!("S{sku:02}@10:a{sku}*1,v10*10")).collect();
    assert_eq!(world.mirror().await, wanted.join(" "), "seed {SEED}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_of_an_archived_sku_is_unmapped_and_says_so() {
    let world = World::feed_with(FeedMode::Full, "", KEYS).await;
    world.tell(vec![told("CHAIR", 1, "a"), told("CUP", 1, "b")]).await.unwrap();
    world.upload(0, "a=3 b=2").await;
    let archived = wire::SkuOffers { archived: true, ..told("CHAIR", 2, "a") };
    world.tell(vec![archived]).await.unwrap();
    world.peers.catalog_is_down.store(true, Ordering::SeqCst);
    let run = world.upload(1, "a=7 b=4").await;
    assert_eq!((run.state(), world.stock().as_str()), (RunState::Applied, "CHAIR=3 CUP=4"));
    let rows = world.rows(&run).await;
    assert_eq!((rows[0].outcome(), rows[0].note.as_str()), (wire::RowOutcome::Unmapped, "SKU CHAIR is archived"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_code_that_moves_between_skus_catalog_knows_whose_it_is() {
    let world = World::feed_with(FeedMode::Full, "a:CUP", KEYS).await;
    // The one that gets it is told before the one that gives it away, and their versions say nothing about each other.
    world.tell(vec![told("CHAIR", 9, "a")]).await.unwrap();
    world.tell(vec![told("CUP", 2, "a")]).await.unwrap();
    world.peers.catalog_is_down.store(true, Ordering::SeqCst);
    let upload = world.client.clone();
    let run = {
        let parts = [
            wire::upload_feed_request::Part::Spec(crate::world::spec(0)),
            wire::upload_feed_request::Part::Chunk(file("a=3").into_bytes()),
        ];
        let stream = tokio_stream::iter(parts.map(|part| wire::UploadFeedRequest { part: Some(part) }));
        let mut upload = upload;
        tokio::spawn(async move { upload.upload_feed(stream).await })
    };
    eventually("the run waits for catalog", Duration::from_secs(30), || async {
        (world.number("SELECT count(*) FROM run WHERE reason LIKE '%catalog%'").await == 1).then_some(())
    })
    .await;
    assert_eq!(world.stock(), "", "nothing was guessed");
    world.peers.catalog_is_down.store(false, Ordering::SeqCst);
    let run = run.await.unwrap().unwrap().into_inner().run.unwrap();
    assert_eq!((run.state(), world.stock().as_str()), (RunState::Applied, "CUP=3"));
    world.tell(vec![told("CHAIR", 10, "")]).await.unwrap();
    world.peers.catalog_is_down.store(true, Ordering::SeqCst);
    world.upload(1, "a=4").await;
    assert_eq!(world.stock(), "CUP=4", "both are told now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_refused_and_nothing_of_it_applied() {
    let world = World::with(KEYS).await;
    assert_eq!(violations(world.tell(vec![]).await).0, ["skus"]);
    let many = (0..1001).map(|n| told(&format!("S{n}"), 1, "")).collect();
    assert_eq!(violations(world.tell(many).await).0, ["skus"]);
    let wrong = vec![told("GOOD", 1, "a"), told("BAD", 0, "x*0 y*100001 z z"), told("GOOD", 2, "b"), told("", 1, "")];
    assert_eq!(
        violations(world.tell(wrong).await).0,
        [
            "skus[1].version",
            "skus[1].offers[0].pack_size",
            "skus[1].offers[1].pack_size",
            "skus[1].offers[3].vendor_sku",
            "skus[2].sku",
            "skus[3].sku",
        ]
    );
    assert_eq!(world.mirror().await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_catalog_tells_offers() {
    let world = World::new().await;
    assert_eq!(reason(world.tell(vec![told("CHAIR", 1, "a")]).await), R::Unauthenticated);
}
