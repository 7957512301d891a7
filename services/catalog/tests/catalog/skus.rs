//! SKUs one by one and in lists.

use std::collections::{BTreeSet, HashMap};

use holdfast_api::catalog::v1 as wire;
use holdfast_api::error::v1::ErrorReason as R;
use tonic::Response;
use tonic_types::StatusExt as _;

use crate::world::{World, id, reason, sku, spec, violations};

fn chair() -> wire::Sku {
    wire::Sku {
        code: "CHAIR-ERGO-BLK".into(),
        name: "Ergonomischer Stuhl „Größe L“ 🪑".into(),
        gtin: "4006381333931".into(),
        attributes: HashMap::from([("colour".into(), "black".into()), ("empty".into(), String::new())]),
        ..Default::default()
    }
}

fn listing(page_size: i32, code_prefix: &str, page_token: &str) -> wire::ListSkusRequest {
    wire::ListSkusRequest {
        page_size,
        code_prefix: code_prefix.into(),
        page_token: page_token.into(),
        ..Default::default()
    }
}

fn codes(skus: &[wire::Sku]) -> Vec<&str> {
    skus.iter().map(|sku| sku.code.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_created_sku_reads_back_as_it_was_created() {
    let world = World::new().await;
    let created = world.create_sku(chair()).await.unwrap();
    assert_eq!(
        (&created.name, &created.gtin, &created.attributes),
        (&chair().name, &chair().gtin, &chair().attributes)
    );
    assert!(!created.etag.is_empty());
    assert!(created.create_time.is_some());
    assert_eq!(created.create_time, created.update_time);
    assert_eq!(world.sku("CHAIR-ERGO-BLK").await, created);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_sent_again_answers_what_it_answered_first_even_after_a_change() {
    let world = World::new().await;
    let request = wire::CreateSkuRequest {
        request_id: id(),
        sku: Some(wire::Sku { code: "A".into(), name: "old".into(), ..Default::default() }),
    };
    let first = world.client.clone().create_sku(request.clone()).await.unwrap().into_inner();
    world.import(spec(), "sku,name\nA,new\n").await.unwrap();
    let again = world.client.clone().create_sku(request).await.unwrap().into_inner();
    assert_eq!(again, first);
    let now = world.sku("A").await;
    assert_eq!(now.name, "new");
    assert_ne!(now.etag, first.sku.unwrap().etag, "the etag changes with the SKU");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_used_for_anything_else_changes_nothing() {
    let world = World::new().await;
    let request_id = id();
    let request = |sku| wire::CreateSkuRequest { request_id: request_id.clone(), sku: Some(sku) };
    world.client.clone().create_sku(request(chair())).await.unwrap();
    let mut renamed = chair();
    renamed.attributes.insert("colour".into(), "red".into());
    for other in [sku("B"), renamed] {
        assert_eq!(reason(world.client.clone().create_sku(request(other)).await), R::KeyReused);
    }
    let vendor = wire::Vendor { code: "acme".into(), ..Default::default() };
    let vendor = wire::CreateVendorRequest { request_id: request_id.clone(), vendor: Some(vendor) };
    assert_eq!(reason(world.client.clone().create_vendor(vendor).await), R::KeyReused);
    let mut import = spec();
    import.request_id = request_id;
    assert_eq!(reason(world.import(import, "sku,name\nC,c\n").await), R::KeyReused);
    assert_eq!(codes(&world.all_skus().await), ["CHAIR-ERGO-BLK"]);
    assert_eq!(world.number("SELECT count(*) FROM vendor").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_fills_in_does_not_make_another_request() {
    let world = World::new().await;
    let request_id = id();
    let mut request = wire::CreateSkuRequest { request_id, sku: Some(chair()) };
    let first = world.client.clone().create_sku(request.clone()).await.unwrap().into_inner();
    request.sku = first.sku.clone();
    assert_eq!(world.client.clone().create_sku(request).await.unwrap().into_inner(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_creates_of_one_code_at_once_one_wins_and_the_others_hear_that_it_exists() {
    let world = World::new().await;
    let creates: Vec<_> = (0..24)
        .map(|number| {
            let mut client = world.client.clone();
            let sku = wire::Sku { code: "A".into(), name: format!("number {number}"), ..Default::default() };
            tokio::spawn(
                async move { client.create_sku(wire::CreateSkuRequest { request_id: id(), sku: Some(sku) }).await },
            )
        })
        .collect();
    let mut won = Vec::new();
    for create in creates {
        match create.await.unwrap() {
            Ok(created) => won.push(created.into_inner().sku.unwrap()),
            refused => assert_eq!(reason(refused), R::AlreadyExists),
        }
    }
    assert_eq!(won.len(), 1);
    assert_eq!(world.sku("A").await, won[0]);
    assert_eq!(world.number("SELECT count(*) FROM request").await, 1, "a refusal leaves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_create_sent_many_times_at_once_gets_one_answer() {
    let world = World::new().await;
    let request = wire::CreateSkuRequest { request_id: id(), sku: Some(chair()) };
    let creates: Vec<_> = (0..24)
        .map(|_| {
            let (mut client, request) = (world.client.clone(), request.clone());
            tokio::spawn(async move { client.create_sku(request).await.map(Response::into_inner) })
        })
        .collect();
    let mut answers = Vec::new();
    for create in creates {
        answers.push(create.await.unwrap().unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(world.number("SELECT count(*) FROM sku").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_leaves_its_key_free() {
    let world = World::new().await;
    world.skus(&["A"]).await;
    let mut request = wire::CreateSkuRequest { request_id: id(), sku: Some(sku("A")) };
    let refused = world.client.clone().create_sku(request.clone()).await.unwrap_err();
    let resource = refused.get_details_resource_info().unwrap();
    assert_eq!((resource.resource_type.as_str(), resource.resource_name.as_str()), ("sku", "A"));
    assert_eq!(reason::<()>(Err(refused)), R::AlreadyExists);
    request.sku = Some(sku("B"));
    world.client.clone().create_sku(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_fields_that_are_wrong_are_said_at_once_and_nothing_is_created() {
    let world = World::new().await;
    let request = wire::CreateSkuRequest {
        request_id: "no uuid".into(),
        sku: Some(wire::Sku {
            code: " A\u{7}".into(),
            name: "x".repeat(501),
            gtin: "4006381333930".into(),
            attributes: HashMap::from([(String::new(), "v".into()), ("k".into(), "v".repeat(501))]),
            ..Default::default()
        }),
    };
    let (mut fields, total) = violations(world.client.clone().create_sku(request).await);
    fields.sort();
    let wanted =
        ["request_id", "sku.attributes[\"\"] (key)", "sku.attributes[\"k\"]", "sku.code", "sku.gtin", "sku.name"];
    assert_eq!((fields, total), (wanted.map(String::from).to_vec(), 6));
    assert!(world.all_skus().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_violations_twenty_are_listed_and_all_counted() {
    let world = World::new().await;
    let attributes = (0..60).map(|key| (format!("k{key}"), "\u{0}".into())).collect();
    let (fields, total) = violations(world.create_sku(wire::Sku { attributes, ..sku("A") }).await);
    assert_eq!((fields.len(), total), (20, 61), "sixty values, and too many of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_codes_are_taken_or_refused_as_the_proto_says() {
    let world = World::new().await;
    for good in
        ["a b", "Ä'\"\\%_;--", "0", &"x".repeat(128), &"ü".repeat(64), "🪑", "\u{a0}x\u{200b}y", "{sku}", "\u{10ffff}"]
    {
        let created = world.create_sku(sku(good)).await;
        // White space at the ends is Unicode's, a no-break space too.
        assert_eq!(created.is_ok(), good.trim() == good, "{good:?}");
    }
    for bad in ["", " ", "a ", "\ta", "a\nb", "a\u{0}b", "a\u{85}b", &"x".repeat(129), &"ü".repeat(65)] {
        assert_eq!(reason(world.create_sku(sku(bad)).await), R::InvalidField, "{bad:?}");
        let get = wire::GetSkuRequest { code: bad.into() };
        assert_eq!(reason(world.client.clone().get_sku(get).await), R::InvalidField, "{bad:?}");
    }
    let request = wire::CreateSkuRequest { request_id: "00000000-0000-0000-0000-000000000000".into(), sku: None };
    assert_eq!(violations(world.client.clone().create_sku(request).await).0, ["sku", "request_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_code_is_named() {
    let world = World::new().await;
    let status = world.client.clone().get_sku(wire::GetSkuRequest { code: "NIX".into() }).await.unwrap_err();
    let resource = status.get_details_resource_info().unwrap();
    assert_eq!((resource.resource_type.as_str(), resource.resource_name.as_str()), ("sku", "NIX"));
    assert_eq!(reason::<()>(Err(status)), R::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_keeps_the_order_asked_for_and_names_what_is_missing() {
    let world = World::new().await;
    world.skus(&["A", "B", "C"]).await;
    let asked = ["C", "X", "A", "C", "Y", "X", "B"].map(String::from).to_vec();
    let got =
        world.client.clone().batch_get_skus(wire::BatchGetSkusRequest { codes: asked }).await.unwrap().into_inner();
    assert_eq!(codes(&got.skus), ["C", "A", "B"]);
    assert_eq!(got.missing_codes, ["X", "Y"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_one_to_a_thousand_codes() {
    let world = World::new().await;
    let batch = |count: usize| wire::BatchGetSkusRequest {
        codes: (0..count).map(|number| format!("{number:0>128}")).collect(),
    };
    assert_eq!(world.client.clone().batch_get_skus(batch(1000)).await.unwrap().into_inner().missing_codes.len(), 1000);
    for count in [0, 1001] {
        assert_eq!(violations(world.client.clone().batch_get_skus(batch(count)).await), (vec!["codes".into()], 1));
    }
    let request = wire::BatchGetSkusRequest { codes: vec!["A".into(), String::new(), " ".into()] };
    assert_eq!(violations(world.client.clone().batch_get_skus(request).await).0, ["codes[1]", "codes[2]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_would_be_too_large_is_refused_and_a_page_is_cut() {
    let world = World::with(&[("LIMITS__RESPONSE_BYTES_MAX", "3000")]).await;
    for code in ["A", "B", "C"] {
        world
            .create_sku(wire::Sku {
                name: "n".repeat(500),
                attributes: HashMap::from([("a".into(), "v".repeat(500))]),
                ..sku(code)
            })
            .await
            .unwrap();
    }
    let batch = wire::BatchGetSkusRequest { codes: ["A", "B", "C"].map(String::from).to_vec() };
    assert_eq!(reason(world.client.clone().batch_get_skus(batch).await), R::MessageTooLarge);
    let page = world.client.clone().list_skus(listing(10, "", "")).await.unwrap().into_inner();
    assert_eq!(codes(&page.skus), ["A", "B"]);
    assert_eq!(codes(&world.all_skus().await), ["A", "B", "C"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_the_bytes_of_the_codes_whatever_changes_between_them() {
    let world = World::new().await;
    world.skus(&["b", "a", "B", "é", "A", "c", "~"]).await;
    let mut seen = Vec::new();
    let mut token = String::new();
    for late in ["0", "C", "bb", "zz"] {
        let page = world.client.clone().list_skus(listing(2, "", &token)).await.unwrap().into_inner();
        seen.extend(page.skus.iter().map(|sku| sku.code.clone()));
        token = page.next_page_token;
        world.skus(&[late]).await;
    }
    while !token.is_empty() {
        let page = world.client.clone().list_skus(listing(2, "", &token)).await.unwrap().into_inner();
        seen.extend(page.skus.iter().map(|sku| sku.code.clone()));
        token = page.next_page_token;
    }
    assert!(seen.is_sorted(), "{seen:?}");
    let distinct: BTreeSet<_> = seen.iter().map(String::as_str).collect();
    assert_eq!(distinct.len(), seen.len(), "nothing twice: {seen:?}");
    assert!(["b", "a", "B", "é", "A", "c", "~"].iter().all(|code| distinct.contains(code)), "nothing lost: {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_is_taken_literally() {
    let world = World::new().await;
    world.skus(&["A", "A%", "A%1", "A_", "AB", "B", "\u{10ffff}a", "\u{10ffff}b"]).await;
    for (prefix, wanted) in [
        ("A", vec!["A", "A%", "A%1", "AB", "A_"]),
        ("A%", vec!["A%", "A%1"]),
        ("A_", vec!["A_"]),
        ("\u{10ffff}", vec!["\u{10ffff}a", "\u{10ffff}b"]),
        ("X", vec![]),
    ] {
        let page = world.client.clone().list_skus(listing(0, prefix, "")).await.unwrap().into_inner();
        assert_eq!((codes(&page.skus), page.next_page_token.as_str()), (wanted, ""), "{prefix}");
    }
    assert_eq!(
        violations(world.client.clone().list_skus(listing(-1, "a\u{0}", "")).await).0,
        ["page_size", "code_prefix"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_belongs_to_one_list_with_its_filters() {
    let world = World::new().await;
    world.skus(&["A1", "A2", "A3"]).await;
    let page = world.client.clone().list_skus(listing(1, "A", "")).await.unwrap().into_inner();
    let token = page.next_page_token;
    let next = world.client.clone().list_skus(listing(5, "A", &token)).await.unwrap().into_inner();
    assert_eq!(codes(&next.skus), ["A2", "A3"], "the size of a page may change");
    for (prefix, token) in
        [("", token.as_str()), ("A1", &token), ("A", "x"), ("A", &token[1..]), ("A", "!"), ("A", &format!("{token}A"))]
    {
        assert_eq!(
            reason(world.client.clone().list_skus(listing(1, prefix, token)).await),
            R::InvalidPageToken,
            "{prefix} {token}"
        );
    }
    let vendors = wire::ListVendorsRequest { page_size: 1, page_token: token };
    assert_eq!(reason(world.client.clone().list_vendors(vendors).await), R::InvalidPageToken);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_as_long_as_asked_for_within_bounds() {
    let world = World::new().await;
    let rows: String = (0..1500).map(|number| format!("{number:04},\n")).collect();
    world.import(spec(), format!("sku,name\n{rows}")).await.unwrap();
    for (asked, got) in [(0, 100), (1, 1), (999, 999), (1001, 1000), (i32::MAX, 1000)] {
        let page = world.client.clone().list_skus(listing(asked, "", "")).await.unwrap().into_inner();
        assert_eq!(page.skus.len(), got);
        assert!(!page.next_page_token.is_empty());
    }
    let last = world.client.clone().list_skus(listing(100, "14", "")).await.unwrap().into_inner();
    assert_eq!((last.skus.len(), last.next_page_token.as_str()), (100, ""), "a full last page has no successor");
}
