//! Imports of JSON Lines, and of selling policies in both formats.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use holdfast_api::catalog::v1 as wire;
use holdfast_api::error::v1::ErrorReason as R;

use crate::world::{World, reason, skipping, sku, spec, violations};

fn json(spec: wire::ImportSkusSpec) -> wire::ImportSkusSpec {
    wire::ImportSkusSpec { format: wire::ImportFormat::JsonLines.into(), ..spec }
}

fn with_policy(spec: wire::ImportSkusSpec) -> wire::ImportSkusSpec {
    let columns = wire::PolicyColumns {
        safety_stock: "safety".into(),
        backorder_limit: "backorder".into(),
        max_per_reservation: "most".into(),
        max_per_owner: "most_owner".into(),
        default_hold_seconds: "hold".into(),
        locations: "places".into(),
        ..Default::default()
    };
    wire::ImportSkusSpec { policy_columns: Some(columns), ..spec }
}

fn with_pace_caps_and_promises(spec: wire::ImportSkusSpec) -> wire::ImportSkusSpec {
    let columns = wire::PolicyColumns {
        max_per_minute: "pace".into(),
        channel_caps: "caps".into(),
        promise_time: "date".into(),
        promise_lead_seconds: "lead".into(),
        ..Default::default()
    };
    wire::ImportSkusSpec { policy_columns: Some(columns), ..spec }
}

fn counts(answer: &wire::ImportSkusResponse) -> [i64; 5] {
    [answer.rows, answer.created, answer.updated, answer.unchanged, answer.failed]
}

