//! What happens to numbers on their way to the buyers: step by step, each explained in a line, held against what the services say, and with the command that
//! repeats or shows it.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use holdfast_client::api::catalog::v1::{SellingPolicy, Sku};
use holdfast_client::api::reservation::v1::{Condition, StockLevel};
use holdfast_client::api::vendorsync::v1::{
    HouseAdjustment, HouseCondition, HouseCount, HouseReason, QuarantineState, QuarantinedRow, RowOutcome, Run,
    RunState, SubmitCountsRequest,
};
use holdfast_client::{Error, Line, RequestKey, ReservationKey, Reserve};

use super::claims::Claims;
use super::feed::{Feed, OPERATOR, decision};
use super::goods::Goods;
use super::later::{Cast, Counted, cut_off, delivery, slip};
use super::report::quoted;
use super::say::{Say, count};
use super::setup::{Place, list_stock};
use super::{Options, Services};

/// Units of the neighbour that its policy keeps back.
const KEPT_BACK: i64 = 2;

/// Units of the wanted SKU that its policy allows in one reservation.
const MAX_PER_RESERVATION: i64 = 2;

/// How long a policy may take from catalog to reservation. Seconds, it is said; a busy machine is given more.
pub(super) const POLICY_TIME_MAX: Duration = Duration::from_secs(30);

/// What the story is told with.
pub(super) struct Story<'a> {
    pub(super) services: &'a Services,
    goods: &'a Goods,
    pub(super) location: &'a str,
    pub(super) options: &'a Options,
    feed: Feed<'a>,
    pub(super) cast: Cast,
    pub(super) say: &'a Say,
    pub(super) claims: Claims<'a>,
}

/// What a guard stopped in the later file.
#[derive(Default)]
struct Stopped {
    wanted: Option<QuarantinedRow>,
    delivered: Option<QuarantinedRow>,
}

/// Tells the story up to the sale, and leaves exactly `options.units` of the wanted SKU to be sold. Answers with the claims that were not true.
///
/// # Errors
/// A service refuses or does not answer, or the wanted SKU cannot be brought to its units: then there is no sale.
pub(super) async fn tell(
    services: &Services,
    goods: &Goods,
    place: &Place,
    options: &Options,
    say: &Say,
) -> anyhow::Result<Vec<String>> {
    let Place { vendor, location, connection } = place;
    let feed = Feed { services, vendor, location, connection, say };
    let cast = Cast::choose(goods)?;
    let mut story = Story { services, goods, location, options, feed, cast, say, claims: Claims::new(say) };
    story.set_policies().await?;
    let is_applied = story.first_file().await?;
    story.policies_hold(is_applied).await?;
    story.count_the_shelf().await?;
    let mut stopped = Stopped::default();
    if is_applied {
        let later;
        (stopped, later) = story.later_file().await?;
        story.file_cut_off(&later).await?;
    }
    story.typed_by_hand().await?;
    story.damaged_returns().await?;
    if is_applied {
        story.decide(stopped).await?;
        story.ship_and_cancel().await?;
        story.sold_too_fast().await?;
    }
    Ok(story.claims.broken)
}

