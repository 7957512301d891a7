//! Offers.

use holdfast_api::catalog::v1 as wire;
use holdfast_api::error::v1::ErrorReason as R;
use tonic::Response;

use crate::world::{World, id, reason, spec, subjects, violations};

/// A world with the vendors `acme` and `zeta`, the locations `berlin` and `wien` and the SKUs `A`, `B`, `C`.
async fn world() -> World {
    let world = World::new().await;
    world.vendor("acme").await;
    world.vendor("zeta").await;
    world.location("berlin").await;
    world.location("wien").await;
    world.skus(&["A", "B", "C"]).await;
    world
}

fn offer(vendor: &str, location: &str, vendor_sku: &str, sku: &str, pack_size: i64) -> wire::Offer {
    let [vendor, location, vendor_sku, sku] = [vendor, location, vendor_sku, sku].map(String::from);
    wire::Offer { vendor, vendor_sku, location, sku, pack_size, create_time: None }
}

fn batch(offers: &[wire::Offer]) -> wire::BatchCreateOffersRequest {
    wire::BatchCreateOffersRequest { request_id: id(), offers: offers.to_vec() }
}

async fn create(world: &World, offers: &[wire::Offer]) -> (i64, i64) {
    let created = world.client.clone().batch_create_offers(batch(offers)).await.unwrap().into_inner();
    (created.created, created.unchanged)
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_read_back_in_the_order_asked_for() {
    let world = world().await;
    let offers = [
        offer("acme", "berlin", "v1", "A", 0),
        offer("acme", "berlin", "v 2", "B", 12),
        offer("acme", "wien", "v1", "C", 100_000),
    ];
    assert_eq!(create(&world, &offers).await, (3, 0));
    let request = wire::BatchGetOffersRequest {
        vendor: "acme".into(),
        location: "berlin".into(),
        vendor_skus: ["v 2", "nix", "v1", "v 2"].map(String::from).to_vec(),
    };
    let got = world.client.clone().batch_get_offers(request).await.unwrap().into_inner();
    let seen: Vec<_> =
        got.offers.iter().map(|offer| (offer.vendor_sku.as_str(), offer.sku.as_str(), offer.pack_size)).collect();
    assert_eq!(seen, [("v 2", "B", 12), ("v1", "A", 1)]);
    assert!(got.offers.iter().all(|offer| offer.create_time.is_some()));
    assert_eq!(got.missing_vendor_skus, ["nix"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_that_are_there_already_are_left_as_they_are() {
    let world = world().await;
    let one = offer("acme", "berlin", "v1", "A", 1);
    assert_eq!(create(&world, std::slice::from_ref(&one)).await, (1, 0));
    let more = [one.clone(), offer("acme", "berlin", "v2", "A", 1), one.clone()];
    let request = batch(&more);
    let first = world.client.clone().batch_create_offers(request.clone()).await.unwrap().into_inner();
    assert_eq!((first.created, first.unchanged), (1, 2));
    let again = world.client.clone().batch_create_offers(request.clone()).await.unwrap().into_inner();
    assert_eq!(again, first, "a replay answers what was answered first, not what it would do now");
    let other = wire::BatchCreateOffersRequest { offers: vec![one], ..request };
    assert_eq!(reason(world.client.clone().batch_create_offers(other).await), R::KeyReused);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_offer_with_other_content_stops_the_whole_batch() {
    let world = world().await;
    create(&world, &[offer("acme", "berlin", "v1", "A", 1), offer("acme", "berlin", "v2", "B", 6)]).await;
    let differing = [
        offer("acme", "berlin", "v0", "C", 1),
        offer("acme", "berlin", "v1", "B", 1),
        offer("acme", "berlin", "v2", "B", 12),
    ];
    let refused = world.client.clone().batch_create_offers(batch(&differing)).await.unwrap_err();
    assert_eq!(subjects(&refused), ["offer/acme/berlin/v1", "offer/acme/berlin/v2"]);
    assert_eq!(reason::<()>(Err(refused)), R::AlreadyExists);
    assert_eq!(world.number("SELECT count(*) FROM offer").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_unknown_references_are_named_and_nothing_is_created() {
    let world = world().await;
    let offers = [
        offer("acme", "berlin", "v1", "A", 1),
        offer("nobody", "nowhere", "v2", "NIX", 1),
        offer("acme", "berlin", "v3", "NIX2", 1),
    ];
    let refused = world.client.clone().batch_create_offers(batch(&offers)).await.unwrap_err();
    let mut named = subjects(&refused);
    named.sort();
    assert_eq!(named, ["location/nowhere", "sku/NIX", "sku/NIX2", "vendor/nobody"]);
    assert_eq!(reason::<()>(Err(refused)), R::UnknownReference);
    assert_eq!(world.number("SELECT count(*) FROM offer").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_fields_of_a_batch_that_are_wrong_are_said_at_once() {
    let world = world().await;
    let offers = [
        offer("a b", "", " ", "", -1),
        offer("acme", "berlin", "v1", "A", 100_001),
        offer("acme", "berlin", "v2", "A", 1),
        offer("acme", "berlin", "v2", "B", 1),
        offer("acme", "berlin", "v3", "A", i64::MAX),
    ];
    let (fields, total) = violations(world.client.clone().batch_create_offers(batch(&offers)).await);
    let wanted = [
        "offers[0].vendor",
        "offers[0].vendor_sku",
        "offers[0].location",
        "offers[0].sku",
        "offers[0].pack_size",
        "offers[1].pack_size",
        "offers[3]",
        "offers[4].pack_size",
    ];
    assert_eq!((fields, total), (wanted.map(String::from).to_vec(), 8));
    for count in [0, 1001] {
        let offers = vec![offer("acme", "berlin", "v", "A", 1); count];
        assert_eq!(violations(world.client.clone().batch_create_offers(batch(&offers)).await).0, ["offers"]);
    }
    let request = wire::BatchGetOffersRequest {
        vendor: "a b".into(),
        location: String::new(),
        vendor_skus: vec!["\u{1}".into()],
    };
    assert_eq!(
        violations(world.client.clone().batch_get_offers(request).await).0,
        ["vendor", "location", "vendor_skus[0]"]
    );
    let request =
        wire::BatchGetOffersRequest { vendor: "acme".into(), location: "berlin".into(), vendor_skus: Vec::new() };
    assert_eq!(violations(world.client.clone().batch_get_offers(request).await).0, ["vendor_skus"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_offers_are_created_at_once_also_by_batches_that_overlap_in_opposite_order() {
    let world = world().await;
    let rows: String = (0..1000).map(|number| format!("S{number:03},\n")).collect();
    world.import(spec(), format!("sku,name\n{rows}")).await.unwrap();
    let forward: Vec<_> = (0..1000)
        .map(|number| offer("acme", "berlin", &format!("{number:0>128}"), &format!("S{number:03}"), 1))
        .collect();
    let backward: Vec<_> = forward.iter().rev().cloned().collect();
    let batches: Vec<_> = (0..8)
        .map(|turn| {
            let (mut client, request) = (world.client.clone(), batch(if turn % 2 == 0 { &forward } else { &backward }));
            tokio::spawn(async move { client.batch_create_offers(request).await.map(Response::into_inner) })
        })
        .collect();
    let (mut created, mut unchanged) = (0, 0);
    for batch in batches {
        let answer = batch.await.unwrap().unwrap();
        created += answer.created;
        unchanged += answer.unchanged;
    }
    assert_eq!((created, unchanged), (1000, 7000));
    assert_eq!(world.number("SELECT count(*) FROM offer").await, 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_are_listed_by_vendor_by_sku_and_by_both() {
    let world = world().await;
    let offers = [
        offer("zeta", "berlin", "1", "A", 1),
        offer("acme", "wien", "1", "A", 1),
        offer("acme", "berlin", "2", "B", 1),
        offer("acme", "berlin", "1", "A", 1),
        offer("acme", "berlin", "10", "A", 1),
        offer("zeta", "wien", "1", "B", 1),
    ];
    create(&world, &offers).await;
    let all = ["acme/berlin/1", "acme/berlin/10", "acme/berlin/2", "acme/wien/1", "zeta/berlin/1", "zeta/wien/1"];
    for (vendor, sku, wanted) in [
        ("", "", &all[..]),
        ("acme", "", &all[..4]),
        ("zeta", "", &all[4..]),
        ("", "A", &["acme/berlin/1", "acme/berlin/10", "acme/wien/1", "zeta/berlin/1"]),
        ("acme", "A", &["acme/berlin/1", "acme/berlin/10", "acme/wien/1"]),
        ("nobody", "", &[]),
        ("", "C", &[]),
    ] {
        for page_size in [1, 2, 100] {
            assert_eq!(list(&world, page_size, vendor, sku).await, wanted, "{vendor} {sku} by {page_size}");
        }
    }
}

/// All pages of a list; a token must not fit another filter.
async fn list(world: &World, page_size: i32, vendor: &str, sku: &str) -> Vec<String> {
    let mut client = world.client.clone();
    let mut request =
        wire::ListOffersRequest { page_size, page_token: String::new(), vendor: vendor.into(), sku: sku.into() };
    let mut seen = Vec::new();
    loop {
        let page = client.list_offers(request.clone()).await.unwrap().into_inner();
        seen.extend(
            page.offers.iter().map(|offer| format!("{}/{}/{}", offer.vendor, offer.location, offer.vendor_sku)),
        );
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return seen;
        }
        let other = wire::ListOffersRequest { vendor: "other".into(), ..request.clone() };
        assert_eq!(reason(client.list_offers(other).await), R::InvalidPageToken);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_of_lists_are_checked() {
    let world = world().await;
    let wrong =
        wire::ListOffersRequest { page_size: -5, page_token: String::new(), vendor: "a b".into(), sku: " ".into() };
    assert_eq!(violations(world.client.clone().list_offers(wrong).await).0, ["page_size", "vendor", "sku"]);
}
