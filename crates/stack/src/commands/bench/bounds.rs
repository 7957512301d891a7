//! The bounds that reservation promises, each measured on real processes and printed beside what was promised.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use holdfast_loadgen::history::{Answer, Verb};
use sqlx::Executor as _;

use super::shop::{HOT, Settings, Shop, buy};
use crate::error::{Result, StackError};
use crate::postgres::{connect, store};
use crate::project::Project;
use crate::say::say;

const MIB: u64 = 1_024 * 1_024;
/// The most that a replica may take.
const REPLICA_MIB_MAX: u64 = 300;
/// The most that Redis may take for a SKU at rest.
const SKU_BYTES_MAX: u64 = 250;
/// The longest that a rebuild may take.
const REBUILD_MAX: Duration = Duration::from_secs(30);
/// When a rebuild that does not end is given up.
const REBUILD_WAIT: Duration = Duration::from_secs(180);
/// How long requests are waited for to arrive.
const ARRIVE_WAIT: Duration = Duration::from_secs(90);

/// Flags of `bench bounds`.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// SKUs that the replica knows, and Redis.
    #[arg(long, value_name = "COUNT", default_value_t = 100_000)]
    skus: u32,
    /// Requests that wait at once.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    waiting: usize,
    /// Counters that are rebuilt.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    counters: u32,
}

/// Measures all of them and says which were kept.
pub(super) async fn run(project: &Project, flags: &Flags) -> Result<ExitCode> {
    let mut kept = memory(project, flags).await?;
    kept &= rebuild(project, flags.counters).await?;
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verdict(kept: bool) -> &'static str {
    if kept { "kept" } else { "NOT KEPT" }
}

