//! Imports that arrive whole.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_api::catalog::v1 as wire;
use holdfast_api::error::v1::ErrorReason as R;
use holdfast_testkit::eventually;
use tonic::Response;

use crate::world::{World, id, reason, skipping, sku, spec};

/// rows, created, updated, unchanged, failed, bad rows
type Counts = [i64; 6];

fn counts(answer: &wire::ImportSkusResponse) -> Counts {
    let wire::ImportSkusResponse { rows, created, updated, unchanged, failed, bad_rows, .. } = answer;
    assert_eq!(rows, &(created + updated + unchanged + failed), "{answer:?}");
    [*rows, *created, *updated, *unchanged, *failed, *bad_rows]
}

fn problems(answer: &wire::ImportSkusResponse) -> Vec<(i64, &str, &str)> {
    answer
        .problems
        .iter()
        .map(|problem| (problem.line, problem.column.as_str(), problem.description.as_str()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_says_is_counted_truly_each_time() {
    let world = World::new().await;
    let file = "name,sku,ignored\nChair,C-1,x\n\"Table, \"\"big\"\"\",T-1,\n,E-1,y\n";
    assert_eq!(counts(&world.import(spec(), file).await.unwrap()), [3, 3, 0, 0, 0, 0]);
    let first = world.sku("C-1").await;
    assert_eq!(world.sku("T-1").await.name, "Table, \"big\"");
    assert_eq!(world.sku("E-1").await.name, "");

    assert_eq!(counts(&world.import(spec(), file).await.unwrap()), [3, 0, 0, 3, 0, 0]);
    assert_eq!(world.sku("C-1").await, first, "an unchanged SKU keeps its etag and time");

    let file = "sku,name\nC-1,Chair\nT-1,Tisch\nN-1,New";
    assert_eq!(counts(&world.import(spec(), file).await.unwrap()), [3, 1, 1, 1, 0, 0]);
    let table = world.sku("T-1").await;
    assert_eq!(table.name, "Tisch");
    assert!(table.update_time.unwrap().nanos != table.create_time.unwrap().nanos);
}

#[tokio::test(flavor = "multi_thread")]
async fn however_a_file_is_cut_into_messages_the_same_is_imported() {
    let world = World::new().await;
    let file = "\u{feff}sku;name\r\nä;\"Z;1\r\nZ2\"\r\n\r\nb;Ümläut\r\n";
    let mut wanted = None;
    for piece in [1, 2, 3, 7, 1000] {
        let answer =
            world.import_in(wire::ImportSkusSpec { delimiter: ";".into(), ..skipping() }, file, piece).await.unwrap();
        assert_eq!(
            problems(&answer).iter().map(|(line, column, _)| (*line, *column)).collect::<Vec<_>>(),
            [(2, "name")],
            "line ends are no name"
        );
        let skus: Vec<_> = world.all_skus().await.into_iter().map(|sku| (sku.code, sku.name)).collect();
        assert_eq!(*wanted.get_or_insert(skus.clone()), skus);
        assert_eq!(skus, [("b".to_owned(), "Ümläut".to_owned())]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_has_no_column_for_is_left_alone() {
    let world = World::new().await;
    let attributes = HashMap::from([("colour".into(), "red".into()), ("size".into(), "L".into())]);
    world
        .create_sku(wire::Sku { name: "Shirt".into(), gtin: "96385074".into(), attributes, ..sku("S") })
        .await
        .unwrap();

    let columns = wire::ImportSkusSpec {
        name_column: String::new(),
        attribute_columns: vec!["colour".into(), "fit".into()],
        ..spec()
    };
    assert_eq!(
        counts(&world.import(columns.clone(), "sku,name,colour,fit\nS,x,blue,slim\n").await.unwrap()),
        [1, 0, 1, 0, 0, 0]
    );
    let shirt = world.sku("S").await;
    assert_eq!((shirt.name.as_str(), shirt.gtin.as_str()), ("Shirt", "96385074"));
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<HashMap<_, _>>()
    };
    assert_eq!(shirt.attributes, pairs(&[("colour", "blue"), ("fit", "slim"), ("size", "L")]));

    let again = wire::ImportSkusSpec { request_id: id(), ..columns };
    assert_eq!(counts(&world.import(again, "sku,colour,fit\nS,,slim\n").await.unwrap()), [1, 0, 1, 0, 0, 0]);
    assert_eq!(
        world.sku("S").await.attributes,
        pairs(&[("fit", "slim"), ("size", "L")]),
        "an empty cell takes the attribute away"
    );

    let gtins = wire::ImportSkusSpec { name_column: String::new(), gtin_column: "ean".into(), ..spec() };
    assert_eq!(counts(&world.import(gtins, "sku,ean\nS,\n").await.unwrap()), [1, 0, 1, 0, 0, 0]);
    assert_eq!(world.sku("S").await.gtin, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_are_reported_by_line_and_column_and_the_good_ones_imported() {
    let world = World::new().await;
    world.skus(&["OLD"]).await;
    let file = [
        b"sku,name,ean,c\n".as_slice(),
        b"A,a,4006381333931,x\n",
        b" B,b,,x\n",
        b"C,c,4006381333930,x\n",
        b"D,d\n",
        b"E,\xff\xfe,,x\n",
        b"\"F\nF\",f,12,\x07\n",
        b",g,,x\n",
        b"A,again,,x\n",
        b"H,h,,x,y\n",
        b"OLD,new,,x\n",
    ]
    .concat();
    let columns = wire::ImportSkusSpec { gtin_column: "ean".into(), attribute_columns: vec!["c".into()], ..skipping() };
    let answer = world.import(columns.clone(), &file).await.unwrap();
    assert_eq!(counts(&answer), [10, 1, 1, 0, 8, 8]);
    let places: Vec<_> = answer.problems.iter().map(|problem| (problem.line, problem.column.as_str())).collect();
    let wanted = [
        (3, "sku"),
        (4, "ean"),
        (5, ""),
        (6, "name"),
        (7, "sku"),
        (7, "ean"),
        (7, "c"),
        (9, "sku"),
        (10, "sku"),
        (11, ""),
    ];
    assert_eq!(places, wanted, "{answer:?}");
    let texts: HashMap<_, _> =
        answer.problems.iter().map(|problem| (problem.line, problem.description.as_str())).collect();
    assert_eq!(texts[&4], "is a GTIN with a wrong check digit");
    assert_eq!(texts[&5], "has 2 fields, the header has 4");
    assert_eq!(texts[&6], "is not UTF-8 from byte 1 on");
    assert_eq!(texts[&10], "is the code of line 2 again");
    assert_eq!(world.sku("A").await.name, "a");
    assert_eq!(world.sku("OLD").await.name, "new");

    let before = world.all_skus().await;
    let strict =
        wire::ImportSkusSpec { request_id: id(), error_mode: wire::ImportErrorMode::AllOrNothing.into(), ..columns };
    let answer = world.import(strict.clone(), [&file, b"N,n,,x\n".as_slice()].concat()).await.unwrap();
    assert_eq!(counts(&answer), [11, 0, 0, 0, 11, 8]);
    assert_eq!(world.all_skus().await, before, "one bad row and nothing is imported");

    let mended = world.import(strict, "sku,name,ean,c\nN,n,,x\n").await.unwrap();
    assert_eq!(counts(&mended), [1, 1, 0, 0, 0, 0], "the refusal left the key free for the mended file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_stands_twice_is_noticed_however_far_apart() {
    let world = World::with(&[("IMPORT__BATCH_ROWS_MAX", "10")]).await;
    let mut file = String::from("sku,name\n");
    for row in 0..95 {
        let code = if row % 40 == 39 { 3 } else { row };
        writeln!(file, "S{code},{row}").unwrap();
    }
    let answer = world.import(skipping(), &file).await.unwrap();
    assert_eq!(counts(&answer), [95, 93, 0, 0, 2, 2]);
    assert_eq!(
        problems(&answer),
        [(41, "sku", "is the code of line 5 again"), (81, "sku", "is the code of line 5 again")]
    );
    assert_eq!(world.sku("S3").await.name, "3", "the first row counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_hundred_problems_are_listed_and_all_bad_rows_counted() {
    let world = World::with(&[("IMPORT__BATCH_ROWS_MAX", "7")]).await;
    let rows: String =
        (0..500).map(|row| if row % 2 == 0 { format!("S{row},\u{1}\n") } else { format!("S{row},\n") }).collect();
    let answer = world.import(skipping(), format!("sku,name\n{rows}")).await.unwrap();
    assert_eq!(counts(&answer), [500, 250, 0, 0, 250, 250]);
    let lines: Vec<_> = answer.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, (0..100).map(|number| 2 + 2 * number).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sku_that_would_get_too_many_attributes_is_a_bad_row() {
    let world = World::new().await;
    let attributes = (0..49).map(|number| (format!("a{number}"), "v".to_owned())).collect();
    world.create_sku(wire::Sku { attributes, ..sku("FULL") }).await.unwrap();
    let columns = |spec| wire::ImportSkusSpec {
        name_column: String::new(),
        attribute_columns: ["a0", "b", "c"].map(String::from).to_vec(),
        ..spec
    };
    let file = "sku,a0,b,c\nFULL,x,y,z\nOTHER,x,y,z\n";
    let answer = world.import(columns(spec()), file).await.unwrap();
    assert_eq!(counts(&answer), [2, 0, 0, 0, 2, 1]);
    assert_eq!(world.all_skus().await.len(), 1, "all or nothing holds for what only the record knows");
    let answer = world.import(columns(skipping()), file).await.unwrap();
    assert_eq!(counts(&answer), [2, 1, 0, 0, 1, 1]);
    assert_eq!(problems(&answer)[0].0, 2);
    let answer = world.import(columns(skipping()), "sku,a0,b,c\nFULL,,y,z\n").await.unwrap();
    assert_eq!(counts(&answer), [1, 0, 1, 0, 0, 0], "one taken away, two added");
    assert_eq!(world.sku("FULL").await.attributes.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_sent_again_answers_what_it_answered_first() {
    let world = World::new().await;
    let (spec, file) = (spec(), "sku,name\nA,a\nB,b\n");
    let first = world.import(spec.clone(), file).await.unwrap();
    assert_eq!(counts(&first), [2, 2, 0, 0, 0, 0]);
    world.import(skipping(), "sku,name\nA,other\n").await.unwrap();
    assert_eq!(world.import_in(spec.clone(), file, 3).await.unwrap(), first, "cut differently, it is the same file");
    assert_eq!(world.sku("A").await.name, "other", "a replay has no effect");
    assert_eq!(reason(world.import(spec.clone(), "sku,name\nA,a\nB,c\n").await), R::KeyReused);
    let other = wire::ImportSkusSpec { name_column: String::new(), ..spec };
    assert_eq!(reason(world.import(other, file).await), R::KeyReused);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_import_sent_many_times_at_once_is_applied_once() {
    let world = World::with(&[("IMPORT__CONCURRENT_MAX", "4")]).await;
    let rows: String = (0..3000).map(|row| format!("S{row},{row}\n")).collect();
    let (spec, file) = (spec(), format!("sku,name\n{rows}"));
    let sends: [_; 4] = std::array::from_fn(|_| world.import(spec.clone(), &file));
    let [a, b, c, d] = sends;
    let (a, b, c, d) = tokio::join!(a, b, c, d);
    for answer in [a, b, c, d] {
        assert_eq!(counts(&answer.unwrap()), [3000, 3000, 0, 0, 0, 0], "each hears what the one that was applied did");
    }
    assert_eq!(world.number("SELECT count(*) FROM import WHERE state = 'APPLIED'").await, 1);
    assert_eq!(world.number("SELECT max(version) FROM sku").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_of_the_same_skus_at_once_do_not_hinder_each_other() {
    let world = World::with(&[("IMPORT__CONCURRENT_MAX", "4"), ("IMPORT__BATCH_ROWS_MAX", "100")]).await;
    let file = |turn: usize| {
        let mut rows: Vec<_> = (0..2000).map(|row| format!("S{row},{turn}")).collect();
        rows.rotate_left(turn * 500);
        format!("sku,name\n{}\n", rows.join("\n"))
    };
    let files: [String; 4] = std::array::from_fn(file);
    let [a, b, c, d] = std::array::from_fn(|turn| world.import(spec(), &files[turn]));
    let (a, b, c, d) = tokio::join!(a, b, c, d);
    let mut created = 0;
    for answer in [a, b, c, d] {
        created += counts(&answer.unwrap())[1];
    }
    assert_eq!(created, 2000);
    let names = world.number("SELECT count(DISTINCT name) FROM sku").await;
    assert_eq!(names, 1, "each import is one transaction: the last one's content stands in all rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_import_staged_is_dropped_after_it_and_its_outcome_is_kept() {
    let world = World::new().await;
    world.import(spec(), "sku,name\nA,a\nB,b\n").await.unwrap();
    world.import(spec(), "sku,name\nA,x\n,\n").await.unwrap();
    reason(world.import(spec(), "code,name\nA,a\n").await);
    let done = || async {
        let staged = world.number("SELECT count(*) FROM import_row").await;
        let open = world.number("SELECT count(*) FROM import WHERE state = 'STAGING'").await;
        (staged + open == 0).then_some(())
    };
    eventually("nothing staged is left", Duration::from_secs(10), done).await;
    assert_eq!(world.number("SELECT count(*) FROM import WHERE state = 'APPLIED' AND created = 2").await, 1);
    assert_eq!(
        world.number("SELECT count(*) FROM import WHERE state = 'REFUSED' AND rows = 2 AND failed = 2").await,
        1
    );
    assert_eq!(world.number("SELECT count(*) FROM import WHERE state = 'REFUSED' AND rows = 0").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_rows_are_imported_in_under_a_minute_and_again_without_a_write() {
    let world = World::new().await;
    let mut file = String::from("sku,name,gtin,colour,material,usage\n");
    for row in 0..100_000 {
        writeln!(file, "SKU-{row:06},\"Article number {row}, in its \"\"best\"\" quality\",4006381333931,Navy Blue,Cotton {},Casual", row % 977).unwrap();
    }
    let columns = || wire::ImportSkusSpec {
        gtin_column: "gtin".into(),
        attribute_columns: ["colour", "material", "usage"].map(String::from).to_vec(),
        ..spec()
    };
    let began = Instant::now();
    let answer = world.import_in(columns(), &file, 256 * 1024).await.unwrap();
    let took = began.elapsed();
    assert_eq!(counts(&answer), [100_000, 100_000, 0, 0, 0, 0]);
    assert!(took < Duration::from_secs(60), "{took:?}");
    let again = world.import_in(columns(), &file, 1024 * 1024).await.unwrap();
    assert_eq!(counts(&again), [100_000, 0, 0, 100_000, 0, 0]);
    assert_eq!(world.number("SELECT max(version) FROM sku").await, 1);
    eprintln!("100,000 rows: first {took:?}, again {:?}", began.elapsed() - took);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_catalog_of_44_446_skus_is_imported_whole() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/catalog/styles_44446_skus.csv.gz");
    let Ok(packed) = std::fs::read(&path) else {
        eprintln!("skipped: there is no real catalog beside the project");
        return;
    };
    let mut file = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut file).unwrap();
    let world = World::new().await;
    let attributes =
        ["gender", "masterCategory", "subCategory", "articleType", "baseColour", "season", "year", "usage"];
    let columns = wire::ImportSkusSpec {
        code_column: "id".into(),
        name_column: String::new(),
        attribute_columns: attributes.map(String::from).to_vec(),
        ..skipping()
    };
    assert_eq!(reason(world.import_in(columns.clone(), &packed, 100_000).await), R::FileRefused);
    let answer = world.import_in(columns, &file, 100_000).await.unwrap();
    assert_eq!((counts(&answer), problems(&answer)), ([44_446, 44_446, 0, 0, 0, 0], vec![]));
    let shirt = world.sku("15970").await;
    assert_eq!(shirt.attributes["baseColour"], "Navy Blue");
    assert_eq!(shirt.attributes.len(), 8);
    assert_eq!(world.all_skus().await.len(), 44_446);
    let codes = wire::BatchGetSkusRequest {
        codes: world.all_skus().await.into_iter().take(1000).map(|sku| sku.code).collect(),
    };
    assert_eq!(world.client.clone().batch_get_skus(codes).await.map(Response::into_inner).unwrap().skus.len(), 1000);
}
