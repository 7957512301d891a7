//! A Postgres and its standby under load (FAULTS 25–28): what was answered is on whichever is left, and what only the primary has is not answered.
//!
//! Everybody comes by an address that is led to the other server when that takes over, as a Service, a name or a virtual IP is.

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use holdfast_client::{
    Error, Line, Outcome, RequestKey, ReservationClient, ReservationKey, Reserve, RetryPolicy, Settings,
};
use holdfast_loadgen::history::Answer;
use holdfast_stack::postgres::{Postgres, StopMode, connect};
use holdfast_stack::proxy::{Network, Proxy};
use holdfast_stack::redis::wipe;
use holdfast_testkit::{eventually, seed};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::kills::{BUYERS, SKUS, STOCK, settled};
use crate::load::{Ended, Load};
use crate::world::{Cluster, Options, connect as connect_to, scenario};

/// Longer than a busy machine takes for anything that is waited for here.
const PATIENCE: Duration = Duration::from_secs(60);
/// As the services name themselves to Postgres.
const OURS: &str = "usename = 'holdfast_reservation'";

/// Two replicas whose Postgres lets statements run for a second or two only, so that what goes beyond is seen soon.
fn impatient() -> Options {
    let options = Options::reservation(2).behind_an_address();
    options.set("postgres.statement_timeout_ms", 2_000).set("postgres.lock_timeout_ms", 1_000)
}

#[test]
fn while_the_standby_is_gone_nothing_is_answered_that_only_the_primary_has() {
    let seed = seed();
    scenario(impatient(), async |cluster| {
        cluster.count(&STOCK).await;
        add_standby(cluster).await;
        commits_wait_for_it(cluster).await;
        let load = Load::start(cluster, &SKUS, BUYERS, &seed).await;
        load.goes_on(200).await;

        let gone = Instant::now();
        standby(cluster).stop(StopMode::Kill).await.expect("it is killed");
        at_the_primary_none(cluster, "its standby is gone", "pg_stat_replication").await;
        let from = load.now_micros();
        // Longer than any statement may take: a commit that waits is none.
        load.is_left_in_doubt(3 * BUYERS).await;
        let patient = load.now_micros();
        cluster.stock().get_stock("DESK").await.expect("reading goes on");

        // Whose wait is broken off has committed, here and nowhere else. His buyers ask again, and are not told so.
        broken_off(cluster).await;
        load.is_left_in_doubt(3 * BUYERS).await;
        let until = load.now_micros();

        standby(cluster).start_again().await.expect("it comes back");
        load.goes_on(200).await;
        let away = gone.elapsed();
        let ended = settled(cluster, load, away).await;
        nothing_new_was_answered(&ended, from, until);
        // Until somebody broke them off, commits were waited for: giving one up would only have begun another.
        assert_eq!(told_by_the_service(&ended, from, patient), BTreeMap::new());
    });
}

#[test]
fn what_only_the_primary_has_is_not_repeated_either() {
    scenario(impatient(), async |cluster| {
        cluster.count(&[("DESK", 100)]).await;
        add_standby(cluster).await;
        commits_wait_for_it(cluster).await;
        standby(cluster).stop(StopMode::Kill).await.expect("it is killed");
        at_the_primary_none(cluster, "its standby is gone", "pg_stat_replication").await;

        let settings = Settings { retry: RetryPolicy::NEVER, ..Settings::default() };
        let client = ReservationClient::new(&cluster.connection_with(settings, |doors| &doors.buyers));
        let client = client.with_deadline(Duration::from_secs(2));
        let cart = Reserve::new(ReservationKey::new(), "cart", [Line::anywhere("DESK", 3)]);
        let is_open = |asked: Result<_, Error>, how| match asked {
            Err(error) => assert_eq!(error.outcome(), Outcome::Unknown, "{how}: {error}"),
            Ok(answer) => panic!("{how}, answered, and only the primary has it: {answer:?}"),
        };
        is_open(client.reserve(&cart).await, "its commit waits");
        broken_off(cluster).await;
        eventually("it stands on the primary", PATIENCE, || async {
            (cluster.number("SELECT count(*) FROM reservation").await == 1).then_some(())
        })
        .await;
        // By the write queue, where the key is found taken; and by the read queue, where the gate knows nothing.
        is_open(client.reserve(&cart).await, "let through by the gate");
        wipe(&cluster.redis.admin_url()).await.expect("Redis is wiped");
        is_open(client.reserve(&cart).await, "read");

        standby(cluster).start_again().await.expect("it comes back");
        let again = cluster.reservations().reserve(&cart).await.expect("the standby has it now");
        assert!(again.replayed, "it had landed");
    });
}

