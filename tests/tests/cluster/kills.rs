//! Processes of reservation killed, frozen and ended under load (FAULTS 1–9, 31): what was acknowledged is in the record, once, and nothing leaks.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use holdfast_client::{Line, RequestKey, ReservationClient, ReservationKey, Reserve, Settings};
use holdfast_loadgen::history::{Answer, Verb};
use holdfast_testkit::seed;
use rand::Rng as _;
use tokio::time::Instant;

use crate::load::{Ended, Load};
use crate::world::{Cluster, Options, connect, end_in_order, scenario};

/// Plenty of two, and few enough of the third that buyers are refused.
pub(crate) const STOCK: [(&str, i64); 3] = [("DESK", 100_000), ("LAMP", 100_000), ("LAST", 60)];
pub(crate) const SKUS: [&str; 3] = ["DESK", "LAMP", "LAST"];
pub(crate) const BUYERS: usize = 32;
/// How long a frozen process stands still: longer than its callers wait, longer than most holds last.
const FROZEN: Duration = Duration::from_secs(3);
/// What the transport says of a request that its server never worked on: it still waited for its turn when the connection was closed, or it came behind the
/// last one that the server named when it said goodbye.
const NEVER_BEGUN: [&str; 3] = [
    "operation was canceled: transport error: connection closed",
    "operation was canceled: transport error: connection was not ready",
    "http2 error: transport error: connection error received: not a result of an error",
];

#[test]
fn a_lone_replica_killed_five_times_under_load_loses_nothing() {
    killed_five_times(1);
}

#[test]
fn one_of_two_replicas_killed_five_times_under_load_loses_nothing() {
    killed_five_times(2);
}

fn killed_five_times(replicas: usize) {
    let seed = seed();
    scenario(Options::reservation(replicas), async |cluster| {
        cluster.count(&STOCK).await;
        let mut load = Load::start(cluster, &SKUS, BUYERS, &seed).await;
        let mut random = seed.rng(0);
        let mut downtime = Duration::ZERO;
        for _ in 0..5 {
            load.until(Instant::now() + Duration::from_micros(random.random_range(100_000..700_000))).await;
            let victim = random.random_range(0..replicas);
            let killed = Instant::now();
            cluster.reservation[victim].kill().await.expect("it is killed");
            if replicas > 1 {
                // The other one carries on alone.
                load.goes_on(50).await;
            }
            cluster.reservation[victim].start_again().await.expect("it starts again");
            downtime = downtime.max(killed.elapsed());
            load.goes_on(50).await;
            cluster.audited().await;
        }
        let alone = if replicas == 1 { downtime } else { Duration::ZERO };
        let ended = settled(cluster, load, alone).await;
        assert!(!ended.unknown().is_empty(), "no kill hit anybody, so this says nothing");
    });
}

#[test]
fn a_replica_that_was_frozen_obeys_the_record_when_it_goes_on() {
    let seed = seed();
    scenario(Options::reservation(2), async |cluster| {
        cluster.count(&STOCK).await;
        let mut load = Load::start(cluster, &SKUS, BUYERS, &seed).await;
        let mut random = seed.rng(0);
        for replica in [0, 1] {
            load.until(Instant::now() + Duration::from_micros(random.random_range(50_000..300_000))).await;
            cluster.reservation[replica].freeze();
            load.until(Instant::now() + FROZEN).await;
            cluster.reservation[replica].thaw();
            load.goes_on(100).await;
            cluster.audited().await;
        }
        let ended = settled(cluster, load, FROZEN).await;
        assert!(!ended.unknown().is_empty(), "nobody waited for the frozen one, so this says nothing");
    });
}

#[test]
fn a_lone_replica_that_was_frozen_finishes_what_its_callers_have_given_up() {
    let seed = seed();
    scenario(Options::reservation(1), async |cluster| {
        cluster.count(&STOCK).await;
        let mut load = Load::start(cluster, &SKUS, BUYERS, &seed).await;
        cluster.reservation[0].freeze();
        load.until(Instant::now() + FROZEN).await;
        cluster.reservation[0].thaw();
        load.goes_on(200).await;
        let ended = settled(cluster, load, FROZEN).await;
        assert!(ended.unknown().values().sum::<usize>() >= BUYERS, "every buyer was kept waiting");
    });
}

#[test]
fn replicas_that_end_in_order_one_after_the_other_leave_no_outcome_unknown() {
    ended_in_order(2);
}

#[test]
fn a_lone_replica_that_ends_in_order_leaves_no_outcome_unknown() {
    ended_in_order(1);
}

