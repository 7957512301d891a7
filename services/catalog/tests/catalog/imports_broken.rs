//! Imports that are not what they should be, or do not arrive whole.

use std::time::Duration;

use holdfast_api::catalog::v1 as wire;
use holdfast_api::catalog::v1::import_skus_request::Part;
use holdfast_api::error::v1::ErrorReason as R;
use holdfast_testkit::eventually;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic_types::StatusExt as _;

use crate::world::{World, id, reason, skipping, spec, violations};

#[tokio::test(flavor = "multi_thread")]
async fn a_header_without_a_column_says_which_columns_there_are() {
    let world = World::new().await;
    let refused = world.import(spec(), "code;name\nA;a\n").await.unwrap_err();
    let info = refused.get_details_error_info().unwrap();
    assert_eq!(
        (info.metadata["missing_columns"].as_str(), info.metadata["columns"].as_str()),
        ("\"sku\", \"name\"", "\"code;name\"")
    );
    assert_eq!(reason::<()>(Err(refused)), R::FileRefused);
    let refused = world.import(spec(), " sku ,name,sku\nA,a,B\n").await.unwrap_err();
    assert_eq!(refused.message(), "the header has more than one column \"sku\"");
    let wide: String =
        (0..400).map(|column| format!("\"column number {column} with a long name that goes on and on\",")).collect();
    let refused = world.import(spec(), format!("{wide}\n")).await.unwrap_err();
    assert!(refused.message().len() < 4000 && refused.message().contains("and 351 more"), "{}", refused.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_csv_of_utf_8_are_refused_and_change_nothing() {
    let world = World::with(&[("IMPORT__RECORD_BYTES_MAX", "1000"), ("IMPORT__COLUMNS_MAX", "5")]).await;
    let long = format!("sku,name\nA,{}\n", "x".repeat(1001));
    let never_closed = "sku,name\nA,a\nB,\"b\nC,c\nD,d\n";
    let swallowed = format!("sku,name\nA,a\nB,\"b\n{}", "C,c\n".repeat(300));
    let cases: [(&[u8], &str); 13] = [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"\n\r\n\n", "the file is empty"),
        (b"sk", "the header has no column"),
        (b"\xff\xfes\0k\0u\0", "the file is UTF-16"),
        (b"\xfe\xff\0s\0k\0u", "the file is UTF-16"),
        (b"\x1f\x8b\x08\x00", "the file is compressed"),
        (b"PK\x03\x04whatever", "the file is a ZIP archive or a spreadsheet"),
        (b"sku,n\xe4me\nA,a\n", "the header is not UTF-8"),
        (long.as_bytes(), "the row that begins on line 2 is longer than 1000 bytes"),
        (b"sku,name\nA,a\nB,b,,,,\n", "the row that begins on line 3 has more than 5 columns"),
        (never_closed.as_bytes(), "the file ends within quotes; they were opened in the row that begins on line 3"),
        (swallowed.as_bytes(), "the row that begins on line 3 is longer than 1000 bytes; is a quote missing?"),
    ];
    for (file, message) in cases {
        for piece in [1, 1000] {
            let refused = world.import_in(skipping(), file, piece).await.unwrap_err();
            assert!(refused.message().starts_with(message), "{message} / {}", refused.message());
            assert_eq!(reason::<()>(Err(refused)), R::FileRefused);
        }
    }
    assert!(world.all_skus().await.is_empty());
    let header_only = world.import(spec(), "sku,name").await.unwrap();
    assert_eq!((header_only.rows, header_only.created), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_beyond_the_limits_is_refused_while_it_arrives() {
    let world = World::with(&[("IMPORT__FILE_BYTES_MAX", "100000"), ("IMPORT__ROWS_MAX", "100")]).await;
    let rows = |count: usize| (0..count).map(|row| format!("S{row},\n")).collect::<String>();
    world.import(spec(), format!("sku,name\n{}", rows(100))).await.unwrap();
    let refused = world.import(spec(), format!("sku,name\n{}", rows(101))).await.unwrap_err();
    assert!(refused.message().contains("more than 100 rows"), "{refused:?}");
    // Much more than the transport buffers, so that the sender is stopped in the middle.
    let large = "x".repeat(20_000_000);
    let refused = world.import_in(spec(), &large, 90_000).await.unwrap_err();
    assert!(refused.message().contains("larger than 100000 bytes"), "{refused:?}");
    assert_eq!(reason::<()>(Err(refused)), R::FileRefused);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_wrong_with_a_specification_is_said_at_once() {
    let world = World::new().await;
    let wrong = wire::ImportSkusSpec {
        request_id: "x".into(),
        code_column: String::new(),
        name_column: "n".repeat(201),
        gtin_column: "\u{1}".into(),
        attribute_columns: vec!["a".into(), String::new(), "a".into(), "x".repeat(65)],
        delimiter: "ab".into(),
        error_mode: 0,
        size_bytes: -1,
        ..Default::default()
    };
    let fields = violations(world.import(wrong, "").await).0;
    let wanted = [
        "spec.request_id",
        "spec.code_column",
        "spec.name_column",
        "spec.gtin_column",
        "spec.attribute_columns[1]",
        "spec.attribute_columns[2]",
        "spec.attribute_columns[3]",
        "spec.delimiter",
        "spec.error_mode",
        "spec.size_bytes",
    ];
    assert_eq!(fields, wanted);
    for delimiter in ["\"", "\n", "x", "ä", "\0"] {
        let wrong = wire::ImportSkusSpec { delimiter: delimiter.into(), ..spec() };
        assert_eq!(violations(world.import(wrong, "").await).0, ["spec.delimiter"], "{delimiter:?}");
    }
    let many = wire::ImportSkusSpec { attribute_columns: (0..51).map(|column| column.to_string()).collect(), ..spec() };
    assert_eq!(violations(world.import(many, "").await).0, ["spec.attribute_columns"]);
    for delimiter in [";", "\t", "|", "^"] {
        let right = wire::ImportSkusSpec { delimiter: delimiter.into(), ..spec() };
        let file = ["sku,name", "A,a", "B,b"].join("\n").replace(',', delimiter);
        assert_eq!(world.import(right, file).await.unwrap().failed, 0, "{delimiter:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_the_wrong_order_is_refused() {
    let world = World::new().await;
    let chunk = |text: &str| Some(Part::Chunk(text.as_bytes().to_vec()));
    let first = || Some(Part::Spec(spec()));
    let too_large = Some(Part::Chunk(vec![b'x'; 1024 * 1024 + 1]));
    for (parts, field) in [
        (vec![], "spec"),
        (vec![chunk("sku,name\n")], "spec"),
        (vec![None], "spec"),
        (vec![first(), chunk("sku,name\nA,a\n"), first()], "spec"),
        (vec![first(), chunk("sku,name\nA,a\n"), None], "chunk"),
        (vec![first(), too_large], "chunk"),
    ] {
        assert_eq!(violations(world.import_parts(parts).await), (vec![field.to_owned()], 1));
    }
    assert!(world.all_skus().await.is_empty());
    let largest = Some(Part::Chunk([b"sku,name\nA,a\n".as_slice(), &vec![b'\n'; 1024 * 1024 - 13]].concat()));
    assert_eq!(world.import_parts(vec![first(), largest]).await.unwrap().created, 1, "a piece of 1 MiB is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_leaves_nothing_behind_and_can_be_repeated() {
    let world = World::with(&[("IMPORT__BATCH_ROWS_MAX", "10")]).await;
    for spec in [spec(), skipping()] {
        let before = world.all_skus().await;
        let open = || world.number("SELECT count(*) FROM import_row");
        let rows: String = (0..100).map(|row| format!("{}-{row},\n", spec.error_mode)).collect();
        let (sender, receiver) = mpsc::channel(1);
        let mut client = world.client.clone();
        let call = tokio::spawn(async move { client.import_skus(ReceiverStream::new(receiver)).await });
        let parts = [Part::Spec(spec.clone()), Part::Chunk(format!("sku,name\n{rows}").into_bytes())];
        for part in parts {
            sender.send(wire::ImportSkusRequest { part: Some(part) }).await.unwrap();
        }
        eventually("rows are staged", Duration::from_secs(10), || async { (open().await > 0).then_some(()) }).await;
        // The caller goes away: the call is dropped, not ended.
        call.abort();
        call.await.unwrap_err();
        eventually("nothing is staged", Duration::from_secs(10), || async { (open().await == 0).then_some(()) }).await;
        assert_eq!(world.all_skus().await.len(), before.len());
        let answer = world.import(spec, format!("sku,name\n{rows}")).await.unwrap();
        assert_eq!((answer.created, answer.failed), (100, 0), "the same request completes it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_shorter_than_its_sender_says_is_refused() {
    let world = World::new().await;
    let file = "sku,name\nA,a\nB,b\n";
    let sized = |size: usize| wire::ImportSkusSpec { size_bytes: size.try_into().unwrap(), ..spec() };
    let refused = world.import(sized(file.len()), &file[..13]).await.unwrap_err();
    let info = refused.get_details_error_info().unwrap();
    assert_eq!((info.metadata["bytes"].as_str(), info.metadata["size_bytes"].as_str()), ("13", "17"));
    assert_eq!(reason::<()>(Err(refused)), R::FileRefused);
    assert!(world.all_skus().await.is_empty());
    assert_eq!(world.import(sized(file.len()), file).await.unwrap().created, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_is_ended_and_gives_its_place_back() {
    let world = World::with(&[("IMPORT__IDLE_SECONDS_MAX", "1"), ("IMPORT__CONCURRENT_MAX", "1")]).await;
    let (sender, receiver) = mpsc::channel(1);
    let mut client = world.client.clone();
    let silent = tokio::spawn(async move { client.import_skus(ReceiverStream::new(receiver)).await });
    sender.send(wire::ImportSkusRequest { part: Some(Part::Spec(spec())) }).await.unwrap();
    let began = || world.number("SELECT count(*) FROM import");
    eventually("it has begun", Duration::from_secs(10), || async { (began().await == 1).then_some(()) }).await;
    assert_eq!(reason(world.import(spec(), "sku,name\n").await), R::Overloaded, "its place is taken");
    let refused = silent.await.unwrap();
    assert_eq!(reason(refused), R::DeadlineExceeded);
    let again =
        || async { world.import(wire::ImportSkusSpec { request_id: id(), ..spec() }, "sku,name\nA,a\n").await.ok() };
    eventually("the place is free", Duration::from_secs(10), again).await;
    drop(sender);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_taken_for_dead_is_not_applied() {
    let world = World::with(&[("IMPORT__BATCH_ROWS_MAX", "1")]).await;
    for sabotage in ["UPDATE import SET state = 'ABANDONED'", "DELETE FROM import_row"] {
        let (sender, receiver) = mpsc::channel(1);
        let mut client = world.client.clone();
        let call = tokio::spawn(async move { client.import_skus(ReceiverStream::new(receiver)).await });
        let send = |part| sender.send(wire::ImportSkusRequest { part: Some(part) });
        send(Part::Spec(spec())).await.unwrap();
        send(Part::Chunk(b"sku,name\nA,a\n".to_vec())).await.unwrap();
        let staged = || world.number("SELECT count(*) FROM import_row");
        eventually("a row is staged", Duration::from_secs(10), || async { (staged().await == 1).then_some(()) }).await;
        sqlx::query(sabotage).execute(&world.database.admin_pool().await).await.unwrap();
        send(Part::Chunk(b"B,b\n".to_vec())).await.unwrap();
        drop(sender);
        assert_eq!(reason(call.await.unwrap()), R::StoreUnavailable, "{sabotage}");
        assert!(world.all_skus().await.is_empty());
        eventually("it is cleaned up", Duration::from_secs(10), || async { (staged().await == 0).then_some(()) }).await;
    }
}