#[test]
fn a_standby_takes_over_with_everything_that_was_answered() {
    let seed = seed();
    scenario(impatient(), async |cluster| {
        cluster.count(&STOCK).await;
        add_standby(cluster).await;
        commits_wait_for_it(cluster).await;
        let load = Load::start(cluster, &SKUS, BUYERS, &seed).await;
        load.goes_on(200).await;

        // The machine is lost. Whoever is connected to it hears nothing more, not even that.
        let lost = Instant::now();
        let address = address(cluster);
        address.set(Network { refuses: true, ..Network::default() });
        address.halve();
        cluster.postgres.as_mut().expect("its own").stop(StopMode::Kill).await.expect("it is killed");
        // The address is quicker than the promotion: for a moment it leads to a standby.
        lead_to_the_standby(cluster);
        load.is_left_in_doubt(BUYERS).await;
        promote(cluster).await;
        let promoted = lost.elapsed();
        load.goes_on(1).await;
        eprintln!("promoted after {promoted:?}; the first answer after {:?}", lost.elapsed());
        load.goes_on(300).await;
        every_replica_sells(cluster).await;
        let away = lost.elapsed();
        cluster.let_go_of_the_record().await;
        let ended = settled(cluster, load, away).await;
        assert!(!ended.unknown().is_empty(), "nobody was waiting, so this says nothing");
    });
}

#[test]
fn a_primary_that_lives_on_beside_the_new_one_sells_nothing_and_is_left() {
    let seed = seed();
    scenario(impatient(), async |cluster| {
        cluster.count(&STOCK).await;
        add_standby(cluster).await;
        commits_wait_for_it(cluster).await;
        // Plenty of both: who reads at the old one before he is led to the new one may be told of what there was.
        let skus = &SKUS[..2];
        let load = Load::start(cluster, skus, BUYERS, &seed).await;
        load.goes_on(200).await;

        // It is not asked, so nobody resets its connections: they lead where they led.
        let moved = Instant::now();
        promote(cluster).await;
        lead_to_the_standby(cluster);
        let from = load.now_micros();
        load.goes_on(500).await;
        every_replica_sells(cluster).await;
        // A commit that waits there goes on waiting, though nobody is connected to it any more.
        let connected = format!("pg_stat_activity WHERE {OURS} AND wait_event IS DISTINCT FROM 'SyncRep'");
        at_the_primary_none(cluster, "everybody has left the old one", &connected).await;
        eprintln!("everybody had left after {:?}", moved.elapsed());

        // Not even when it comes back as it was does anybody come to it.
        let old = cluster.postgres.as_mut().expect("its own");
        old.stop(StopMode::Kill).await.expect("it is killed");
        old.start_again().await.expect("it starts again");
        load.goes_on(100).await;
        at_the_primary_none(cluster, "nobody comes to it", &format!("pg_stat_activity WHERE {OURS}")).await;

        let away = moved.elapsed();
        cluster.let_go_of_the_record().await;
        let ended = load.end().await;
        cluster.comes_to_rest(skus, away).await;
        let findings = cluster.joined(&ended, skus).await;
        eprintln!("{} calls in {:?}: {findings:?}", ended.history.calls.len(), ended.history.elapsed);
        let later = ended.history.calls.iter().filter(|call| call.invoked_micros > from && call.answer.is_done());
        assert!(later.count() > 0, "nobody was answered by the new one, so this says nothing");
    });
}

