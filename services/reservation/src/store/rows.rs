//! The forms in which rows travel between Postgres and the rules: JSON that the schema's functions build and read, instants as microseconds.

use std::collections::BTreeMap;

use holdfast_stock::{
    Allocation, Cap, Condition, CountOutcome, CountResult, Freshness, HoldMicros, Level, Line, Location, Moment, Name,
    Owner, PayloadHash, Policy, Quantity, Rank, Record, RepairOutcome, RepairResult, RepairSubject, ReservationId,
    RowKey, Shortage, Sku, State, StockRow, StoredAnswer, UnixMicros,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::StoreError;

/// What must hold of what Postgres returns; if it does not, the record is damaged and nobody may decide on it.
pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::Defect(format!("the record is damaged: {what}"))
}

pub(super) fn sku(text: &str) -> Result<Sku, StoreError> {
    Sku::new(text).map_err(|_| damaged("a SKU"))
}

pub(super) fn location(text: &str) -> Result<Location, StoreError> {
    Location::new(text).map_err(|_| damaged("a location"))
}

pub(super) fn name(text: &str) -> Result<Name, StoreError> {
    Name::new(text).map_err(|_| damaged("a connection"))
}

pub(super) fn uuid_of(id: ReservationId) -> Uuid {
    Uuid::from_bytes(id.to_bytes())
}

pub(super) fn id_of(id: Uuid) -> ReservationId {
    ReservationId::from_bytes(id.into_bytes())
}

pub(super) fn hex(hash: PayloadHash) -> String {
    hash.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unhex(text: &str) -> Result<PayloadHash, StoreError> {
    let mut hash = [0_u8; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(damaged("a payload hash"));
    }
    for (byte, digits) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[digits..digits + 2], 16).map_err(|_| damaged("a payload hash"))?;
    }
    Ok(PayloadHash(hash))
}

/// `[SKU, named location, requested, available]`.
type ShortageRow = (String, Option<String>, i64, i64);

/// A reservation, as `record_json` builds it and `record_row` reads it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RecordRow {
    pub(super) id: Uuid,
    owner: Option<String>,
    payload_hash: Option<String>,
    lines: Vec<(String, Option<String>, i64)>,
    #[serde(skip_serializing)]
    allocations: Vec<(String, String, i64)>,
    state: String,
    created_at: i64,
    first_expires_at: Option<i64>,
    expires_at: Option<i64>,
    state_at: i64,
    version: i64,
    shortages: Option<Vec<ShortageRow>>,
}

impl RecordRow {
    pub(super) fn from_record(record: &Record) -> Self {
        let name = |location: &Option<Location>| location.as_ref().map(ToString::to_string);
        Self {
            id: uuid_of(record.id),
            owner: record.owner.as_ref().map(ToString::to_string),
            payload_hash: record.payload.map(hex),
            lines: lines_row(&record.lines),
            allocations: Vec::new(),
            state: record.state.as_str().to_owned(),
            created_at: record.created_at.0,
            first_expires_at: record.first_expires_at.map(|at| at.0),
            expires_at: record.expires_at.map(|at| at.0),
            state_at: record.state_at.0,
            version: record.version,
            shortages: (record.state == State::Refused).then(|| {
                record
                    .shortages
                    .iter()
                    .map(|s| (s.sku.to_string(), name(&s.location), s.requested, s.available))
                    .collect()
            }),
        }
    }

    pub(super) fn into_record(self) -> Result<Record, StoreError> {
        let named = |name: Option<String>| name.map(|name| location(&name)).transpose();
        let lines = self.lines.into_iter().map(|(code, at, units)| {
            let quantity = Quantity::new(units).ok_or_else(|| damaged("a line's quantity"))?;
            Ok(Line { sku: sku(&code)?, location: named(at)?, quantity })
        });
        let allocations = self
            .allocations
            .into_iter()
            .map(|(code, at, quantity)| Ok(Allocation { sku: sku(&code)?, location: location(&at)?, quantity }));
        let shortages = self.shortages.unwrap_or_default().into_iter().map(|(code, at, requested, available)| {
            Ok(Shortage { sku: sku(&code)?, location: named(at)?, requested, available })
        });
        Ok(Record {
            id: id_of(self.id),
            owner: self.owner.map(|owner| Owner::new(&owner).map_err(|_| damaged("an owner"))).transpose()?,
            payload: self.payload_hash.map(|hash| unhex(&hash)).transpose()?,
            lines: lines.collect::<Result<_, StoreError>>()?,
            allocations: allocations.collect::<Result<_, StoreError>>()?,
            created_at: UnixMicros(self.created_at),
            first_expires_at: self.first_expires_at.map(UnixMicros),
            state: state(&self.state)?,
            expires_at: self.expires_at.map(UnixMicros),
            state_at: UnixMicros(self.state_at),
            version: self.version,
            shortages: shortages.collect::<Result<_, StoreError>>()?,
        })
    }
}

/// A cart's lines in the form of the column `reservation.lines`.
pub(super) fn lines_row(lines: &[Line]) -> Vec<(String, Option<String>, i64)> {
    lines
        .iter()
        .map(|line| (line.sku.to_string(), line.location.as_ref().map(ToString::to_string), line.quantity.get()))
        .collect()
}

