//! What operations on a sale share: which units they mean, and how what becomes of them moves stock, counters and the reservation.

use super::draft::{Change, Draft};
use crate::answer::Refusal;
use crate::ids::{ReservationId, RowKey, UnixMicros};
use crate::ledger::Cause;
use crate::level::{Delta, Level};
use crate::portions::{Share, shares};
use crate::record::{Allocation, Record, State};
use crate::sale::{Evidence, EvidenceKind, FeedTerms, Progress, Watermark};
use crate::terms::Portion;

/// What an operation does to one allocation.
pub(super) struct Step {
    row: RowKey,
    quantity: i64,
    /// When the reservation was made: nothing can have happened to its units before.
    made_at: UnixMicros,
    before: Progress,
    pub(super) progress: Progress,
    /// What it moves beside committed, which follows from the progress.
    pub(super) delta: Delta,
}

impl Step {
    fn of(record: &Record, allocation: &Allocation) -> Self {
        Self {
            row: allocation.row(),
            quantity: allocation.quantity,
            made_at: record.created_at,
            before: allocation.progress.clone(),
            progress: allocation.progress.clone(),
            delta: Delta::default(),
        }
    }

    pub(super) fn row(&self) -> &RowKey {
        &self.row
    }

    pub(super) fn quantity(&self) -> i64 {
        self.quantity
    }

    /// Units that left stock's committed by it.
    fn left_committed(&self) -> i64 {
        self.before.committed(self.quantity) - self.progress.committed(self.quantity)
    }

    /// Units that are not open any more: a channel has them no longer.
    fn closed(&self) -> i64 {
        self.before.open(self.quantity) - self.progress.open(self.quantity)
    }

    /// Units that are not sold any more: an owner has not bought them after all. What was shipped to him he has.
    fn unsold(&self) -> i64 {
        self.before.sold(self.quantity) - self.progress.sold(self.quantity)
    }
}

impl Draft {
    /// The reservation, if it is a sale of which units are open.
    pub(super) fn open_sale(&self, id: ReservationId) -> Result<&Record, Refusal> {
        let record = self.record(id).ok_or(Refusal::NotFound)?;
        match record.state_at_time(self.now) {
            State::Confirmed => Ok(record),
            State::Held => Err(Refusal::NotConfirmed),
            State::Fulfilled => Err(Refusal::Fulfilled),
            State::Expired => Err(Refusal::Expired),
            State::Released | State::Refused => Err(Refusal::Released),
            State::Cancelled => Err(Refusal::Cancelled),
        }
    }

    /// The reservation, if it was ever confirmed.
    pub(super) fn any_sale(&self, id: ReservationId) -> Result<&Record, Refusal> {
        let record = self.record(id).ok_or(Refusal::NotFound)?;
        match record.state {
            State::Confirmed | State::Fulfilled | State::Cancelled => Ok(record),
            State::Held | State::Expired | State::Released | State::Refused => Err(Refusal::NotConfirmed),
        }
    }

    /// As of when a row's number is and what it means; none if nothing was counted there, or what it meant was not kept.
    pub(super) fn watermark(&self, level: &Level) -> Option<Watermark> {
        let ((as_of, _), meaning) = (level.count?, level.meaning?);
        Some(Watermark { as_of, meaning, reflection_lag_micros: self.feed_of(level).reflection_lag_micros })
    }

    /// Keeps evidence of so many of an allocation's units, and reflects what the row's count then reflects. Evidence without the vendor's time is as of now by its clock
    /// at the latest (PROTOCOL 14). What is dated before the reservation was made, as a date without a time of day is, happened when it was made at the earliest: a count of
    /// before would else be taken to be without units that were sold after it.
    pub(super) fn tell(&self, step: &mut Step, level: &Level, kind: EvidenceKind, units: i64, at: Option<UnixMicros>) {
        let at = at.unwrap_or_else(|| UnixMicros(self.now.0.saturating_add(self.feed_of(level).clock_margin_micros)));
        let at = at.max(step.made_at);
        step.progress.tell(Evidence { kind, units, at });
        if let Some(count) = self.watermark(level) {
            step.progress.reflect(step.quantity, &count);
        }
    }

    fn feed_of(&self, level: &Level) -> FeedTerms {
        level.feed.as_ref().and_then(|feed| self.feeds.get(feed)).copied().unwrap_or_default()
    }

    /// What is to become of each share's allocation, with its stock row.
    pub(super) fn steps<'a>(
        &'a self,
        record: &'a Record,
        shares: Vec<Share>,
    ) -> impl Iterator<Item = Result<(Share, Step, &'a Level), Refusal>> {
        shares.into_iter().map(|share| {
            let allocation = &record.allocations[share.allocation];
            let level = self.level(&allocation.row()).ok_or(Refusal::Inconsistent("a row of the sale was not read"))?;
            Ok((share, Step::of(record, allocation), level))
        })
    }

    /// Does the steps: stock, progress, and what the owner and the channel have. All or none.
    pub(super) fn take(&mut self, op: usize, id: ReservationId, cause: Cause, steps: Vec<Step>) -> Result<(), Refusal> {
        let change = |step: &Step| Change {
            row: step.row.clone(),
            delta: Delta { committed: -step.left_committed(), ..step.delta },
            cause,
        };
        let changes = steps.iter().map(change).filter(|change| !change.delta.is_zero() || cause.is_told()).collect();
        self.write(Some(op), changes)?;
        let user = self.record(id).map(|record| (record.owner.clone(), record.details.channel.clone()));
        let (owner, channel) = user.unwrap_or_default();
        for step in steps {
            self.change_owned(owner.as_ref(), &step.row.0, -step.unsold());
            self.change_channel_use(channel.as_ref(), &step.row.0, -step.closed());
            if step.progress != step.before {
                self.set_progress(id, &step.row, step.quantity, step.progress);
            }
        }
        Ok(())
    }

    /// Moves the reservation to its next version; with no unit open any more it is over.
    pub(super) fn settle(&mut self, id: ReservationId) {
        let now = self.now;
        self.change_record(id, |record| {
            let units = |of: fn(&Allocation) -> i64| record.allocations.iter().map(of).sum::<i64>();
            let is_open = units(Allocation::open) > 0;
            if record.state == State::Confirmed && !is_open {
                let was_shipped = units(|allocation| allocation.progress.fulfilled) > 0;
                record.state = if was_shipped { State::Fulfilled } else { State::Cancelled };
                record.state_at = now;
            }
        });
    }
}

impl Allocation {
    /// Units that are sold and not shipped; meaningful once the reservation is confirmed.
    pub(crate) const fn open(&self) -> i64 {
        self.progress.open(self.quantity)
    }
}

/// Which units are meant, or that there are not so many.
pub(super) fn meant(
    record: &Record,
    portions: &[Portion],
    left: impl Fn(&Allocation) -> i64,
) -> Result<Vec<Share>, Refusal> {
    shares(portions, &record.allocations, left).map_err(Refusal::Exceeded)
}
