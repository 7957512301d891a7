//! Finding SKUs by what a person remembers.

use std::time::Instant;

use holdfast_api::catalog::v1 as wire;
use holdfast_api::error::v1::ErrorReason as R;
use sqlx::{AssertSqlSafe, Executor as _};
use tonic::{Response, Status};

use crate::world::{World, reason, violations};

async fn page(world: &World, request: wire::SearchSkusRequest) -> Result<wire::SearchSkusResponse, Status> {
    world.client.clone().search_skus(request).await.map(Response::into_inner)
}

async fn find(world: &World, query: &str) -> Vec<String> {
    let found = page(world, wire::SearchSkusRequest { query: query.into(), ..Default::default() }).await.unwrap();
    let scores: Vec<f64> = found.matches.iter().map(|found| found.score).collect();
    assert!(scores.is_sorted_by(|one, other| one >= other) && scores.iter().all(|score| (0.0..=1.0).contains(score)));
    found.matches.into_iter().map(|found| found.sku.unwrap().code).collect()
}

async fn shop() -> World {
    let world = World::new().await;
    for (code, name, gtin) in [
        ("CHAIR-ERGO-BLK", "Ergonomic office chair, black", "4006381333931"),
        ("CHAIR-ERGO-RED", "Ergonomic office chair, red", ""),
        ("DESK-OAK", "Desk of solid oak", "96385074"),
        ("LAMP-1", "Leuchte „Größe L“", ""),
        ("SOCK-BW", "Socks black/white, size 3.5", ""),
        ("chair-erg", "Something else", ""),
        ("ÄRGER", "Ärger 100% pur_e", ""),
    ] {
        let sku = wire::Sku { code: code.into(), name: name.into(), gtin: gtin.into(), ..Default::default() };
        world.create_sku(sku).await.unwrap();
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_code_or_gtin_comes_first_whatever_its_case() {
    let world = shop().await;
    assert_eq!(find(&world, "chair-ergo-blk").await, ["CHAIR-ERGO-BLK"]);
    assert_eq!(find(&world, "CHAIR-ERG").await[0], "chair-erg", "the whole code before its beginnings");
    assert_eq!(find(&world, "chair-erg").await.len(), 3);
    assert_eq!(find(&world, "4006381333931").await[0], "CHAIR-ERGO-BLK");
    assert_eq!(find(&world, " 96385 ").await[0], "DESK-OAK", "the beginning of a GTIN");
    assert_eq!(find(&world, "ärger").await[0], "ÄRGER");
}

#[tokio::test(flavor = "multi_thread")]
async fn words_and_their_beginnings_are_found_in_any_order() {
    let world = shop().await;
    assert_eq!(find(&world, "chair black").await[0], "CHAIR-ERGO-BLK");
    assert_eq!(find(&world, "offi ergo red").await[0], "CHAIR-ERGO-RED");
    assert_eq!(find(&world, "white socks").await[0], "SOCK-BW");
    assert_eq!(find(&world, "3.5").await[0], "SOCK-BW");
    for query in ["grosse", "GRÖSSE", "größe l", "Grösse"] {
        assert_eq!(find(&world, query).await[0], "LAMP-1", "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_errors_are_forgiven() {
    let world = shop().await;
    for (query, code) in [
        ("ergnomic chair", "CHAIR-ERGO-BLK"),
        ("offcie chair red", "CHAIR-ERGO-RED"),
        ("CHAIR-ERG0-RED", "CHAIR-ERGO-RED"),
        ("4006381333913", "CHAIR-ERGO-BLK"),
        ("solid oka", "DESK-OAK"),
    ] {
        let found = find(&world, query).await;
        assert!(found.iter().take(2).any(|found| found == code), "{query}: {found:?}");
    }
    assert_eq!(find(&world, "bicycle").await, Vec::<String>::new(), "what is not there is not made up");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_is_more_than_text() {
    let world = shop().await;
    assert_eq!(find(&world, "100%").await, ["ÄRGER"]);
    let operators = "&|!<->():*'\"\\%_".repeat(20);
    for query in ["%%", "__", "''", "\\\\", "' OR 1=1 --", "a:* & !b", "((((", &operators[..200], "\u{1f600}\u{1f600}"]
    {
        assert!(find(&world, query).await.len() <= 1, "{query}");
    }
    for (query, size) in [("", 0), ("a", 0), (" a ", 0), ("a\u{0}b", 0), ("aa", -1)] {
        let request = wire::SearchSkusRequest { query: query.into(), page_size: size, ..Default::default() };
        assert_eq!(violations(page(&world, request).await).1, 1, "{query:?} {size}");
    }
    let long = wire::SearchSkusRequest { query: "ä".repeat(101), ..Default::default() };
    assert_eq!(violations(page(&world, long).await).0, ["query"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_search_have_each_match_once_and_belong_to_their_query() {
    let world = World::new().await;
    let admin = world.database.admin_pool().await;
    admin
        .execute("INSERT INTO sku (code, name, attributes) SELECT 'S' || n, 'Shirt of colour ' || n % 7, '{}' FROM generate_series(1, 50) n")
        .await
        .unwrap();
    world.archive("S7").await;
    let request = |page_token: String| wire::SearchSkusRequest {
        query: "shirt".into(),
        page_size: 7,
        page_token,
        ..Default::default()
    };
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let found = page(&world, request(token)).await.unwrap();
        all.extend(found.matches.into_iter().map(|found| found.sku.unwrap().code));
        token = found.next_page_token;
        if token.is_empty() {
            break;
        }
        // Who changes the catalog between two pages does not make a match come twice.
        admin.execute("UPDATE sku SET attributes = '{}', version = version + 1").await.unwrap();
    }
    assert_eq!(all.len(), 49);
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), 49);
    let token = page(&world, request(String::new())).await.unwrap().next_page_token;
    let other = wire::SearchSkusRequest { query: "shirts".into(), ..request(token.clone()) };
    assert_eq!(reason(page(&world, other).await), R::InvalidPageToken);
    let archived = wire::SearchSkusRequest { show: wire::SkuShow::Archived.into(), ..request(String::new()) };
    let found = page(&world, archived).await.unwrap();
    assert_eq!(found.matches.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_skus_are_searched_by_index() {
    let world = World::new().await;
    let admin = world.database.admin_pool().await;
    admin
        .execute(
            "INSERT INTO sku (code, name, gtin, attributes)
             SELECT 'ART-' || n, (ARRAY['Red','Blue','Green','Black'])[n % 4 + 1] || ' ' || (ARRAY['chair','table','shirt','lamp','socks'])[n % 5 + 1]
                 || ' model ' || md5(n::text), NULL, '{}'
             FROM generate_series(1, 100000) n; ANALYZE sku",
        )
        .await
        .unwrap();
    let mut connection = admin.acquire().await.unwrap();
    let query = include_str!("../../queries/sku_search.sql");
    connection.execute(AssertSqlSafe(format!("PREPARE search AS {query}"))).await.unwrap();
    let explain = "EXPLAIN EXECUTE search ('lmap modle', 'lmap:* & modle:*', false, 5000, NULL, NULL, 20)";
    let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(&mut *connection).await.unwrap();
    let plan = plan.join("\n");
    for index in ["sku_by_folded_code", "sku_by_gtin", "sku_by_words", "sku_by_trigrams"] {
        assert!(plan.contains(index), "{index} is not used:\n{plan}");
    }
    for (query, first) in [
        ("art-77777", Some("ART-77777")),
        ("green socks", None),
        ("gren sokcs", None),
        ("c4ca4238a0b923820dcc509a6f75849b", Some("ART-1")),
    ] {
        let began = Instant::now();
        let found = find(&world, query).await;
        eprintln!("{query}: {} found in {:?}", found.len(), began.elapsed());
        assert!(!found.is_empty(), "{query}");
        if let Some(first) = first {
            assert!(found[0] == first, "{query}: {found:?}");
        }
    }
}