fn state(name: &str) -> Result<State, StoreError> {
    State::parse(name).ok_or_else(|| damaged("a state"))
}

/// A row of stock, as `level_json` builds it and `level_row` reads it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LevelRow {
    pub(super) sku: String,
    pub(super) location: String,
    on_hand: i64,
    held: i64,
    committed: i64,
    safety: i64,
    #[serde(default)]
    buffer: i64,
    backorder: i64,
    shortfall: i64,
    damaged: i64,
    quality_hold: i64,
    refurbished: i64,
    count_as_of: Option<i64>,
    count_sequence: Option<i64>,
    version: i64,
    // Answers that were stored before these columns were there do not have them.
    #[serde(default = "fresh")]
    freshness: String,
    #[serde(default)]
    cap_units: Option<i64>,
    #[serde(default)]
    cap_as_of: Option<i64>,
    #[serde(default)]
    cap_sequence: Option<i64>,
    #[serde(default)]
    archived: bool,
    #[serde(default = "unranked")]
    rank: Rank,
    #[serde(default)]
    connection: Option<String>,
    #[serde(default)]
    shared: bool,
    /// In a plan: whether a count or an adjustment of the plan touches the row.
    #[serde(default)]
    pub(super) may_raise_shortfall: bool,
    /// In a read: units of holds that are over, still in `held`.
    #[serde(default, skip_serializing)]
    due: i64,
}

fn fresh() -> String {
    Freshness::Fresh.as_str().to_owned()
}

const fn unranked() -> Rank {
    Policy::UNRANKED
}

impl LevelRow {
    pub(super) fn from_level((sku, location): &RowKey, level: &Level) -> Self {
        let unsellable = |condition| level.unsellable.get(&condition).copied().unwrap_or(0);
        Self {
            sku: sku.to_string(),
            location: location.to_string(),
            on_hand: level.on_hand,
            held: level.held,
            committed: level.committed,
            safety: level.safety,
            buffer: level.buffer,
            backorder: level.backorder,
            shortfall: level.shortfall,
            damaged: unsellable(Condition::Damaged),
            quality_hold: unsellable(Condition::QualityHold),
            refurbished: unsellable(Condition::Refurbished),
            count_as_of: level.count.map(|(as_of, _)| as_of.0),
            count_sequence: level.count.map(|(_, sequence)| sequence),
            version: level.version,
            freshness: level.freshness.as_str().to_owned(),
            cap_units: level.cap.map(|cap| cap.units),
            cap_as_of: level.cap.map(|cap| cap.moment.0.0),
            cap_sequence: level.cap.map(|cap| cap.moment.1),
            archived: level.archived,
            rank: level.rank,
            connection: level.feed.as_ref().map(ToString::to_string),
            shared: level.shared,
            may_raise_shortfall: false,
            due: 0,
        }
    }

    /// The row with its name; holds that are over are not counted (I5).
    pub(super) fn into_row(self) -> Result<(RowKey, Level), StoreError> {
        let unsellable = [
            (Condition::Damaged, self.damaged),
            (Condition::QualityHold, self.quality_hold),
            (Condition::Refurbished, self.refurbished),
        ];
        let cap = self.cap_units.zip(self.cap_as_of).zip(self.cap_sequence);
        let level = Level {
            on_hand: self.on_hand,
            held: self.held - self.due,
            committed: self.committed,
            safety: self.safety,
            buffer: self.buffer,
            backorder: self.backorder,
            shortfall: self.shortfall,
            version: self.version,
            unsellable: unsellable.into_iter().filter(|(_, units)| *units != 0).collect::<BTreeMap<_, _>>(),
            count: self.count_as_of.map(UnixMicros).zip(self.count_sequence),
            feed: self.connection.as_deref().map(name).transpose()?,
            shared: self.shared,
            freshness: Freshness::parse(&self.freshness).ok_or_else(|| damaged("a freshness"))?,
            cap: cap.map(|((units, as_of), sequence)| Cap { units, moment: (UnixMicros(as_of), sequence) }),
            archived: self.archived,
            rank: self.rank,
        };
        Ok(((sku(&self.sku)?, location(&self.location)?), level))
    }

    fn into_stock_row(self) -> Result<StockRow, StoreError> {
        let ((sku, location), level) = self.into_row()?;
        Ok(StockRow { sku, location, level })
    }
}

/// The first answer to a mutation, as the column `operation.answer` keeps it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum AnswerRow {
    Reservation { id: Uuid, state: String, version: i64, state_at: i64, expires_at: Option<i64> },
    Counted { results: Vec<(String, String, String, i64, i64, i64)> },
    Adjusted { levels: Vec<LevelRow> },
    Repaired { results: Vec<RepairedRow> },
}

/// `[reservation, SKU, location, outcome, detail]`.
type RepairedRow = (Option<Uuid>, String, String, String, String);

