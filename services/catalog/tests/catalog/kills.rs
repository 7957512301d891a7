//! The service killed as kill -9 does it, and started again.

use std::time::Duration;

use holdfast_api::catalog::v1 as wire;
use holdfast_api::catalog::v1::import_skus_request::Part;
use holdfast_testkit::{eventually, seed};
use rand::Rng as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::peer::{Mode, Peer};
use crate::process::Process;
use crate::world::{World, spec};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_between_telling_and_noting_it_tells_again_and_goes_on() {
    // Only for its database, its migrations and its calls: it has nobody to tell.
    let world = World::new().await;
    world.skus(&["A", "B", "C"]).await;
    let reservation = Peer::reservation().await;
    reservation.set(Mode::TakeAndHang);
    let keys = [
        ("RESERVATION__ENDPOINT", reservation.url.as_str()),
        ("RELAY__LEASE_MS", "500"),
        ("RELAY__CALL_TIMEOUT_MS", "400"),
        ("RELAY__BATCH_SKUS", "2"),
    ];
    let process = Process::start(&world.database, &keys).await;
    for code in ["A", "B", "C"] {
        world.keep_back(code, 1).await;
    }
    let first = || async { (!reservation.told().is_empty()).then_some(()) };
    eventually("something was told and not acknowledged", PATIENCE, first).await;
    process.kill().await;
    let told = reservation.messages()[0].clone();
    reservation.set(Mode::Take);
    let process = Process::start(&world.database, &keys).await;
    for code in ["A", "B", "C"] {
        let known = || async { reservation.knows(code).filter(|told| told.what == "1") };
        eventually(&format!("{code} is known"), PATIENCE, known).await;
    }
    let again = reservation.told().into_iter().filter(|again| again.sku == told[0].sku).count();
    assert!(again >= 2, "what was not acknowledged is told again");
    world.keep_back("A", 2).await;
    let known = || async { reservation.knows("A").filter(|told| told.what == "2") };
    eventually("it goes on", PATIENCE, known).await;
    process.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_killed_at_any_moment_has_no_half_effect_and_repeated_its_whole_one_once() {
    let seed = seed();
    let mut rng = seed.rng(1);
    const ROWS: usize = 6000;
    let rows: String = (0..ROWS).map(|row| format!("S{row},Number {row}\n")).collect();
    let file = format!("sku,name\n{rows}").into_bytes();
    for turn in 0..4 {
        let world = World::new().await;
        let process = Process::start(&world.database, &[("IMPORT__BATCH_ROWS_MAX", "500")]).await;
        let spec = spec();
        let (sender, receiver) = mpsc::channel(1);
        let mut client = process.client.clone();
        let call = tokio::spawn(async move { client.import_skus(ReceiverStream::new(receiver)).await });
        let parts =
            [Part::Spec(spec.clone())].into_iter().chain(file.chunks(20_000).map(|piece| Part::Chunk(piece.to_vec())));
        let parts: Vec<Part> = parts.collect();
        // Some moments lie in the middle of the upload, some after it, while it is applied.
        let sent = if turn % 2 == 0 { rng.random_range(1..parts.len()) } else { parts.len() };
        for part in parts.into_iter().take(sent) {
            sender.send(wire::ImportSkusRequest { part: Some(part) }).await.unwrap();
        }
        if turn % 2 == 1 {
            drop(sender);
            let staged = i64::try_from(rng.random_range(500..ROWS)).unwrap();
            let there = || async {
                let staged_now = world.number("SELECT count(*) FROM import_row").await;
                (staged_now >= staged || call.is_finished()).then_some(())
            };
            eventually("so many rows are staged", PATIENCE, there).await;
        }
        process.kill().await;
        drop(call);
        let there = world.number("SELECT count(*) FROM sku").await;
        assert!(there == 0 || there == i64::try_from(ROWS).unwrap(), "turn {turn}: {there} of {ROWS}");
        let process = Process::start(&world.database, &[]).await;
        let repeat = [Part::Spec(spec)].into_iter().chain(file.chunks(20_000).map(|piece| Part::Chunk(piece.to_vec())));
        let repeat: Vec<_> = repeat.map(|part| wire::ImportSkusRequest { part: Some(part) }).collect();
        let answer = process.client.clone().import_skus(tokio_stream::iter(repeat)).await.unwrap().into_inner();
        assert_eq!((answer.created, answer.failed), (i64::try_from(ROWS).unwrap(), 0), "turn {turn}");
        assert_eq!(world.number("SELECT count(*) FROM sku").await, answer.created);
        assert_eq!(world.number("SELECT max(version) FROM sku").await, 1);
        assert_eq!(world.number("SELECT count(*) FROM change").await, answer.created, "and logged once");
        process.kill().await;
    }
}