/// Memory of a replica, and of Redis for a SKU.
async fn memory(project: &Project, flags: &Flags) -> Result<bool> {
    // As many requests as are to wait must be let in; they come over four connections.
    let room = flags.waiting + 512;
    // New work may fill 90 % of these.
    let places = room * 10 / 9 + 1;
    let sections = format!(
        "[server]\nrequests_in_flight_max = {places}\nconcurrent_streams_max = {places}\n\n[committer]\nqueue_max = {places}\n\n\
         [limiter]\nrequests_max = {room}\nrequests_per_sku_max = {room}\n"
    );
    // Whoever waits for the row that is held back waits until it is let go.
    let settings = Settings { postgres: "lock_timeout_ms = 120000\nstatement_timeout_ms = 120000\n", sections };
    let mut shop = Shop::open(project, flags.skus, &settings).await?;
    let wanted = i64::from(flags.skus) + 1;
    let (keys, bytes) = published(&shop, wanted, REBUILD_WAIT).await?;
    let each = bytes / u64::try_from(keys).unwrap_or(1).max(1);
    let sku_kept = keys >= wanted && each <= SKU_BYTES_MAX;
    say(format!(
        "Redis         {each} bytes a SKU at rest ({keys} SKUs, one location; at most {SKU_BYTES_MAX}): {}",
        verdict(sku_kept)
    ));

    know_all(&shop, flags.skus).await?;
    let idle = shop.memory()?;
    let mut lock = connect(&shop.admin_url).await?;
    let hold_back = format!("BEGIN; SELECT FROM stock WHERE sku = '{HOT}' FOR UPDATE");
    lock.execute(sqlx::AssertSqlSafe(hold_back)).await.map_err(|error| store("holding back commits", &error))?;
    let (callers, endpoint) = (flags.waiting, shop.service.url());
    let buying = tokio::spawn(buy(endpoint, callers, 1, Duration::from_secs(55)));
    let (mut waiting, mut most) = (0.0_f64, idle);
    let give_up = Instant::now() + ARRIVE_WAIT;
    #[expect(clippy::cast_precision_loss, reason = "nobody lets 2^52 requests wait")]
    let all = callers as f64;
    while Instant::now() < give_up && !buying.is_finished() && waiting < all {
        waiting = waiting.max(shop.metric("holdfast_rpc_server_in_flight").await);
        most = most.max(shop.memory()?);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    most = most.max(shop.memory()?);
    lock.execute("COMMIT").await.map_err(|error| store("letting commits go on", &error))?;
    let history = buying.await.map_err(|error| StackError::Found(error.to_string()))??;
    let done = history.count(Verb::Reserve, Answer::is_done);
    let after = shop.memory()?;
    let kept = most < REPLICA_MIB_MAX * MIB && waiting >= all;
    say(format!(
        "a replica     {} MiB with {} SKUs known and {waiting} requests waiting (less than {REPLICA_MIB_MAX}): {}; {} MiB before, {} MiB after, {done} of {callers} were granted",
        most / MIB,
        flags.skus,
        verdict(kept),
        idle / MIB,
        after / MIB
    ));
    shop.close().await?;
    Ok(sku_kept && kept)
}

/// Asks for every SKU once, as shop pages do.
async fn know_all(shop: &Shop, skus: u32) -> Result<()> {
    let codes: Vec<String> = (1..=skus).map(|n| format!("CHAIR-ERGO-{n:07}")).collect();
    for codes in codes.chunks(1_000) {
        let asked = holdfast_loadgen::load::look(&shop.service.url(), codes.to_vec()).await;
        asked.map_err(|error| StackError::Found(format!("asking what is available: {error}")))?;
    }
    Ok(())
}

/// Counters that Redis has, and the bytes that it uses for them, once there are so many or the time is over.
async fn published(shop: &Shop, wanted: i64, wait: Duration) -> Result<(i64, u64)> {
    let mut redis = shop.redis().await?;
    let failed =
        |error: redis::RedisError| StackError::Store { doing: "asking Redis".into(), detail: error.to_string() };
    let give_up = Instant::now() + wait;
    loop {
        let keys: i64 = redis::cmd("DBSIZE").query_async(&mut redis).await.map_err(failed)?;
        if keys >= wanted || Instant::now() >= give_up {
            let used = used_memory(&mut redis).await.map_err(failed)?;
            let dataset =
                redis::cmd("MEMORY").arg("STATS").query_async::<redis::Value>(&mut redis).await.map_err(failed)?;
            let startup = startup_bytes(&dataset).unwrap_or_default();
            return Ok((keys, used.saturating_sub(startup)));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn used_memory(redis: &mut redis::aio::MultiplexedConnection) -> redis::RedisResult<u64> {
    let info: String = redis::cmd("INFO").arg("memory").query_async(redis).await?;
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    Ok(line.and_then(|number| number.trim().parse().ok()).unwrap_or_default())
}

/// What Redis used when it was empty, as it says itself.
fn startup_bytes(stats: &redis::Value) -> Option<u64> {
    let redis::Value::Array(parts) = stats else { return None };
    let at =
        parts.iter().position(|part| matches!(part, redis::Value::BulkString(name) if name == b"startup.allocated"))?;
    match parts.get(at + 1)? {
        redis::Value::Int(bytes) => u64::try_from(*bytes).ok(),
        _ => None,
    }
}

/// How fast all counters come back after a wipe, while buyers go on.
async fn rebuild(project: &Project, counters: u32) -> Result<bool> {
    let mut shop = Shop::open(project, counters, &Settings::default()).await?;
    let wanted = i64::from(counters) + 1;
    let began = Instant::now();
    published(&shop, wanted, REBUILD_WAIT).await?;
    let fresh = began.elapsed();
    let calm = buy(shop.service.url(), 16, 40, Duration::from_secs(10)).await?;
    let held = shop.ask(&format!("SELECT held FROM stock WHERE sku = '{HOT}'")).await?;

    shop.wipe().await?;
    let began = Instant::now();
    let (endpoint, mut granted, mut refused, mut calls) = (shop.service.url(), 0, 0, 0);
    let buying = async {
        loop {
            let history = buy(endpoint.clone(), 16, 20, Duration::from_secs(10)).await?;
            granted += history.count(Verb::Reserve, Answer::is_done);
            refused += history.count(Verb::Reserve, |answer| matches!(answer, Answer::SoldOut(_) | Answer::Refused(_)));
            calls += history.calls.len();
            if began.elapsed() > REBUILD_WAIT {
                return Err::<(), StackError>(StackError::Found("the rebuild did not end".to_owned()));
            }
        }
    };
    let (keys, _) = tokio::select! {
        ended = published(&shop, wanted, REBUILD_WAIT) => ended?,
        ended = buying => return ended.map(|()| false),
    };
    let took = began.elapsed();
    // What the last round of buyers was granted after the end is not counted above.
    let sold = shop.ask(&format!("SELECT held FROM stock WHERE sku = '{HOT}'")).await? - held;
    let oversold = shop.ask("SELECT count(*) FROM stock WHERE held + committed > on_hand + backorder").await?;
    let is_sold = sold >= i64::try_from(granted).unwrap_or(i64::MAX) && granted > 0;
    let kept = keys >= wanted && took < REBUILD_MAX && oversold == 0 && refused == 0 && is_sold;
    let rate = sold as f64 / took.as_secs_f64();
    say(format!(
        "a rebuild     {:.1} s for {keys} counters after a wipe (less than {} s): {}; meanwhile {sold} reservations ({rate:.0} a second; {:.0} before), {refused} refused, \
         {oversold} rows oversold; {:.1} s for a Redis that was new",
        took.as_secs_f64(),
        REBUILD_MAX.as_secs(),
        verdict(kept),
        calm.throughput(),
        fresh.as_secs_f64()
    ));
    shop.close().await?;
    Ok(kept)
}
