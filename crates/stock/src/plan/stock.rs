//! Counts and adjustments.

use super::draft::{Change, Draft, check_sound};
use crate::answer::{Answer, CountOutcome, CountResult, NegativeAdjustment, Refusal, StockRow, StoredAnswer};
use crate::ids::{Location, PayloadHash, RequestId, RowKey, Sku, UnixMicros};
use crate::ledger::Cause;
use crate::level::{Condition, Delta, LEVEL_MAX, Level, LevelProblem};
use crate::op::Adjustment;
use std::collections::{BTreeMap, BTreeSet};

impl Draft {
    pub(super) fn count(
        &mut self,
        op: usize,
        (request, payload): (RequestId, PayloadHash),
        counted_at: (UnixMicros, i64),
        counts: &[(Sku, Location, i64)],
    ) -> Result<Answer, Refusal> {
        let odd = counts.iter().filter(|(_, _, units)| !(0..=LEVEL_MAX).contains(units));
        let odd: Vec<RowKey> = odd.map(|(sku, location, _)| (sku.clone(), location.clone())).collect();
        if !odd.is_empty() {
            return Err(Refusal::OutOfRange(odd));
        }
        // Rows decide independently, but one that contradicts itself must not leave the others counted and the request refused: look at all, then write all.
        let mut taken: BTreeSet<RowKey> = BTreeSet::new();
        let mut changes = Vec::new();
        let mut results = Vec::with_capacity(counts.len());
        for (sku, location, units) in counts {
            let row = (sku.clone(), location.clone());
            let known = self.level(&row);
            known.map_or(Ok(()), check_sound)?;
            let seen = if taken.contains(&row) { Some(counted_at) } else { known.and_then(|level| level.count) };
            let result = judge(&row, known, seen, counted_at, *units);
            if result.outcome == CountOutcome::Applied {
                let delta = Delta { on_hand: units.saturating_sub(result.previous_on_hand), ..Delta::default() };
                changes.push(Change { row: row.clone(), delta, cause: Cause::Count(request) });
            }
            if result.outcome != CountOutcome::Stale {
                taken.insert(row);
            }
            results.push(result);
        }
        self.write(Some(op), changes)?;
        for row in taken {
            self.set_count(&row, counted_at);
        }
        for result in &mut results {
            if let Some(level) = self.level(&(result.sku.clone(), result.location.clone())) {
                (result.on_hand, result.shortfall) = (level.on_hand, level.shortfall);
            }
        }
        self.land(request, payload, StoredAnswer::Counted(results.clone()));
        Ok(Answer::Counted { results, replayed: false })
    }

    pub(super) fn adjust(
        &mut self,
        op: usize,
        (request, payload): (RequestId, PayloadHash),
        adjustments: &[Adjustment],
    ) -> Result<Answer, Refusal> {
        let after = self.adjusted(adjustments)?;
        let changes = adjustments.iter().filter(|adjustment| adjustment.delta != 0).map(|adjustment| Change {
            row: adjustment.row(),
            delta: adjustment.as_delta(),
            cause: Cause::Adjust(request, adjustment.reason),
        });
        self.write(Some(op), changes.collect())?;
        let levels = after.into_keys().filter_map(|row| {
            let level = self.level(&row)?.clone();
            Some(StockRow { sku: row.0, location: row.1, level })
        });
        let levels: Vec<StockRow> = levels.collect();
        self.land(request, payload, StoredAnswer::Adjusted(levels.clone()));
        Ok(Answer::Adjusted { levels, replayed: false })
    }

    /// The rows as they would be; every adjustment that does not fit is named, those of one kind at a time.
    fn adjusted(&self, adjustments: &[Adjustment]) -> Result<BTreeMap<RowKey, Level>, Refusal> {
        let mut levels: BTreeMap<RowKey, Level> = BTreeMap::new();
        let (mut unknown, mut negative, mut too_large) = (Vec::new(), Vec::new(), Vec::new());
        for (index, adjustment) in adjustments.iter().enumerate() {
            let row = adjustment.row();
            let known = levels.remove(&row).or_else(|| self.level(&row).cloned());
            if known.is_none() && adjustment.delta <= 0 {
                unknown.push((adjustment.sku.clone(), Some(adjustment.location.clone())));
                continue;
            }
            let mut level = known.unwrap_or_default();
            match level.apply(&adjustment.as_delta()) {
                Ok(()) => {}
                Err(LevelProblem::Negative) => negative.push(adjustment.negative(index, &level)),
                Err(LevelProblem::TooLarge) => too_large.push(row.clone()),
            }
            levels.insert(row, level);
        }
        if !unknown.is_empty() {
            Err(Refusal::UnknownSku(unknown))
        } else if !negative.is_empty() {
            Err(Refusal::WouldBeNegative(negative))
        } else if !too_large.is_empty() {
            Err(Refusal::OutOfRange(too_large))
        } else {
            Ok(levels)
        }
    }
}

/// What a count means for one row (PROTOCOL 13). Only `on_hand` follows from the count alone; which confirmed units it reflects, and so no longer are `committed`, will
/// follow from their evidence (PROTOCOL 14, 15), with its own part of the delta.
fn judge(
    row: &RowKey,
    known: Option<&Level>,
    seen: Option<(UnixMicros, i64)>,
    counted_at: (UnixMicros, i64),
    units: i64,
) -> CountResult {
    let (on_hand, shortfall) = known.map_or((0, 0), |level| (level.on_hand, level.shortfall));
    let outcome = if seen.is_some_and(|seen| counted_at <= seen) {
        CountOutcome::Stale
    } else if known.is_some() && on_hand == units {
        CountOutcome::Unchanged
    } else {
        CountOutcome::Applied
    };
    let (sku, location) = row.clone();
    CountResult { sku, location, outcome, previous_on_hand: on_hand, on_hand, shortfall }
}

impl Adjustment {
    fn row(&self) -> RowKey {
        (self.sku.clone(), self.location.clone())
    }

    fn as_delta(&self) -> Delta {
        match self.condition {
            Condition::Sellable => Delta { on_hand: self.delta, ..Delta::default() },
            Condition::Damaged | Condition::QualityHold | Condition::Refurbished => {
                Delta { unsellable: Some((self.condition, self.delta)), ..Delta::default() }
            }
        }
    }

    fn negative(&self, index: usize, level: &Level) -> NegativeAdjustment {
        let present = match self.condition {
            Condition::Sellable => level.on_hand,
            Condition::Damaged | Condition::QualityHold | Condition::Refurbished => {
                level.unsellable.get(&self.condition).copied().unwrap_or(0)
            }
        };
        NegativeAdjustment {
            index,
            sku: self.sku.clone(),
            location: self.location.clone(),
            condition: self.condition,
            present,
            delta: self.delta,
        }
    }
}
