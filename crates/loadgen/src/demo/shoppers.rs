//! The shoppers who meanwhile fill carts of other SKUs: one to four lines, the popular things more often.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_client::{Line, RequestKey, ReservationKey, Reserve};

use super::buyers::{Wish, confirm, release, settle};
use super::sale::Sale;
use crate::rng::Rng;

/// One cart and what becomes of it.
#[derive(Debug)]
pub(super) struct Shopper {
    number: usize,
    lines: Vec<Line>,
    end: End,
    pause: Duration,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Paid,
    GivenBack,
    Abandoned,
}

impl Shopper {
    /// Fills a cart from what there is; there must be something.
    pub(super) fn fill(number: usize, shelf: &[String], rng: &mut Rng) -> Self {
        let mut lines: BTreeMap<&String, i64> = BTreeMap::new();
        for _ in 0..rng.between(1, 4) {
            // The product makes the first few far more popular than the rest.
            let [one, two, three] = [(); 3].map(|()| rng.below(1_000));
            let sku = &shelf[one * two * three * shelf.len() / 1_000_000_000];
            *lines.entry(sku).or_default() += if rng.permille(850) { 1 } else { 2 };
        }
        let lines = lines.into_iter().map(|(sku, units)| Line::anywhere(sku, units)).collect();
        let end = match rng.below(10) {
            0..7 => End::Paid,
            7 => End::GivenBack,
            _ => End::Abandoned,
        };
        Self { number, lines, end, pause: Duration::from_millis(rng.between(10, 400) as u64) }
    }

    /// Holds the cart, thinks, and ends it.
    pub(super) async fn run(self, sale: &Sale) {
        let reserve = Reserve::new(ReservationKey::new(), format!("cart-{}", self.number), self.lines);
        let hold = match self.end {
            End::Paid | End::GivenBack => Duration::from_secs(60),
            End::Abandoned => Duration::from_secs(2),
        };
        let reserve = reserve.hold_for(hold);
        let Wish::Held(key) = settle(sale, self.number, &reserve).await else { return };
        tokio::time::sleep(self.pause).await;
        match self.end {
            End::Paid => drop(confirm(sale, self.number, RequestKey::new(), key).await),
            End::GivenBack => release(sale, self.number, key).await,
            End::Abandoned => {}
        }
    }
}
