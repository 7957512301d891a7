//! What a reservation costs: processor time of each part, WAL, round trips; and what more replicas and a standby change. SCALING.md quotes it.

use std::process::ExitCode;

use clap::Args;
use holdfast_loadgen::history::{Answer, Verb};
use holdfast_loadgen::load;
use sqlx::Executor as _;

use super::shop::{HOT, Settings, Shop};
use crate::error::{Result, StackError};
use crate::postgres::store;
use crate::project::Project;
use crate::say::say;

/// Clock ticks in a second, as /proc counts processor time on Linux.
const TICKS: u64 = 100;

/// Flags of `bench scale`.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// SKUs in the shop.
    #[arg(long, value_name = "COUNT", default_value_t = 100_000)]
    skus: u32,
    /// Reservations in each measurement.
    #[arg(long, value_name = "COUNT", default_value_t = 20_000)]
    reservations: usize,
    /// Callers at once.
    #[arg(long, value_name = "COUNT", default_value_t = 128)]
    callers: usize,
}

/// What is wanted.
#[derive(Clone, Copy)]
enum Wanted {
    /// Everybody wants the same.
    One,
    /// Everybody wants another.
    Many,
}

/// Measures each arrangement twice, in turn, and prints each beside the first.
pub(super) async fn run(project: &Project, flags: &Flags) -> Result<ExitCode> {
    let mut shop = Shop::open(project, flags.skus, &Settings::default()).await?;
    say(
        "what is wanted · replicas · standby       reservations/s   p50 ms   p99 ms   batch   µs of processor each: Postgres, services, Redis   WAL bytes each",
    );
    for round in 1..=2 {
        say(format!("round {round}"));
        shop.set_standby(None).await?;
        shop.measure(flags, Wanted::One, "one SKU     · {} · none").await?;
        shop.measure(flags, Wanted::Many, "many SKUs   · {} · none").await?;
        if round == 1 {
            shop.add_replica().await?;
        }
        shop.measure(flags, Wanted::Many, "many SKUs   · {} · none").await?;
        shop.add_standby().await?;
        shop.set_standby(Some("on")).await?;
        shop.measure(flags, Wanted::Many, "many SKUs   · {} · flushed there").await?;
        shop.set_standby(Some("remote_apply")).await?;
        shop.measure(flags, Wanted::Many, "many SKUs   · {} · applied there").await?;
    }
    shop.set_standby(None).await?;
    let oversold = shop.ask("SELECT count(*) FROM stock WHERE held + committed > on_hand + backorder").await?;
    shop.close().await?;
    if oversold > 0 {
        return Err(StackError::Found(format!("{oversold} rows are oversold")));
    }
    Ok(ExitCode::SUCCESS)
}

/// Readings before and after a load.
struct Reading {
    postgres: u64,
    services: u64,
    redis: u64,
    wal: i64,
    batches: f64,
}

impl Shop {
    async fn measure(&mut self, flags: &Flags, wanted: Wanted, name: &str) -> Result<()> {
        let skus = match wanted {
            Wanted::One => vec![HOT.to_owned()],
            // Not one after the other, so that neighbours in an index are not wanted together; and each has units enough.
            Wanted::Many => (0..flags.reservations as u64).map(|n| code(n, flags.skus)).collect(),
        };
        let spec = load::Spec {
            endpoints: self.endpoints(),
            skus,
            callers: flags.callers,
            reservations_per_caller: (flags.reservations / flags.callers.max(1)).max(1),
            attempts_max: 1,
            connections: 4,
            ..load::Spec::new("", HOT)
        };
        let before = self.reading().await?;
        let history = load::run(&spec).await.map_err(|error| StackError::Found(error.to_string()))?;
        let after = self.reading().await?;
        let done = history.count(Verb::Reserve, Answer::is_done).max(1);
        let each = |ticks: u64| ticks as f64 * (1_000_000.0 / TICKS as f64) / done as f64;
        let Some(latency) = history.latency(Verb::Reserve) else {
            return Err(StackError::Found("nobody was answered".to_owned()));
        };
        let name = name.replace("{}", &(1 + self.others.len()).to_string());
        say(format!(
            "{name:40} {:>15.0} {:>8.1} {:>8.1} {:>7.1}   {:>28.0} {:>9.0} {:>7.0}   {:>14.0}{}",
            history.throughput(),
            latency.p50.as_secs_f64() * 1_000.0,
            latency.p99.as_secs_f64() * 1_000.0,
            done as f64 / (after.batches - before.batches).max(1.0),
            each(after.postgres - before.postgres),
            each(after.services - before.services),
            each(after.redis - before.redis),
            (after.wal - before.wal) as f64 / done as f64,
            if done == history.calls.len() {
                String::new()
            } else {
                format!("   ({} not granted)", history.calls.len() - done)
            },
        ));
        Ok(())
    }