fn problems(answer: &wire::ImportSkusResponse) -> Vec<(i64, &str, &str)> {
    let all = answer.problems.iter();
    all.map(|problem| (problem.line, problem.column.as_str(), problem.description.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_simple_kind_become_text_and_no_digit_is_lost() {
    let world = World::new().await;
    let spec = wire::ImportSkusSpec {
        gtin_column: "gtin".into(),
        attribute_columns: ["n", "b", "s"].map(String::from).to_vec(),
        ..json(spec())
    };
    let file = "\u{feff}{\"sku\": 15970, \"name\": \"Gr\\u00f6\\u00dfe \\\"L\\\" \\ud83e\\ude91\", \"gtin\": 4006381333931, \"n\": 12345678901234567890.10, \"b\": true, \"s\": \" x \"}\r\n\n\
                {\"other\": {\"deep\": [1, {}]}, \"name\": null, \"sku\": \"B\", \"b\": false, \"n\": -1e3, \"s\": null}";
    for piece in [1, 7, 1000] {
        let answer = world
            .import_in(wire::ImportSkusSpec { request_id: crate::world::id(), ..spec.clone() }, file, piece)
            .await
            .unwrap();
        assert_eq!((answer.rows, problems(&answer)), (2, vec![]), "in pieces of {piece}");
    }
    let first = world.sku("15970").await;
    assert_eq!((first.name.as_str(), first.gtin.as_str()), ("Größe \"L\" 🪑", "4006381333931"));
    assert_eq!(first.attributes["n"], "12345678901234567890.10");
    assert_eq!((first.attributes["b"].as_str(), first.attributes["s"].as_str()), ("true", " x "));
    let second = world.sku("B").await;
    assert_eq!(
        (second.name.as_str(), second.attributes.len(), second.version),
        ("", 2, 1),
        "repeated, nothing changes"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_key_leaves_alone_and_null_takes_away() {
    let world = World::new().await;
    let spec = || wire::ImportSkusSpec {
        gtin_column: "gtin".into(),
        attribute_columns: vec!["colour".into(), "size".into()],
        ..json(spec())
    };
    let full = r#"{"sku":"A","name":"a","gtin":"96385074","colour":"red","size":"L"}"#;
    world.import(spec(), format!("{full}\n")).await.unwrap();
    let file = format!("{{\"sku\":\"A\",\"colour\":null}}\n{}\n", full.replace("\"A\"", "\"B\""));
    let answer = world.import(spec(), file).await.unwrap();
    assert_eq!(counts(&answer), [2, 1, 1, 0, 0]);
    let sku = world.sku("A").await;
    assert_eq!((sku.name.as_str(), sku.gtin.as_str(), sku.version), ("a", "96385074", 2));
    assert_eq!(sku.attributes.into_iter().collect::<Vec<_>>(), [("size".to_owned(), "L".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_line_is_said_with_its_line_and_its_key() {
    let world = World::with(&[("IMPORT__COLUMNS_MAX", "5")]).await;
    let lines = [
        r#"{"sku":"GOOD","name":"good"}"#,
        r#"{"sku":"A","name":"one","name":"two"}"#,
        r#"{"sku":"B","x":1,"x":2}"#,
        r#"{"sku":{"code":"C"},"name":[1]}"#,
        r#"{"name":"no code"}"#,
        r#"{"sku":null}"#,
        r#"{"sku":"D","name":"d""#,
        r#"["sku","E"]"#,
        r#"{"sku":"F"} {"sku":"G"}"#,
        r#"{"sku":"GOOD"}"#,
        r#"{"sku":"H","name":"\ud800"}"#,
        r#"{"sku":"I","a":1,"b":2,"c":3,"d":4,"e":5}"#,
        r#"{'sku':'J'}"#,
        r#"{"sku":"K","name":NaN}"#,
        "nonsense",
    ];
    let mut file = lines.join("\n").into_bytes();
    file.extend(b"\n{\"sku\":\"L\",\"name\":\"\xff\"}\n");
    let deep = format!("{{\"sku\":\"M\",\"x\":{}{}}}\n", "[".repeat(1000), "]".repeat(1000));
    file.extend(deep.into_bytes());
    let answer = world.import(json(skipping()), file).await.unwrap();
    let found: Vec<_> = problems(&answer).into_iter().map(|(line, column, _)| (line, column)).collect();
    assert_eq!(
        found,
        [
            (2, "name"),
            (3, "x"),
            (4, "sku"),
            (4, "name"),
            (5, "sku"),
            (6, "sku"),
            (7, ""),
            (8, ""),
            (9, ""),
            (10, "sku"),
            (11, "name"),
            (12, ""),
            (13, ""),
            (14, ""),
            (15, ""),
            (16, ""),
        ],
        "{:#?}",
        problems(&answer)
    );
    assert_eq!(counts(&answer), [17, 2, 0, 0, 15], "what nobody wants may be as deep as it likes");
    assert_eq!(world.all_skus().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_json_lines_are_refused_whole() {
    let world = World::with(&[("IMPORT__RECORD_BYTES_MAX", "1000")]).await;
    let long = format!("{{\"sku\":\"A\",\"name\":\"{}\"}}\n", "x".repeat(1001));
    for (file, message) in [
        ("", "the file is empty"),
        ("\n \n\r\n", "the file is empty"),
        (long.as_str(), "line 1 is longer than 1000 bytes"),
        ("{\"sku\":\"A\",\"title\":\"a\"}\n", "no line has the key \"name\"; others that there are: \"title\""),
    ] {
        for piece in [1, 2000] {
            let refused = world.import_in(json(skipping()), file, piece).await.unwrap_err();
            assert!(refused.message().starts_with(message), "{message} / {}", refused.message());
            assert_eq!(reason::<()>(Err(refused)), R::FileRefused);
        }
    }
    let wrong = wire::ImportSkusSpec { format: 9, ..spec() };
    assert_eq!(violations(world.import(wrong, "").await).0, ["spec.format"]);
    let wrong = wire::ImportSkusSpec { delimiter: ";".into(), ..json(spec()) };
    assert_eq!(violations(world.import(wrong, "").await).0, ["spec.delimiter"]);
    assert!(world.all_skus().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_imported_from_both_formats_and_repeated_without_a_change() {
    let world = World::new().await;
    world.location("wh1").await;
    world.location("wh2").await;
    let csv = "sku,name,safety,backorder,most,most_owner,hold,places\nA,a,2,5,10,20,600,wh2|wh1\nB,b,,0,,,,\n";
    let answer = world.import(with_policy(spec()), csv).await.unwrap();
    assert_eq!((counts(&answer), problems(&answer)), ([2, 2, 0, 0, 0], vec![]));
    let policy = wire::SellingPolicy {
        safety_stock: 2,
        backorder_limit: 5,
        max_per_reservation: 10,
        max_per_owner: 20,
        default_hold_duration: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
        locations: vec!["wh2".into(), "wh1".into()],
        ..Default::default()
    };
    assert_eq!(world.sku("A").await.policy, Some(policy.clone()));
    assert_eq!(world.sku("B").await.policy, None);
    let lines = "{\"sku\":\"A\",\"name\":\"a\",\"safety\":2,\"backorder\":5,\"most\":10,\"most_owner\":20,\"hold\":600,\"places\":\"wh2|wh1\"}\n{\"sku\":\"B\",\"safety\":null}\n";
    let answer = world.import(json(with_policy(spec())), lines).await.unwrap();
    assert_eq!(counts(&answer), [2, 0, 0, 2, 0]);
    assert_eq!(world.number("SELECT max(version) FROM sku").await, 1);
    let part = wire::ImportSkusSpec {
        policy_columns: Some(wire::PolicyColumns { safety_stock: "safety".into(), ..Default::default() }),
        ..spec()
    };
    let slow = wire::SellingPolicy { max_per_minute: 9, ..Default::default() };
    world.update(wire::Sku { policy: Some(slow), ..sku("A") }, &["policy.max_per_minute"]).await.unwrap();
    world.import(part, "sku,name,safety\nA,a,\n").await.unwrap();
    assert_eq!(
        world.sku("A").await.policy,
        Some(wire::SellingPolicy { safety_stock: 0, max_per_minute: 9, ..policy }),
        "the rest is left alone"
    );
    assert_eq!(world.number("SELECT count(*) FROM change WHERE policy").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn pace_caps_and_promises_are_imported_and_one_promise_takes_the_place_of_the_other() {
    let world = World::new().await;
    let spec = || with_pace_caps_and_promises(skipping());
    let csv = "sku,name,pace,caps,date,lead\nA,a,60,web=5|market=0,2026-03-01,\nB,b,,,,86400\nC,c,,,,\n\
               D,,1.5,,,\nE,,,web,,\nF,,,web=1|web=2,,\nG,,,,1.3.2026,\nH,,,,,31622401\nI,,,,2026-03-01,60\n";
    let answer = world.import(spec(), csv).await.unwrap();
    let found: Vec<_> = problems(&answer).into_iter().map(|(line, column, _)| (line, column)).collect();
    assert_eq!(found, [(5, "pace"), (6, "caps"), (7, "caps"), (8, "date"), (9, "lead"), (10, "lead")]);
    assert_eq!(counts(&answer), [9, 3, 0, 0, 6]);
    let cap = |channel: &str, quantity| wire::ChannelCap { channel: channel.into(), quantity };
    let day = prost_types::Timestamp { seconds: 1_772_323_200, nanos: 0 };
    let policy = wire::SellingPolicy {
        max_per_minute: 60,
        channel_caps: vec![cap("market", 0), cap("web", 5)],
        promise_time: Some(day),
        ..Default::default()
    };
    assert_eq!(world.sku("A").await.policy, Some(policy.clone()));
    let lead = Some(prost_types::Duration { seconds: 86_400, nanos: 0 });
    let after_a_day = wire::SellingPolicy { promise_lead_duration: lead, ..Default::default() };
    assert_eq!(world.sku("B").await.policy, Some(after_a_day));
    assert_eq!(world.sku("C").await.policy, None);
    let again = world.import(spec(), &csv[..csv.find("D,").unwrap()]).await.unwrap();
    assert_eq!(counts(&again), [3, 0, 0, 3, 0], "a repeated import changes nothing");
    let part = wire::ImportSkusSpec {
        policy_columns: Some(wire::PolicyColumns { promise_lead_seconds: "lead".into(), ..Default::default() }),
        ..skipping()
    };
    let answer = world.import(part, "sku,name,lead\nA,a,86400\nB,b,\n").await.unwrap();
    assert_eq!(counts(&answer), [2, 0, 2, 0, 0]);
    let changed = wire::SellingPolicy { promise_time: None, promise_lead_duration: lead, ..policy };
    assert_eq!(world.sku("A").await.policy, Some(changed), "the lead took the date's place, the rest is left alone");
    assert_eq!(world.sku("B").await.policy, None, "an empty cell takes it away");
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_do_not_fit_are_bad_rows() {
    let world = World::new().await;
    world.location("wh1").await;
    world
        .import(with_policy(spec()), "sku,name,safety,backorder,most,most_owner,hold,places\nHAS,,,3,,,,wh1\n")
        .await
        .unwrap();
    let csv = "sku,name,safety,backorder,most,most_owner,hold,places\n\
               A,,-1,,,,,\nB,,1.0,,,,,\nC,,\"1,000\",,,,,\nD,,,,1000001,,,\nE,,,,,,2592001,\n\
               F,,,,,,,moon\nG,,,,,,,wh1|wh1\nH,,,1,,,,\nI,,,1,,,,wh1\nHAS,,,,,,,\n";
    let answer = world.import(with_policy(skipping()), csv).await.unwrap();
    let found: Vec<_> = problems(&answer).into_iter().map(|(line, column, _)| (line, column)).collect();
    assert_eq!(
        found,
        [
            (2, "safety"),
            (3, "safety"),
            (4, "safety"),
            (5, "most"),
            (6, "hold"),
            (7, "places"),
            (8, "places"),
            (9, "places"),
        ]
    );
    assert_eq!(counts(&answer), [10, 1, 1, 0, 8]);
    // Only the record knows whether a SKU has a location for its backorders.
    let part = |spec| wire::ImportSkusSpec {
        policy_columns: Some(wire::PolicyColumns { backorder_limit: "backorder".into(), ..Default::default() }),
        ..spec
    };
    let csv = "sku,name,backorder\nI,,7\nHAS,,7\nNEW,,7\nNEW2,,\n";
    let answer = world.import(part(skipping()), csv).await.unwrap();
    assert_eq!(counts(&answer), [4, 1, 1, 0, 2]);
    let found: Vec<_> = problems(&answer).into_iter().map(|(line, column, _)| (line, column)).collect();
    assert_eq!(found, [(3, "backorder"), (4, "backorder")]);
    let answer = world.import(part(spec()), csv).await.unwrap();
    assert_eq!(counts(&answer), [4, 0, 0, 0, 4], "all or nothing holds for them, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_lines_with_policies_are_imported_in_under_a_minute_and_again_without_a_change() {
    let world = World::new().await;
    world.location("wh1").await;
    let mut file = String::new();
    for row in 0..100_000 {
        let safety = if row % 100 == 0 { "5" } else { "null" };
        writeln!(
            file,
            "{{\"sku\":\"SKU-{row:06}\",\"name\":\"Artikel Größe {row}\",\"colour\":\"Navy Blue\",\"safety\":{safety}}}"
        )
        .unwrap();
    }
    let columns = || wire::ImportSkusSpec {
        attribute_columns: vec!["colour".into()],
        policy_columns: Some(wire::PolicyColumns { safety_stock: "safety".into(), ..Default::default() }),
        ..json(spec())
    };
    let began = Instant::now();
    let answer = world.import_in(columns(), &file, 256 * 1024).await.unwrap();
    let took = began.elapsed();
    assert_eq!(counts(&answer), [100_000, 100_000, 0, 0, 0]);
    assert!(took < Duration::from_secs(60), "{took:?}");
    let again = world.import_in(columns(), &file, 1024 * 1024).await.unwrap();
    assert_eq!(counts(&again), [100_000, 0, 0, 100_000, 0]);
    assert_eq!(world.number("SELECT max(version) FROM sku").await, 1);
    assert_eq!(world.number("SELECT count(*) FROM change").await, 100_000);
    assert_eq!(world.number("SELECT count(*) FROM change WHERE policy").await, 1000, "the others have none");
    eprintln!("100,000 lines: first {took:?}, again {:?}", began.elapsed() - took);
}
