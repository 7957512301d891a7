//! The first answer to a mutation, as the column `operation.answer` keeps it.

use holdfast_stock::{
    CountOutcome, CountResult, Moment, RepairOutcome, RepairResult, RepairSubject, StockRow, StoredAnswer, UnixMicros,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::StoreError;
use super::progress::{self, ProgressRow};
use super::rows::{self, LevelRow, damaged};

/// `[SKU, location, outcome, on hand before, on hand, shortfall]`.
type CountRow = (String, String, String, i64, i64, i64);

/// `[reservation, SKU, location, outcome, detail]`.
type RepairedRow = (Option<Uuid>, String, String, String, String);

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum AnswerRow {
    Reservation {
        id: Uuid,
        state: String,
        version: i64,
        state_at: i64,
        expires_at: Option<i64>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        progress: Vec<ProgressRow>,
    },
    Counted {
        results: Vec<CountRow>,
        /// `[reflected, available before, available]` of each, beside the results so that a replica of the version before reads those.
        #[serde(default)]
        effects: Vec<(i64, i64, i64)>,
    },
    Adjusted {
        levels: Vec<LevelRow>,
    },
    Sold {
        skus: Vec<String>,
    },
    Repaired {
        results: Vec<RepairedRow>,
    },
}

impl AnswerRow {
    pub(super) fn from_answer(answer: &StoredAnswer) -> Self {
        match answer {
            StoredAnswer::Reservation { id, moment, progress } => Self::Reservation {
                id: rows::uuid_of(*id),
                state: moment.state.as_str().to_owned(),
                version: moment.version,
                state_at: moment.state_at.0,
                expires_at: moment.expires_at.map(|at| at.0),
                progress: progress.iter().map(|(row, progress)| ProgressRow::new(row, progress)).collect(),
            },
            StoredAnswer::Counted(results) => {
                let row = |r: &CountResult| {
                    let (sku, location) = (r.sku.to_string(), r.location.to_string());
                    (sku, location, r.outcome.as_str().to_owned(), r.previous_on_hand, r.on_hand, r.shortfall)
                };
                let effect = |r: &CountResult| (r.reflected, r.previous_available, r.available);
                Self::Counted {
                    results: results.iter().map(row).collect(),
                    effects: results.iter().map(effect).collect(),
                }
            }
            StoredAnswer::Adjusted(rows) => Self::Adjusted {
                levels: rows
                    .iter()
                    .map(|row| LevelRow::from_level(&(row.sku.clone(), row.location.clone()), &row.level))
                    .collect(),
            },
            StoredAnswer::Repaired(results) => Self::Repaired { results: results.iter().map(repaired_row).collect() },
            StoredAnswer::Sold(skus) => Self::Sold { skus: skus.iter().map(ToString::to_string).collect() },
        }
    }

    pub(super) fn into_answer(self) -> Result<StoredAnswer, StoreError> {
        Ok(match self {
            Self::Reservation { id, state, version, state_at, expires_at, progress } => StoredAnswer::Reservation {
                id: rows::id_of(id),
                moment: Moment {
                    state: rows::state(&state)?,
                    expires_at: expires_at.map(UnixMicros),
                    state_at: UnixMicros(state_at),
                    version,
                },
                progress: progress::progress_of(progress)?,
            },
            Self::Counted { results, effects } => {
                let effects = effects.into_iter().chain(std::iter::repeat((0, 0, 0)));
                StoredAnswer::Counted(results.into_iter().zip(effects).map(count_result).collect::<Result<_, _>>()?)
            }
            Self::Adjusted { levels } => {
                StoredAnswer::Adjusted(levels.into_iter().map(stock_row).collect::<Result<_, _>>()?)
            }
            Self::Repaired { results } => {
                StoredAnswer::Repaired(results.into_iter().map(repair_result).collect::<Result<_, _>>()?)
            }
            Self::Sold { skus } => {
                StoredAnswer::Sold(skus.iter().map(|code| rows::sku(code)).collect::<Result<_, _>>()?)
            }
        })
    }
}

fn stock_row(row: LevelRow) -> Result<StockRow, StoreError> {
    let ((sku, location), level) = row.into_row()?;
    Ok(StockRow { sku, location, level })
}

fn repaired_row(result: &RepairResult) -> RepairedRow {
    let (id, sku, location) = match &result.subject {
        RepairSubject::Reservation(id) => (Some(rows::uuid_of(*id)), String::new(), String::new()),
        RepairSubject::Row((sku, location)) => (None, sku.to_string(), location.to_string()),
    };
    (id, sku, location, result.outcome.as_str().to_owned(), result.detail.clone())
}

fn repair_result((id, code, at, outcome, detail): RepairedRow) -> Result<RepairResult, StoreError> {
    let subject = match id {
        Some(id) => RepairSubject::Reservation(rows::id_of(id)),
        None => RepairSubject::Row((rows::sku(&code)?, rows::location(&at)?)),
    };
    let outcome = RepairOutcome::parse(&outcome).ok_or_else(|| damaged("a repair's outcome"))?;
    Ok(RepairResult { subject, outcome, detail })
}

fn count_result((row, effect): (CountRow, (i64, i64, i64))) -> Result<CountResult, StoreError> {
    let (code, at, outcome, previous_on_hand, on_hand, shortfall) = row;
    let (reflected, previous_available, available) = effect;
    Ok(CountResult {
        sku: rows::sku(&code)?,
        location: rows::location(&at)?,
        outcome: CountOutcome::parse(&outcome).ok_or_else(|| damaged("a count's outcome"))?,
        previous_on_hand,
        on_hand,
        shortfall,
        reflected,
        previous_available,
        available,
    })
}