impl AnswerRow {
    pub(super) fn from_answer(answer: &StoredAnswer) -> Self {
        match answer {
            StoredAnswer::Reservation { id, moment } => Self::Reservation {
                id: uuid_of(*id),
                state: moment.state.as_str().to_owned(),
                version: moment.version,
                state_at: moment.state_at.0,
                expires_at: moment.expires_at.map(|at| at.0),
            },
            StoredAnswer::Counted(results) => {
                let row = |r: &CountResult| {
                    let (sku, location) = (r.sku.to_string(), r.location.to_string());
                    (sku, location, r.outcome.as_str().to_owned(), r.previous_on_hand, r.on_hand, r.shortfall)
                };
                Self::Counted { results: results.iter().map(row).collect() }
            }
            StoredAnswer::Adjusted(rows) => Self::Adjusted {
                levels: rows
                    .iter()
                    .map(|row| LevelRow::from_level(&(row.sku.clone(), row.location.clone()), &row.level))
                    .collect(),
            },
            StoredAnswer::Repaired(results) => Self::Repaired { results: results.iter().map(repaired_row).collect() },
        }
    }

    pub(super) fn into_answer(self) -> Result<StoredAnswer, StoreError> {
        Ok(match self {
            Self::Reservation { id, state: name, version, state_at, expires_at } => StoredAnswer::Reservation {
                id: id_of(id),
                moment: Moment {
                    state: state(&name)?,
                    expires_at: expires_at.map(UnixMicros),
                    state_at: UnixMicros(state_at),
                    version,
                },
            },
            Self::Counted { results } => {
                StoredAnswer::Counted(results.into_iter().map(count_result).collect::<Result<_, _>>()?)
            }
            Self::Adjusted { levels } => {
                StoredAnswer::Adjusted(levels.into_iter().map(LevelRow::into_stock_row).collect::<Result<_, _>>()?)
            }
            Self::Repaired { results } => {
                StoredAnswer::Repaired(results.into_iter().map(repair_result).collect::<Result<_, _>>()?)
            }
        })
    }
}

fn repaired_row(result: &RepairResult) -> RepairedRow {
    let (id, sku, location) = match &result.subject {
        RepairSubject::Reservation(id) => (Some(uuid_of(*id)), String::new(), String::new()),
        RepairSubject::Row((sku, location)) => (None, sku.to_string(), location.to_string()),
    };
    (id, sku, location, result.outcome.as_str().to_owned(), result.detail.clone())
}

fn repair_result((id, code, at, outcome, detail): RepairedRow) -> Result<RepairResult, StoreError> {
    let subject = match id {
        Some(id) => RepairSubject::Reservation(id_of(id)),
        None => RepairSubject::Row((sku(&code)?, location(&at)?)),
    };
    let outcome = RepairOutcome::parse(&outcome).ok_or_else(|| damaged("a repair's outcome"))?;
    Ok(RepairResult { subject, outcome, detail })
}

fn count_result(row: (String, String, String, i64, i64, i64)) -> Result<CountResult, StoreError> {
    let (code, at, outcome, previous_on_hand, on_hand, shortfall) = row;
    Ok(CountResult {
        sku: sku(&code)?,
        location: location(&at)?,
        outcome: CountOutcome::parse(&outcome).ok_or_else(|| damaged("a count's outcome"))?,
        previous_on_hand,
        on_hand,
        shortfall,
    })
}

/// A selling policy, as `policy_json` builds it and `write_plan` reads it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PolicyRow {
    sku: String,
    version: i64,
    safety: i64,
    backorder: i64,
    max_per_reservation: Option<i64>,
    max_per_owner: Option<i64>,
    default_hold: Option<i64>,
    locations: Vec<String>,
    archived: bool,
}

impl PolicyRow {
    pub(super) fn from_policy((sku, policy): (&Sku, &Policy)) -> Self {
        Self {
            sku: sku.to_string(),
            version: policy.version,
            safety: policy.safety,
            backorder: policy.backorder,
            max_per_reservation: policy.max_per_reservation,
            max_per_owner: policy.max_per_owner,
            default_hold: policy.default_hold.map(HoldMicros::get),
            locations: policy.locations.iter().map(ToString::to_string).collect(),
            archived: policy.archived,
        }
    }

    pub(super) fn into_policy(self) -> Result<(Sku, Policy), StoreError> {
        let hold = |micros| HoldMicros::new(micros).ok_or_else(|| damaged("a default hold"));
        let policy = Policy {
            version: self.version,
            safety: self.safety,
            backorder: self.backorder,
            max_per_reservation: self.max_per_reservation,
            max_per_owner: self.max_per_owner,
            default_hold: self.default_hold.map(hold).transpose()?,
            locations: self.locations.iter().map(|code| location(code)).collect::<Result<_, _>>()?,
            archived: self.archived,
        };
        Ok((sku(&self.sku)?, policy))
    }
}

/// `[sku, location, units]`, as `available_json` builds it.
pub(super) type AvailableRow = (String, String, i64);

pub(super) fn available(rows: Vec<AvailableRow>) -> Result<Vec<(Sku, Location, i64)>, StoreError> {
    rows.into_iter().map(|(code, at, units)| Ok((sku(&code)?, location(&at)?, units))).collect()
}
