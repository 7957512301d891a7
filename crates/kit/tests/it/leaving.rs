//! Connections that end under load: no call that a handler began is without its answer, and what tonic tells the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast_api::reservation::v1::reservation_service_client::ReservationServiceClient;
use holdfast_testkit::eventually;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::world::{World, wish, world_with};

const CALLERS: usize = 16;

/// What a caller's calls came to: how many were answered, and what the others were told.
#[derive(Default)]
struct Seen {
    answered: usize,
    told: BTreeMap<String, usize>,
}

/// What tonic says of a call that never reached a handler. None of these codes is a server's word.
fn is_about_the_connection(status: &Status) -> bool {
    let from_here = std::error::Error::source(status).is_some();
    from_here && matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Unknown | Code::Internal)
}

/// Calls without a pause and without retries until it is told to stop, or until nobody listens any more.
async fn call(channel: Channel, stop: Arc<AtomicBool>) -> Seen {
    let mut client = ReservationServiceClient::new(channel);
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        match client.reserve(wish("ada")).await {
            Ok(_) => seen.answered += 1,
            Err(status) => {
                assert!(is_about_the_connection(&status), "{status:?}");
                let nobody_listens = format!("{status:?}").contains("ConnectionRefused");
                *seen.told.entry(format!("{:?}: {}", status.code(), status.message())).or_default() += 1;
                if nobody_listens {
                    break;
                }
            }
        }
    }
    seen
}

/// Callers on connections of their own, four to each.
fn load(address: &str, stop: &Arc<AtomicBool>) -> JoinSet<Seen> {
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS / 4 {
        let channel = Endpoint::from_shared(address.to_owned()).unwrap().connect_lazy();
        for _ in 0..4 {
            callers.spawn(call(channel.clone(), Arc::clone(stop)));
        }
    }
    callers
}

/// Answers that handlers gave, and those that were cut off.
fn given(world: &World) -> (usize, usize) {
    let text = world.metrics.encode();
    let count = |code: &str| {
        let line = format!("/Reserve\",code=\"{code}\"");
        let lines =
            text.lines().filter(|text| text.starts_with("holdfast_rpc_server_requests_total") && text.contains(&line));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
    };
    (count("OK"), count("CANCELLED"))
}

/// Every answer that was given has arrived, and nobody has heard anything else.
async fn assert_none_lost(world: &World, callers: JoinSet<Seen>) -> BTreeMap<String, usize> {
    let mut all = Seen::default();
    for seen in callers.join_all().await {
        all.answered += seen.answered;
        for (told, count) in seen.told {
            *all.told.entry(told).or_default() += count;
        }
    }
    eprintln!("{} calls were answered; without an answer: {:?}", all.answered, all.told);
    assert_eq!(given(world), (all.answered, 0), "a handler began a call whose caller does not know its outcome");
    all.told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_reaches_its_age_leaves_every_call_that_began_its_answer() {
    let world = world_with(|common| common.server.connection_age_seconds_max = 1).await;
    let stop = Arc::default();
    let callers = load(&world.address, &stop);
    // Each connection reaches its age several times; their number cannot be seen from outside, so the clock decides.
    let end = std::time::Instant::now() + Duration::from_secs(5);
    let over = || async { (std::time::Instant::now() >= end).then_some(()) };
    eventually("some ages", Duration::from_secs(30), over).await;
    stop.store(true, Ordering::Relaxed);
    assert_none_lost(&world, callers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_end_leaves_every_call_that_began_its_answer() {
    for _ in 0..5 {
        let world = world_with(|_| {}).await;
        let callers = load(&world.address, &Arc::default());
        let busy = || async { (given(&world).0 > 200).then_some(()) };
        eventually("a load", Duration::from_secs(30), busy).await;
        world.shutdown.cancel();
        let told = assert_none_lost(&world, callers).await;
        assert!(told.keys().any(|told| told.starts_with("Unavailable")), "in the end nobody listens: {told:?}");
        world.served.await.unwrap().unwrap();
    }
}
