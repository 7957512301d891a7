//! What Postgres has, joined with what the callers saw; and how soon everything is at rest again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use holdfast_client::api::reservation::v1 as pb;
use holdfast_client::api::reservation::v1::{
    LedgerEntry, ListLedgerEntriesRequest, ListReservationsRequest, ReadSource, Reservation,
};
use holdfast_client::{RequestKey, ReservationKey};
use holdfast_loadgen::check::{Evidence, Findings, check};
use holdfast_testkit::eventually;

use crate::load::Ended;
use crate::world::Cluster;

/// I7: from the last fault until Redis says what Postgres says.
pub(crate) const CONVERGED_WITHIN: Duration = Duration::from_secs(5);
/// I5: the row of a hold that is over follows within two sweep periods of half a second …
const SWEPT_WITHIN: Duration = Duration::from_secs(1);
/// … and Redis gives a take back that nobody gave back, after a second.
const LAPSED_WITHIN: Duration = Duration::from_secs(1);
/// What a machine may add that has less to give than it was asked for.
const BUSY_MACHINE: Duration = Duration::from_millis(1500);

impl Cluster {
    /// Counts so many units of each SKU in the one warehouse.
    pub(crate) async fn count(&self, units: &[(&str, i64)]) {
        let count = |(sku, quantity): &(&str, i64)| pb::Count {
            sku: (*sku).to_owned(),
            location: "main".to_owned(),
            quantity: *quantity,
            ..Default::default()
        };
        let request = pb::ApplyCountsRequest {
            connection: "house".to_owned(),
            run: "run".to_owned(),
            as_of_time: Some(std::time::SystemTime::now().into()),
            meaning: pb::CountMeaning::OnHand.into(),
            counts: units.iter().map(count).collect(),
            ..Default::default()
        };
        self.stock().apply_counts(RequestKey::new(), request).await.expect("the counts are taken");
    }

    /// All reservations of the record, read as any caller reads them.
    pub(crate) async fn all_reservations(&self) -> HashMap<ReservationKey, Reservation> {
        let client = self.reservations();
        let mut request = ListReservationsRequest { page_size: 500, ..Default::default() };
        let mut all = HashMap::new();
        loop {
            let page = client.list_reservations(request.clone()).await.expect("a page of reservations");
            let keyed = page.reservations.into_iter();
            all.extend(keyed.map(|one| (one.reservation_id.parse().expect("a key"), one)));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return all;
            }
        }
    }

    /// A SKU's whole ledger.
    pub(crate) async fn ledger(&self, sku: &str) -> Vec<LedgerEntry> {
        let client = self.stock();
        let mut request = ListLedgerEntriesRequest { sku: sku.to_owned(), page_size: 1000, ..Default::default() };
        let mut entries = Vec::new();
        loop {
            let page = client.list_ledger_entries(request.clone()).await.expect("a page of the ledger");
            entries.extend(page.entries);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return entries;
            }
        }
    }

    /// Holds what the buyers saw against what the record has.
    pub(crate) async fn joined(&self, ended: &Ended, skus: &[&str]) -> Findings {
        let records = self.all_reservations().await;
        let mut ledgers = HashMap::new();
        for sku in skus {
            ledgers.insert((*sku).to_owned(), self.ledger(sku).await);
        }
        let evidence =
            Evidence { calls: &ended.history.calls, records: &records, ledgers: &ledgers, clock: ended.clock };
        let findings = check(&evidence);
        assert_eq!(findings.broken, Vec::<String>::new());
        findings
    }

    /// After a load and its faults: units that nobody has any more are free again as soon as PROTOCOL says, and Redis agrees with Postgres. `downtime` is
    /// the longest time in which no replica was there to do it.
    pub(crate) async fn comes_to_rest(&self, skus: &[&str], downtime: Duration) {
        let began = Instant::now();
        self.redis_converges(skus).await;
        let converged = began.elapsed();
        eventually("no take is left in Redis", LAPSED_WITHIN + BUSY_MACHINE, || async {
            (self.running_takes().await == 0).then_some(())
        })
        .await;
        // The longest hold of a buyer, and its sweep.
        eventually("no hold is left", Duration::from_secs(10), || async {
            (self.number("SELECT count(*) FROM reservation WHERE state = 'HELD'").await == 0).then_some(())
        })
        .await;
        assert_eq!(self.number("SELECT sum(held)::bigint FROM stock").await, 0);
        let latest = self.latest_sweep().await;
        eprintln!(
            "Redis converged after {converged:?}; the row of an ended hold followed after {latest:?} at the latest"
        );
        assert!(latest <= SWEPT_WITHIN + BUSY_MACHINE + downtime, "a hold leaked for {latest:?}");
        self.redis_converges(skus).await;
    }

    /// Published availability becomes Postgres's, for every SKU.
    pub(crate) async fn redis_converges(&self, skus: &[&str]) {
        let client = self.stock();
        let ask = |source| client.batch_get_availability(skus.iter().map(|sku| (*sku).to_owned()).collect(), source);
        eventually("Redis says what Postgres says", CONVERGED_WITHIN, || async {
            let (published, recorded) = tokio::join!(ask(ReadSource::Cache), ask(ReadSource::Record));
            let (published, recorded) = (published.ok()?.results, recorded.ok()?.results);
            let from_redis = published.iter().all(|one| one.source() == ReadSource::Cache);
            let same = published.iter().zip(&recorded).all(|(one, other)| one.available == other.available);
            (from_redis && same).then_some(())
        })
        .await;
    }

    /// Takes that have not lapsed, over all SKUs, by Redis's own clock. Takes are the only sorted sets. A shard that is dead has none, and a replica's are its master's.
    pub(crate) async fn running_takes(&self) -> usize {
        let script = "if not string.find(redis.call('INFO', 'replication'), 'role:master') then return 0 end
            local t = redis.call('TIME'); local now = t[1] * 1000 + t[2] / 1000; local n = 0
            for _, key in ipairs(redis.call('KEYS', '*')) do
                if redis.call('TYPE', key).ok == 'zset' then n = n + redis.call('ZCOUNT', key, now, '+inf') end
            end
            return n";
        let mut takes = 0;
        for url in self.redis_urls() {
            let client = redis::Client::open(url).expect("an address");
            match client.get_multiplexed_async_connection().await {
                Ok(mut connection) => {
                    let counted: redis::RedisResult<usize> =
                        redis::Script::new(script).invoke_async(&mut connection).await;
                    takes += counted.expect("the takes are counted");
                }
                Err(error) => assert!(self.shards.is_some(), "Redis answers: {error}"),
            }
        }
        takes
    }

    /// The longest that a hold outlived its time.
    async fn latest_sweep(&self) -> Duration {
        let micros = "SELECT coalesce(max(extract(epoch FROM state_at - expires_at) * 1000000), 0)::bigint
            FROM reservation WHERE state = 'EXPIRED'";
        Duration::from_micros(self.number(micros).await.unsigned_abs())
    }
}