fn ended_in_order(replicas: usize) {
    let seed = seed();
    scenario(Options::reservation(replicas), async |cluster| {
        cluster.count(&STOCK).await;
        let mut load = Load::start(cluster, &SKUS, BUYERS, &seed).await;
        let mut random = seed.rng(0);
        let mut downtime = Duration::ZERO;
        for round in 0..6 {
            load.until(Instant::now() + Duration::from_micros(random.random_range(50_000..300_000))).await;
            let asked = Instant::now();
            let process = &mut cluster.reservation[round % replicas];
            let ended = end_in_order(process).await;
            assert!(ended.success(), "it ended with {ended}");
            eprintln!("it ended {:?} after it was asked to", asked.elapsed());
            process.start_again().await.expect("it starts again");
            downtime = downtime.max(asked.elapsed());
            load.goes_on(50).await;
        }
        let alone = if replicas == 1 { downtime } else { Duration::ZERO };
        let ended = settled(cluster, load, alone).await;
        everybody_knows(&ended);
    });
}

/// Whoever has no definite answer was never heard: his transport says so, and his next call proves it.
pub(crate) fn everybody_knows(ended: &Ended) {
    let mut unknown = ended.unknown();
    eprintln!("of {} calls, never begun: {unknown:?}", ended.history.calls.len());
    unknown.retain(|told, _| !NEVER_BEGUN.iter().any(|never| told.ends_with(never)));
    assert_eq!(unknown, BTreeMap::new(), "callers do not know their outcome");
    what_never_began_had_no_effect(ended);
}

/// A call that the transport did not deliver, or that the service had no time for, is not replayed by the next one with its key.
fn what_never_began_had_no_effect(ended: &Ended) {
    let mut begun: HashSet<(Verb, ReservationKey, Option<RequestKey>)> = HashSet::new();
    for call in &ended.history.calls {
        let key = (call.verb, call.reservation, call.request);
        match &call.answer {
            Answer::Busy(_) => {}
            Answer::Unknown(told) if NEVER_BEGUN.iter().any(|never| told.ends_with(never)) => {}
            Answer::Done { replayed: true, .. } => assert!(begun.contains(&key), "it had begun all the same: {call:?}"),
            Answer::Done { .. } | Answer::SoldOut(_) | Answer::Refused(_) | Answer::Unknown(_) => {
                begun.insert(key);
            }
        }
    }
}

#[test]
fn the_same_key_on_two_replicas_at_once_has_one_effect_and_two_identical_answers() {
    scenario(Options::reservation(2), async |cluster| {
        cluster.count(&STOCK).await;
        let client =
            |replica: usize| ReservationClient::new(&connect(&[&cluster.reservation[replica]], Settings::default()));
        let (one, other) = (client(0), client(1));
        let pairs = (0..100).map(|number| {
            let (one, other) = (one.clone(), other.clone());
            tokio::spawn(async move {
                let lines = [Line::anywhere("DESK", 2), Line::anywhere("LAMP", 1)];
                let cart = Reserve::new(ReservationKey::new(), format!("cart-{number}"), lines);
                tokio::join!(one.reserve(&cart), other.reserve(&cart))
            })
        });
        let mut first = 0;
        for pair in pairs.collect::<Vec<_>>() {
            let (one, other) = pair.await.expect("no panic");
            let (one, other) = (one.expect("there is plenty"), other.expect("there is plenty"));
            assert_eq!(one.reservation, other.reservation);
            first += [&one, &other].iter().filter(|answer| !answer.replayed).count();
        }
        assert_eq!(first, 100, "of two answers to a key, one is the first");
        let desk = cluster.stock().get_stock("DESK").await.expect("stock").levels.remove(0);
        assert_eq!((desk.held, desk.version), (200, 101), "a count and one hold for each key");
    });
}

/// Ends a load; then nothing is lost, doubled or leaked.
pub(crate) async fn settled(cluster: &Cluster, load: Load, nobody_there: Duration) -> Ended {
    let ended = load.end().await;
    cluster.comes_to_rest(&SKUS, nobody_there).await;
    let findings = cluster.joined(&ended, &SKUS).await;
    eprintln!("{} calls in {:?}: {findings:?}", ended.history.calls.len(), ended.history.elapsed);
    assert!(findings.replays_identical > 0, "no buyer asked again, so this says nothing");
    assert!(findings.refusals_checked > 0, "no buyer was refused, so this says nothing");
    assert!(ended.history.count(Verb::Confirm, Answer::is_done) > 0, "nobody bought, so this says nothing");
    ended
}