impl Story<'_> {
    async fn set_policies(&mut self) -> anyhow::Result<()> {
        self.say.title(
            "2. A selling policy: what is kept back, and how much one buyer may take; it reaches reservation by itself",
        );
        let wanted = SellingPolicy { max_per_reservation: MAX_PER_RESERVATION, ..SellingPolicy::default() };
        self.set_policy(&self.goods.wanted, wanted, "policy.max_per_reservation").await?;
        let sku = quoted(&self.goods.wanted);
        self.say.command(&self.options.ctl, &format!("sku policy {sku} --max-per-reservation {MAX_PER_RESERVATION}"));
        if let Some(Counted { sku, .. }) = &self.cast.neighbour {
            let neighbour = SellingPolicy { safety_stock: KEPT_BACK, ..SellingPolicy::default() };
            self.set_policy(sku, neighbour, "policy.safety_stock").await?;
            self.say.command(&self.options.ctl, &format!("sku policy {} --safety-stock {KEPT_BACK}", quoted(sku)));
        }
        Ok(())
    }

    pub(super) async fn set_policy(&self, code: &str, policy: SellingPolicy, field: &str) -> anyhow::Result<()> {
        let sku = Sku { code: code.to_owned(), policy: Some(policy), ..Sku::default() };
        let answer = self.services.catalog.update_sku(RequestKey::new(), sku, &[field], false).await;
        let sku = answer.with_context(|| format!("the policy of {code} could not be set"))?.sku.unwrap_or_default();
        self.say.line(&format!("  ✓ {code} has it, as version {} of the SKU", sku.version));
        Ok(())
    }

    /// True if the vendor's file was applied in the end.
    async fn first_file(&mut self) -> anyhow::Result<bool> {
        let file = &self.goods.feed.file;
        let is_known = self.feed.register(file).await?;
        self.say.title(if is_known {
            "3. The vendor's file, on a feed that an earlier demo began: it is compared with the last one"
        } else {
            "3. The vendor's first file: there is nothing to compare it with, so a person looks at it before it counts"
        });
        let before = self.level(&self.goods.wanted).await?;
        let mut run = self.feed.upload(file.name(), &file.bytes()).await?;
        if run.state() == RunState::Held {
            let after = self.level(&self.goods.wanted).await?;
            self.claims.equal(after.on_hand, before.on_hand, "a held file changes nothing");
            run = self.feed.approve(&run, "compared with the delivery notes").await?;
        } else {
            self.claims.check(is_known, "it is compared with the last one", || "a first file was not shown".to_owned());
        }
        self.say.command(&self.options.ctl, &format!("run get {}", run.run_id));
        if run.state() != RunState::Applied {
            self.say.line(&format!("  ! the file was not applied: {}", run.reason));
            self.say.line("  ! the story goes on with the one SKU alone");
        }
        Ok(run.state() == RunState::Applied)
    }

    /// The policies have reached reservation.
    async fn policies_hold(&mut self, is_applied: bool) -> anyhow::Result<()> {
        let began = Instant::now();
        if let (Some(row), true) = (self.cast.neighbour.clone(), is_applied) {
            let mut level = self.level(&row.sku).await?;
            while level.safety_stock != KEPT_BACK && began.elapsed() < POLICY_TIME_MAX {
                tokio::time::sleep(Duration::from_millis(100)).await;
                level = self.level(&row.sku).await?;
            }
            let offered = (level.on_hand - level.held - level.committed - KEPT_BACK).max(0);
            let claim =
                format!("{}: the file says {}, {KEPT_BACK} are kept back, {offered} can be sold", row.sku, row.units);
            let is_true = level.safety_stock == KEPT_BACK && level.available == offered && level.on_hand == row.units;
            self.claims.check(is_true, &claim, || describe(&level));
        }
        Ok(())
    }

    /// More than the policy allows is refused, whatever there is.
    async fn limit_holds(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let too_many = MAX_PER_RESERVATION + 1;
        if self.options.units < too_many {
            return Ok(());
        }
        loop {
            let key = ReservationKey::new();
            let line = Line::at(&self.goods.wanted, too_many, self.location);
            let reserve = Reserve::new(key, "demo-greedy", [line]).hold_for(Duration::from_secs(5));
            let answer = self.services.reservations.reserve(&reserve).await;
            if answer.is_ok() {
                self.services
                    .reservations
                    .release(RequestKey::new(), key)
                    .await
                    .context("a hold cannot be released")?;
            }
            let refused = matches!(answer, Err(Error::LimitExceeded { .. }));
            if refused || began.elapsed() > POLICY_TIME_MAX {
                let claim = format!("{too_many} at once are refused: {MAX_PER_RESERVATION} are allowed");
                self.claims.check(refused, &claim, || match answer {
                    Ok(_) => "they were held".to_owned(),
                    Err(error) => error.to_string(),
                });
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Sees to it that exactly so many units of the wanted SKU can be reserved here.
    async fn count_the_shelf(&mut self) -> anyhow::Result<()> {
        let (wanted, units) = (self.goods.wanted.clone(), self.options.units);
        let level = self.level(&wanted).await?;
        if level.available == units {
            self.claims.check(true, &format!("{wanted}: {units} can be sold, as the file says"), String::new);
            return self.limit_holds().await;
        }
        self.say.title(&format!(
            "   Somebody of the shop counts the shelf, so that {units} units of {wanted} are for sale"
        ));
        // What the shelf must hold, so that after holds and unshipped sales (of an earlier demo) so many are left.
        let counted = units + level.held + level.committed + level.safety_stock - level.backorder_limit;
        if let Some(waits) = self.type_count(&wanted, counted, level.on_hand).await? {
            let why = "counted twice, by two people";
            let approved = self.approve(&waits, why).await?;
            self.say
                .line(&format!("  ✓ a guard stopped it ({}), {OPERATOR} approved it: {why}", approved.rules.join(" ")));
        }
        let (location, code) = (self.location, quoted(&wanted));
        let count = format!("stock count {location} {code}={counted} --expected {}", level.on_hand);
        self.say.command(&self.options.ctl, &count);
        let available = self.level(&wanted).await?.available;
        anyhow::ensure!(available == units, "{wanted} has {available} units instead of {units} after it was counted");
        self.claims.check(true, &format!("{units} can be sold"), String::new);
        self.limit_holds().await
    }

    async fn later_file(&mut self) -> anyhow::Result<(Stopped, String)> {
        let wanted = self.goods.wanted.clone();
        let before = self.level(&wanted).await?;
        // Beside both what lies there and what the vendor said last.
        let slip = slip(before.on_hand.max(self.cast.wanted_units));
        self.say.title(&format!(
            "4. A later file says {slip} where there were {}: that row waits for a person, the rows beside it are applied",
            before.on_hand
        ));
        let later = self.cast.later_file(self.goods, slip)?;
        let path = self.options.dir.join("stock-later.csv");
        std::fs::write(&path, &later).with_context(|| format!("cannot write {}", path.display()))?;
        let mut run = self.feed.upload("stock-later.csv", later.as_bytes()).await?;
        if run.state() == RunState::Held {
            // A feed whose every file has rows that cannot be read: the rest of it is as good as that of the first one.
            run = self.feed.approve(&run, "as much of it as of the first file can be read").await?;
        }
        let state = run.state();
        self.claims.check(state == RunState::Applied, "the file is applied", || format!("{state:?}: {}", run.reason));
        let waits = self.feed.waiting(&run, &wanted).await?;
        let instead = || "no guard stopped it".to_owned();
        self.claims.check(waits.is_some(), &format!("the {slip} wait: {}", why(waits.as_ref())), instead);
        let after = self.level(&wanted).await?;
        self.claims.equal(after.available, before.available, &format!("{} stay on offer", before.available));
        if let Some(row) = &self.cast.neighbour {
            let level = self.level(&row.sku).await?;
            let claim = format!("{} beside it went from {} to {}", row.sku, row.units, row.units + 2);
            self.claims.equal(level.on_hand, row.units + 2, &claim);
        }
        self.say.command(&self.options.ctl, &format!("quarantine list --connection {}", self.feed.connection));
        let delivered = match &self.cast.delivered {
            Some(row) => self.feed.waiting(&run, &row.sku).await?,
            None => None,
        };
        Ok((Stopped { wanted: waits, delivered }, later))
    }

    async fn file_cut_off(&mut self, later: &str) -> anyhow::Result<()> {
        self.say.title("5. A file that is cut off in the middle is held as a whole: what is missing in it is not gone");
        if !self.cast.can_be_cut {
            self.say.line("  (left out: in a file of so few rows, a few that are missing say nothing)");
            return Ok(());
        }
        let half = cut_off(later);
        let path = self.options.dir.join("stock-cut-off.csv");
        std::fs::write(&path, half).with_context(|| format!("cannot write {}", path.display()))?;
        let before = self.shelves().await?;
        let run = self.feed.upload("stock-cut-off.csv", half.as_bytes()).await?;
        let state = run.state();
        let is_held = matches!(state, RunState::Held | RunState::Refused);
        self.claims.check(is_held, "it is not applied", || format!("{state:?}: {}", run.reason));
        let after = self.shelves().await?;
        let changed = before.iter().filter(|row| !after.contains(row)).count();
        let claim = format!("not one of {} stock rows changed", count(before.len()));
        self.claims.check(changed == 0 && before.len() == after.len(), &claim, || format!("{changed} did"));
        self.say.command(&self.options.ctl, &format!("run get {}", run.run_id));
        Ok(())
    }

    async fn typed_by_hand(&mut self) -> anyhow::Result<()> {
        let wanted = self.goods.wanted.clone();
        let before = self.level(&wanted).await?;
        let slip = slip(before.on_hand);
        self.say.title(&format!(
            "6. Somebody of the shop types {slip} where there are {}: the same guards look at it",
            before.on_hand
        ));
        let waits = self.type_count(&wanted, slip, before.on_hand).await?;
        let instead = || "no guard stopped it".to_owned();
        self.claims.check(waits.is_some(), &format!("it waits: {}", why(waits.as_ref())), instead);
        let after = self.level(&wanted).await?;
        self.claims.equal(after.available, before.available, &format!("{} stay on offer", before.available));
        let (location, code) = (self.location, quoted(&wanted));
        let count = format!("stock count {location} {code}={slip} --expected {}", before.on_hand);
        self.say.command(&self.options.ctl, &count);
        Ok(())
    }

    async fn damaged_returns(&mut self) -> anyhow::Result<()> {
        self.say.title("7. Three damaged returns: they are there, and nobody can buy them");
        let sku = self.cast.neighbour.as_ref().map_or(&self.goods.wanted, |row| &row.sku).clone();
        let before = self.level(&sku).await?;
        let returned = HouseAdjustment {
            sku: sku.clone(),
            location: self.location.to_owned(),
            condition: HouseCondition::Damaged.into(),
            delta: 3,
            reason: HouseReason::Returned.into(),
        };
        let answer =
            self.services.house.submit_adjustments(RequestKey::new(), vec![returned], OPERATOR, "box torn").await;
        let stopped = answer.context("the returns could not be booked")?.quarantined;
        self.claims.check(stopped.is_none(), "they are booked", || why(stopped.as_ref()));
        let after = self.level(&sku).await?;
        self.claims.equal(damaged(&after), damaged(&before) + 3, &format!("{sku}: 3 more are damaged"));
        self.claims.equal(after.available, before.available, &format!("{} can be sold, as before", before.available));
        let words = format!("stock adjust {} {} 3 --condition damaged --reason returned", quoted(&sku), self.location);
        self.say.command(&self.options.ctl, &words);
        Ok(())
    }

    async fn decide(&mut self, stopped: Stopped) -> anyhow::Result<()> {
        self.say.title("8. A person decides what waits: believes one number, not the other; who and why is kept");
        if let (Some(row), Some(part)) = (&stopped.delivered, &self.cast.delivered) {
            let part = part.clone();
            let why = "a delivery came in, the note is there";
            let before = self.level(&part.sku).await?;
            let decided = self.approve(row, why).await?;
            let kept = (decided.decided_by.as_str(), decided.decision_reason.as_str()) == (OPERATOR, why);
            self.claims.check(
                kept,
                &format!("{OPERATOR} approved {} of {}: {why}", delivery(part.units), part.sku),
                || format!("{:?}, by {:?}: {:?}", decided.state(), decided.decided_by, decided.decision_reason),
            );
            let after = self.level(&part.sku).await?;
            let more = delivery(part.units) - part.units;
            self.claims.equal(after.on_hand, before.on_hand + more, &format!("{more} more of it are on the shelf"));
            let words = format!("quarantine approve {} --reason 'the note is there'", row.quarantine_id);
            self.say.command(&self.options.ctl, &words);
        }
        let Some(row) = &stopped.wanted else { return Ok(()) };
        let before = self.level(&self.goods.wanted).await?;
        let why = decision(&format!("the vendor's clerk writes {} for \"plenty\"", row.raw_quantity));
        let quarantine = &self.services.quarantine;
        let answer = quarantine.reject_quarantined_row(RequestKey::new(), &row.quarantine_id, &why).await;
        let decided = answer.context("the number could not be rejected")?.row.unwrap_or_default();
        let state = decided.state();
        let claim = format!("{OPERATOR} rejected the {} of {}: {}", row.raw_quantity, row.sku, why.reason);
        self.claims.check(state == QuarantineState::Rejected, &claim, || format!("{state:?}"));
        let after = self.level(&self.goods.wanted).await?;
        self.claims.equal(after.available, before.available, &format!("{} stay on offer", before.available));
        let again = quarantine.approve_quarantined_row(RequestKey::new(), &row.quarantine_id, &why, None).await;
        let is_final = matches!(again, Err(Error::AlreadyDecided { .. }));
        self.claims.check(is_final, "what was decided cannot be decided otherwise", || format!("{again:?}"));
        self.say.command(&self.options.ctl, &format!("quarantine get {}", row.quarantine_id));
        self.claims.equal(after.available, self.options.units, &format!("{} units go on sale", self.options.units));
        Ok(())
    }

    /// Types a number as somebody of the shop who saw so many on hand before; answers with what a guard stopped.
    async fn type_count(&self, sku: &str, quantity: i64, seen: i64) -> anyhow::Result<Option<QuarantinedRow>> {
        let expected_quantity = Some(seen);
        let request = SubmitCountsRequest {
            location: self.location.to_owned(),
            counts: vec![HouseCount { sku: sku.to_owned(), quantity, expected_quantity, overwrite: false }],
            actor: OPERATOR.to_owned(),
            note: "typed in the demo".to_owned(),
            ..SubmitCountsRequest::default()
        };
        let answer = self.services.house.submit_counts(RequestKey::new(), request).await;
        let run: Run = answer.context("the number could not be typed")?.run.context("the answer has no run")?;
        let run = self.feed.until_ended(run).await?;
        let state = run.state();
        anyhow::ensure!(state == RunState::Applied, "what was typed is {state:?}: {}", run.reason);
        self.feed.waiting(&run, sku).await
    }

    async fn approve(&self, row: &QuarantinedRow, why: &str) -> anyhow::Result<QuarantinedRow> {
        let quarantine = &self.services.quarantine;
        let answer =
            quarantine.approve_quarantined_row(RequestKey::new(), &row.quarantine_id, &decision(why), None).await;
        let row = answer.context("the number could not be approved")?.row.unwrap_or_default();
        let outcome = row.outcome();
        let is_applied = matches!(outcome, RowOutcome::Applied | RowOutcome::Unchanged);
        anyhow::ensure!(is_applied, "{} of {} was approved and is {outcome:?}", row.raw_quantity, row.sku);
        Ok(row)
    }

    /// A SKU's stock here, by Postgres; all zeros if there is none.
    pub(super) async fn level(&self, sku: &str) -> anyhow::Result<StockLevel> {
        match self.services.stock.get_stock(sku).await {
            Ok(answer) => {
                Ok(answer.levels.into_iter().find(|level| level.location == self.location).unwrap_or_default())
            }
            Err(Error::NotFound { .. }) => Ok(StockLevel::default()),
            Err(error) => Err(error).with_context(|| format!("the stock of {sku} cannot be read")),
        }
    }

    /// What a buyer could notice of every stock row here.
    async fn shelves(&self) -> anyhow::Result<std::collections::HashSet<(String, i64, i64)>> {
        let levels = list_stock(self.services, self.location).await?;
        Ok(levels.into_iter().map(|level| (level.sku, level.on_hand, level.available)).collect())
    }
}

fn damaged(level: &StockLevel) -> i64 {
    level.unsellable.iter().filter(|part| part.condition() == Condition::Damaged).map(|part| part.quantity).sum()
}

fn describe(level: &StockLevel) -> String {
    let StockLevel { on_hand, held, committed, safety_stock, available, .. } = level;
    format!("{on_hand} on hand, {held} held, {committed} committed, {safety_stock} kept back, {available} available")
}

/// Why a guard stopped a number, in a few words.
fn why(row: Option<&QuarantinedRow>) -> String {
    row.map_or_else(
        || "no guard stopped it".to_owned(),
        |row| format!("{} ({})", row.explanation, row.rules.join(", ")),
    )
}
