//! Real vendors' files, where they are at hand: they are not part of the project.

use std::fs;
use std::path::PathBuf;

use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::{FeedMode, RunState};

use crate::world::{World, connection, totals};

fn marketplace() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/csv_marketplace");
    if !folder.is_dir() {
        eprintln!("skipped: ../shared/data/csv_marketplace is not at hand");
        return Vec::new();
    }
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

fn with_delimiter(delimiter: &str) -> wire::Connection {
    let header = ["product_code", "price_gross", "vat", "currency", "stock", "name"].map(str::to_owned).to_vec();
    wire::Connection {
        csv_schema: Some(wire::CsvSchema {
            delimiter: delimiter.to_owned(),
            header,
            key_column: "product_code".to_owned(),
            quantity_column: "stock".to_owned(),
        }),
        ..connection(FeedMode::Full)
    }
}

/// Offers for every code of the files, the SKU called by the code.
fn offer_all(world: &World, files: &[(String, Vec<u8>)]) {
    for (_, bytes) in files {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let codes = text.lines().skip(1).filter_map(|line| line.split([',', ';']).next());
        world.offers(&codes.map(|code| format!("{code}:SKU-{code} ")).collect::<String>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_marketplace_imports_are_applied_until_the_delimiter_changes_overnight() {
    let files = marketplace();
    if files.is_empty() {
        return;
    }
    let world = World::new().await;
    offer_all(&world, &files);
    world.create(with_delimiter(",")).await.unwrap();
    let mut stock = 0;
    for (at, (name, bytes)) in (0..).zip(&files) {
        let run = world.upload_file(at, bytes).await.unwrap().run.unwrap();
        if at < 3 {
            assert_eq!((run.state(), run.reason.as_str()), (RunState::Applied, ""), "{name}");
            let [rows, applied, unchanged, ..] = totals(&run);
            assert_eq!(rows, applied + unchanged, "{name}");
            assert!(applied < 20 || at == 0, "{name}: real feeds move little, not by {applied} rows");
            stock = world.peers.stock.lock().unwrap().rows.len();
        } else {
            assert_eq!(run.state(), RunState::Refused, "{name}");
            assert!(run.reason.contains("the delimiter is `;` instead of `,`"), "{name}: {}", run.reason);
        }
    }
    assert_eq!(world.peers.stock.lock().unwrap().rows.len(), stock, "a refused file changes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_import_cut_off_in_the_middle_is_held() {
    let files = marketplace();
    let Some((_, whole)) = files.first() else { return };
    let world = World::new().await;
    offer_all(&world, &files);
    world.create(with_delimiter(",")).await.unwrap();
    world.upload_file(0, whole).await.unwrap();
    let run = world.upload_file(1, &whole[..whole.len() * 2 / 3]).await.unwrap().run.unwrap();
    assert_eq!(run.state(), RunState::Held);
    assert!(run.reason.contains("known codes are gone"), "{}", run.reason);
}