    async fn reading(&mut self) -> Result<Reading> {
        let wal = self.ask("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint").await?;
        let mut batches = 0.0;
        for service in std::iter::once(&self.service).chain(&self.others) {
            batches += super::shop::metric(service, "holdfast_batch_operations_count{lane=\"checkout\"}").await;
        }
        let pid = |process: Option<&mut crate::process::Process>| {
            process.map(|process| process.pid()).ok_or(StackError::NotRunning)
        };
        let mut services = processor_ticks(pid(self.service.process())?)?;
        for other in &mut self.others {
            services += processor_ticks(pid(other.process())?)?;
        }
        let postgres = pid(self.stores.postgres.process())?;
        let mut ticks = processor_ticks(postgres)?;
        for backend in children(postgres)? {
            // One that has just ended was counted by its parent.
            ticks += processor_ticks(backend).unwrap_or(0);
        }
        Ok(Reading {
            postgres: ticks,
            services,
            redis: processor_ticks(pid(self.stores.redis.process())?)?,
            wal,
            batches,
        })
    }

    /// Whether commits wait for a standby, and for what there (`synchronous_commit`).
    async fn set_standby(&mut self, waits: Option<&str>) -> Result<()> {
        let names = if waits.is_some() { "*" } else { "" };
        for statement in [
            format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"),
            format!("ALTER SYSTEM SET synchronous_commit = '{}'", waits.unwrap_or("on")),
            "SELECT pg_reload_conf()".to_owned(),
        ] {
            let done = self.admin.execute(sqlx::AssertSqlSafe(statement)).await;
            done.map_err(|error| store("setting what commits wait for", &error))?;
        }
        Ok(())
    }
}

/// The code of a SKU, far from the one before.
fn code(n: u64, skus: u32) -> String {
    format!("CHAIR-ERGO-{:07}", 1 + n * 7_919 % u64::from(skus.max(1)))
}

/// Processor time of a process and of its children that have ended.
fn processor_ticks(pid: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_err(|error| StackError::io("reading a process's processor time", error))?;
    // The name may have spaces and brackets in it: what follows the last bracket is numbers.
    let numbers: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks = |index: usize| numbers.get(index).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    // utime, stime, cutime, cstime: fields 14 to 17 of proc(5), of which the first two are before the bracket.
    Ok((11..=14).map(ticks).sum())
}

/// The processes that a process has started.
fn children(pid: u32) -> Result<Vec<u32>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .map_err(|error| StackError::io("reading a process's children", error))?;
    Ok(text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_of_this_process_grows_as_it_works() {
        let pid = std::process::id();
        let before = processor_ticks(pid).unwrap();
        let mut sum = 0_u64;
        while processor_ticks(pid).unwrap() < before + 2 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(processor_ticks(u32::MAX).is_err());
    }

    #[test]
    fn wanted_skus_are_in_the_shop() {
        assert!((0..50_000).all(|n| ("CHAIR-ERGO-0000001"..="CHAIR-ERGO-0000010").contains(&code(n, 10).as_str())));
    }
}