#[test]
fn what_an_asynchronous_standby_had_not_heard_of_is_lost_and_can_be_had_again() {
    scenario(impatient(), async |cluster| {
        cluster.count(&[("DESK", 100)]).await;
        add_standby(cluster).await;
        let (kept, lost) = (ReservationKey::new(), ReservationKey::new());
        let cart = |key| Reserve::new(key, "cart", [Line::anywhere("DESK", 3)]);
        cluster.reservations().reserve(&cart(kept)).await.expect("there are enough");
        it_has_all(cluster).await;
        standby(cluster).stop(StopMode::Kill).await.expect("it is killed");
        cluster.reservations().reserve(&cart(lost)).await.expect("nobody waits for the standby");
        let at = scalar(cluster, "SELECT clock_timestamp()::text").await;

        cluster.postgres.as_mut().expect("its own").stop(StopMode::Kill).await.expect("it is killed");
        standby(cluster).start_again().await.expect("it has what it had");
        promote(cluster).await;
        lead_to_the_standby(cluster);
        cluster.let_go_of_the_record().await;
        // As after a restore: the record begins another life, for what has been seen of this one may not be there.
        let begin = format!("SELECT begin_incarnation('{at}')");
        cluster.record.execute(AssertSqlSafe(begin)).await.expect("the administrator may");
        eventually("the services reach it", PATIENCE, || async {
            cluster.reservations().get_reservation(kept).await.ok()
        })
        .await;
        // A yes was answered, and is gone. Nobody can tell but its caller, who asks again.
        let refused = cluster.reservations().confirm(RequestKey::new(), lost).await;
        assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
        let anew = cluster.reservations().reserve(&cart(lost)).await.expect("there are enough");
        assert!(!anew.replayed, "the first one is lost");
        cluster.redis_converges(&["DESK"]).await;
        let desk = cluster.stock().get_stock("DESK").await.expect("stock").levels.remove(0);
        assert_eq!((desk.held, desk.available), (6, 94));
    });
}

/// A standby follows the cluster's Postgres from now on. Commits do not wait for it yet.
async fn add_standby(cluster: &mut Cluster) {
    let (data, log) = (cluster.folder.0.join("standby"), cluster.folder.0.join("standby.log"));
    let standby = cluster.postgres.as_ref().expect("its own").standby(data, log).await;
    cluster.standby = Some(standby.unwrap_or_else(|error| panic!("{error}")));
}

fn standby(cluster: &mut Cluster) -> &mut Postgres {
    cluster.standby.as_mut().expect("it was added")
}

/// The standby itself, past the address.
async fn at_the_standby(cluster: &Cluster) -> Option<sqlx::PgConnection> {
    connect(&cluster.standby.as_ref().expect("it was added").admin_url()).await.ok()
}

/// From now on no commit is answered before the standby has it.
async fn commits_wait_for_it(cluster: &Cluster) {
    for statement in ["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"] {
        primary(cluster).await.execute(statement).await.expect("the superuser may");
    }
    let synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    eventually("the standby is synchronous", PATIENCE, || async {
        (number(cluster, synchronous).await == 1).then_some(())
    })
    .await;
}

/// Ends all waits for the standby: what waited is committed now, on the primary alone, and nobody is told so.
async fn broken_off(cluster: &Cluster) {
    let waits = format!("FROM pg_stat_activity WHERE {OURS} AND wait_event = 'SyncRep'");
    let broken = number(cluster, &format!("SELECT count(pg_terminate_backend(pid)) {waits}")).await;
    assert!(broken > 0, "nobody waited for the standby, so this says nothing");
}

