//! What happens to orders: shipped and called off in parts, and stopped where a price typed wrong would empty the shelf.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use holdfast_client::api::catalog::v1::SellingPolicy;
use holdfast_client::api::reservation::v1::{CancelRequest, FulfilRequest, Portion, ReservationState};
use holdfast_client::{Error, Line, RequestKey, ReservationKey, Reserve};

use super::feed::OPERATOR;
use super::report::quoted;
use super::story::{POLICY_TIME_MAX, Story};

/// Units that the story's orders need on offer.
const UNITS_MIN: i64 = 30;

/// Units a minute that the breaker lets through.
const MAX_PER_MINUTE: i64 = 20;

/// Of these, what the first buyer takes.
const FIRST_CART: i64 = 15;

impl Story<'_> {
    /// An order of three: two are shipped, one is called off.
    pub(super) async fn ship_and_cancel(&mut self) -> anyhow::Result<()> {
        let Some(sku) = self.plenty().await? else { return Ok(()) };
        self.say.title("9. An order is shipped in part, and the rest called off");
        let before = self.level(&sku).await?;
        let key = self.hold(&sku, 3).await.context("an order cannot be held")?;
        let reservations = &self.services.reservations;
        reservations.confirm(RequestKey::new(), key).await.context("an order cannot be confirmed")?;
        let portions = vec![Portion { sku: sku.clone(), quantity: 2, ..Portion::default() }];
        let request = FulfilRequest { reservation_id: key.to_string(), portions, ..FulfilRequest::default() };
        reservations.fulfil(RequestKey::new(), request).await.context("units cannot be shipped")?;
        let request = CancelRequest { reservation_id: key.to_string(), ..CancelRequest::default() };
        let cancelled =
            reservations.cancel(RequestKey::new(), request).await.context("the rest cannot be called off")?;
        let state = cancelled.current_state();
        let claim = "2 are shipped, 1 is called off, and the order is fulfilled";
        self.claims.check(state == ReservationState::Fulfilled, claim, || format!("{state:?}"));
        let after = self.level(&sku).await?;
        let claim = "the one can be sold again; the two stay deducted until the vendor's next number is without them";
        self.claims.equal(after.available, before.available - 2, claim);
        self.say.command(&self.options.ctl, &format!("reservation get {key}"));
        self.say.command(&self.options.ctl, &format!("stock ledger {} --limit 8", quoted(&sku)));
        Ok(())
    }

    /// More units in a minute than the policy allows pause the SKU until a person resumes it.
    pub(super) async fn sold_too_fast(&mut self) -> anyhow::Result<()> {
        let Some(sku) = self.plenty().await? else { return Ok(()) };
        self.say.title("10. A price typed wrong: the SKU sells too fast, stops by itself, and waits for a person");
        let policy = SellingPolicy { max_per_minute: MAX_PER_MINUTE, ..SellingPolicy::default() };
        self.set_policy(&sku, policy, "policy.max_per_minute").await?;
        self.wait_for_the_breaker(&sku).await?;
        let first = self.hold(&sku, FIRST_CART).await.context("what is allowed cannot be held")?;
        let second = self.hold(&sku, MAX_PER_MINUTE - FIRST_CART + 1).await;
        let claim = format!("{FIRST_CART} units are held; one more than {MAX_PER_MINUTE} within a minute pauses it");
        self.claims.check(matches!(second, Err(Error::SellingPaused { .. })), &claim, || format!("{second:?}"));
        let level = self.level(&sku).await?;
        self.claims.check(level.paused && level.available == 0, "nothing of it is offered", || format!("{level:?}"));
        let confirmed = self.services.reservations.confirm(RequestKey::new(), first).await;
        self.claims.check(confirmed.is_ok(), "who had it in the cart can buy it", || format!("{confirmed:?}"));
        let skus = vec![sku.clone()];
        let resumed =
            self.services.stock.resume_selling(RequestKey::new(), skus, OPERATOR, "the price is right again").await;
        resumed.context("selling cannot be resumed")?;
        let again = self.hold(&sku, 1).await;
        self.claims.check(again.is_ok(), &format!("{OPERATOR} resumed it, and it sells"), || format!("{again:?}"));
        if let Ok(key) = again {
            self.services.reservations.release(RequestKey::new(), key).await.context("a hold cannot be released")?;
        }
        self.set_policy(&sku, SellingPolicy::default(), "policy.max_per_minute").await?;
        self.say.command(&self.options.ctl, "stock paused");
        self.say.command(&self.options.ctl, &format!("stock resume {} --reason 'the price is right'", quoted(&sku)));
        Ok(())
    }

    /// The SKU of the delivery, if enough of it can be sold.
    async fn plenty(&self) -> anyhow::Result<Option<String>> {
        let Some(part) = &self.cast.delivered else { return Ok(None) };
        let level = self.level(&part.sku).await?;
        Ok((level.available >= UNITS_MIN).then(|| part.sku.clone()))
    }

    async fn hold(&self, sku: &str, units: i64) -> Result<ReservationKey, Error> {
        let key = ReservationKey::new();
        let reserve = Reserve::new(key, "demo-order", [Line::at(sku, units, self.location)]);
        self.services.reservations.reserve(&reserve).await.map(|_| key)
    }

    /// Until the policy has reached reservation; a dry run asks without pausing anything.
    async fn wait_for_the_breaker(&self, sku: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let line = Line::at(sku, MAX_PER_MINUTE + 1, self.location);
            let ask = Reserve::new(ReservationKey::new(), "demo-order", [line]).dry_run();
            match self.services.reservations.reserve(&ask).await {
                Err(Error::SellingPaused { .. }) => return Ok(()),
                Ok(_) if began.elapsed() < POLICY_TIME_MAX => tokio::time::sleep(Duration::from_millis(100)).await,
                other => anyhow::bail!("the limit a minute does not hold: {other:?}"),
            }
        }
    }
}
