//! Adjustments by hand.

use super::draft::{Change, Draft};
use crate::answer::{Answer, NegativeAdjustment, Refusal, StockRow, StoredAnswer};
use crate::ids::{PayloadHash, RequestId, RowKey};
use crate::ledger::Cause;
use crate::level::{Condition, Delta, Level, LevelProblem};
use crate::op::Adjustment;
use std::collections::BTreeMap;

impl Draft {
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

impl Adjustment {
    fn row(&self) -> RowKey {
        (self.sku.clone(), self.location.clone())
    }

    fn as_delta(&self) -> Delta {
        Delta::of_condition(self.condition, self.delta)
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