/// None of them is left behind at a server that nobody hears of any more.
async fn every_replica_sells(cluster: &Cluster) {
    for replica in &cluster.reservation {
        let settings = Settings { deadline: PATIENCE, ..Settings::default() };
        let client = ReservationClient::new(&connect_to(&[replica], settings));
        let cart = Reserve::new(ReservationKey::new(), "cart", [Line::anywhere("DESK", 1)]);
        let cart = cart.hold_for(Duration::from_secs(1));
        client.reserve(&cart).await.unwrap_or_else(|error| panic!("{} does not sell: {error}", replica.name()));
    }
}

/// Waits until the standby has all that the primary has.
async fn it_has_all(cluster: &Cluster) {
    let written = scalar(cluster, "SELECT pg_current_wal_flush_lsn()::text").await;
    eventually("the standby has it", PATIENCE, || async {
        let all = AssertSqlSafe(format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn"));
        sqlx::query_scalar::<_, bool>(all).fetch_one(&mut at_the_standby(cluster).await?).await.ok()?.then_some(())
    })
    .await;
}

/// The standby is a primary from now on.
async fn promote(cluster: &Cluster) {
    let mut admin = at_the_standby(cluster).await.expect("it answers");
    let promoted: bool =
        sqlx::query_scalar("SELECT pg_promote()").fetch_one(&mut admin).await.expect("the superuser may");
    assert!(promoted, "it was not promoted in a minute");
}

fn address(cluster: &Cluster) -> &Proxy {
    cluster.address.as_ref().expect("an address")
}

/// New connections lead to the standby; those that are there stay where they are.
fn lead_to_the_standby(cluster: &Cluster) {
    let port = cluster.standby.as_ref().expect("it was added").port();
    address(cluster).lead_to((Ipv4Addr::LOCALHOST, port).into());
    address(cluster).heal();
}

/// The server that was the primary at first, past the address.
async fn primary(cluster: &Cluster) -> sqlx::PgConnection {
    connect(&cluster.postgres.as_ref().expect("its own").admin_url()).await.expect("it answers")
}

async fn scalar(cluster: &Cluster, query: &str) -> String {
    let query = AssertSqlSafe(query.to_owned());
    sqlx::query_scalar(query).fetch_one(&mut primary(cluster).await).await.expect("the superuser may")
}

async fn number(cluster: &Cluster, query: &str) -> i64 {
    let query = AssertSqlSafe(query.to_owned());
    sqlx::query_scalar(query).fetch_one(&mut primary(cluster).await).await.expect("the superuser may")
}

/// Waits until the server that was the primary at first has no row of this.
async fn at_the_primary_none(cluster: &Cluster, what: &str, of: &str) {
    let query = format!("SELECT count(*) FROM {of}");
    eventually(what, PATIENCE, || async { (number(cluster, &query).await == 0).then_some(()) }).await;
}

/// Between these moments nobody heard of an effect that he, or whoever asked before him, had not heard of before.
fn nothing_new_was_answered(ended: &Ended, from: i64, until: i64) {
    let done = || ended.history.calls.iter().filter(|call| call.answer.is_done());
    let before: HashSet<_> =
        done().filter(|call| call.invoked_micros <= from).map(|call| (call.verb, call.reservation)).collect();
    let meanwhile = done().filter(|call| call.invoked_micros > from && call.answered_micros < until);
    let new: Vec<_> = meanwhile.filter(|call| !before.contains(&(call.verb, call.reservation))).collect();
    assert!(new.is_empty(), "answered, and only the primary had it: {new:?}");
}

/// What callers who were left in doubt between these moments were told by the service itself, rather than by their own clocks.
fn told_by_the_service(ended: &Ended, from: i64, until: i64) -> BTreeMap<&str, usize> {
    let mut told = BTreeMap::new();
    for call in &ended.history.calls {
        if let Answer::Unknown(message) = &call.answer
            && call.invoked_micros > from
            && call.answered_micros < until
            && message.contains("the record")
        {
            *told.entry(message.as_str()).or_default() += 1;
        }
    }
    told
}
