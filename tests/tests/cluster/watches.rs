//! The client's watches of stock and reservations, while the replicas that serve them are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_client::api::reservation::v1::{ReadSource, ReservationEventKind};
use holdfast_client::{
    AvailabilityEvent, AvailabilityWatch, Line, RequestKey, ReservationEvent, ReservationKey, ReservationWatch, Reserve,
};

use tokio::time::Instant;

use crate::world::{Options, scenario};

const WAIT: Duration = Duration::from_secs(120);
const SKUS: [&str; 2] = ["DESK", "LAMP"];

/// What can be reserved of each row, by its newest version.
#[derive(Default)]
struct Rows(BTreeMap<(String, String), (i64, i64)>);

impl Rows {
    fn total(&self, sku: &str) -> i64 {
        self.0.iter().filter(|((of, _), _)| of == sku).map(|(_, (_, units))| units).sum()
    }

    async fn until(&mut self, watch: &mut AvailabilityWatch, enough: impl Fn(&Self) -> bool) {
        let until = Instant::now() + WAIT;
        while !enough(self) {
            let event = tokio::time::timeout_at(until, watch.next()).await.expect("what changed is told");
            if let AvailabilityEvent::Row(row) = event.expect("the watch goes on") {
                let known = self.0.entry((row.sku, row.location)).or_default();
                *known = (*known).max((row.version, row.available));
            }
        }
    }
}

async fn until_sold(sold: &mut BTreeSet<String>, watch: &mut ReservationWatch, wanted: &BTreeSet<String>) {
    let until = Instant::now() + WAIT;
    while !wanted.is_subset(sold) {
        // Checkpoints come though nothing happens: the wait is for what is wanted.
        let event = tokio::time::timeout_at(until, watch.next()).await.expect("what happened is told");
        if let ReservationEvent::Happened(event) = event.expect("the watch goes on") {
            assert_eq!(event.kind(), ReservationEventKind::Confirmed);
            sold.insert(event.reservation.expect("a reservation").reservation_id);
        }
    }
}

#[test]
fn watches_see_every_sale_though_the_replicas_that_serve_them_are_killed() {
    scenario(Options::reservation(2), async |cluster| {
        cluster.count(&[("DESK", 1_000), ("LAMP", 1_000)]).await;
        let (stock, reservations) = (cluster.stock(), cluster.reservations());
        let mut availability = stock.watch_availability(Vec::new(), "");
        let mut sales = reservations.watch_reservations("", &[ReservationEventKind::Confirmed], "");
        let (mut rows, mut sold, mut wanted) = (Rows::default(), BTreeSet::new(), BTreeSet::new());
        rows.until(&mut availability, |rows| SKUS.iter().all(|sku| rows.total(sku) == 1_000)).await;
        // A watch tells what happens once it stands: it is opened by the first look at it.
        let first = sales.next().await.expect("nothing is at risk");
        assert!(matches!(first, ReservationEvent::SnapshotEnd), "{first:?}");
        for round in 0..4 {
            for _ in 0..10 {
                let key = ReservationKey::new();
                let cart = Reserve::new(key, "cart", SKUS.map(|sku| Line::anywhere(sku, 1)));
                reservations.reserve(&cart).await.expect("there is enough");
                reservations.confirm(RequestKey::new(), key).await.expect("it is sold");
                wanted.insert(key.to_string());
            }
            let victim = &mut cluster.reservation[round % 2];
            victim.kill().await.expect("it is killed");
            victim.start_again().await.expect("it starts again");
            until_sold(&mut sold, &mut sales, &wanted).await;
            let left = 1_000 - i64::try_from(wanted.len()).expect("few");
            rows.until(&mut availability, |rows| SKUS.iter().all(|sku| rows.total(sku) == left)).await;
        }
        assert_eq!(sold, wanted);
        let skus = SKUS.iter().map(ToString::to_string).collect();
        let record = stock.batch_get_availability(skus, ReadSource::Record).await.expect("availability");
        assert!(record.results.iter().all(|result| result.available == rows.total(&result.sku)));
    });
}
