//! The forms in which rows travel between Postgres and the rules: JSON that the schema's functions build and read, instants as microseconds.

use std::collections::BTreeMap;

use holdfast_stock::{
    Allocation, Cap, Condition, CountMeaning, Details, Freshness, Level, Line, Location, Name, Owner, PayloadHash,
    Policy, Quantity, Rank, Record, ReservationId, RowKey, Shortage, Sku, State, UnixMicros,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::StoreError;
use super::progress::{self, ProgressRow};

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
    Name::new(text).map_err(|_| damaged("a name"))
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

/// `[SKU, location, units that were not there, when they are promised]`.
type BackorderedRow = (String, String, i64, Option<i64>);

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
    /// Indexes of lines that must not be split.
    unsplit: Option<Vec<usize>>,
    channel: Option<String>,
    order_ref: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    predecessor: Option<Uuid>,
    successor: Option<Uuid>,
    /// Where there are such units.
    #[serde(skip_serializing)]
    backordered: Option<Vec<BackorderedRow>>,
    #[serde(skip_serializing)]
    progress: Option<Vec<ProgressRow>>,
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
            shortages: (record.state == State::Refused || !record.shortages.is_empty()).then(|| {
                record
                    .shortages
                    .iter()
                    .map(|s| (s.sku.to_string(), name(&s.location), s.requested, s.available))
                    .collect()
            }),
            unsplit: unsplit_row(&record.lines),
            channel: record.details.channel.as_ref().map(ToString::to_string),
            order_ref: record.details.order.as_ref().map(ToString::to_string),
            labels: labels_row(&record.details),
            predecessor: record.predecessor.map(uuid_of),
            successor: record.successor.map(uuid_of),
            backordered: None,
            progress: None,
        }
    }

    pub(super) fn into_record(self) -> Result<Record, StoreError> {
        let named = |name: Option<String>| name.map(|name| location(&name)).transpose();
        let unsplit = self.unsplit.unwrap_or_default();
        let lines = self.lines.into_iter().enumerate().map(|(index, (code, at, units))| {
            let quantity = Quantity::new(units).ok_or_else(|| damaged("a line's quantity"))?;
            Ok(Line { sku: sku(&code)?, location: named(at)?, quantity, split: !unsplit.contains(&index) })
        });
        let mut progress = progress::progress_of(self.progress.unwrap_or_default())?;
        let backordered = self.backordered.unwrap_or_default();
        let mut allocations = Vec::with_capacity(self.allocations.len());
        for (code, at, quantity) in self.allocations {
            let late = backordered.iter().find(|(sku, location, ..)| *sku == code && *location == at);
            let row = (sku(&code)?, location(&at)?);
            allocations.push(Allocation {
                backordered: late.map_or(0, |(.., units, _)| *units),
                promised_at: late.and_then(|(.., at)| at.map(UnixMicros)),
                progress: progress.remove(&row).unwrap_or_default(),
                sku: row.0,
                location: row.1,
                quantity,
            });
        }
        let shortages = self.shortages.unwrap_or_default().into_iter().map(|(code, at, requested, available)| {
            Ok(Shortage { sku: sku(&code)?, location: named(at)?, requested, available })
        });
        Ok(Record {
            id: id_of(self.id),
            owner: self.owner.map(|owner| Owner::new(&owner).map_err(|_| damaged("an owner"))).transpose()?,
            payload: self.payload_hash.map(|hash| unhex(&hash)).transpose()?,
            lines: lines.collect::<Result<_, StoreError>>()?,
            allocations,
            created_at: UnixMicros(self.created_at),
            first_expires_at: self.first_expires_at.map(UnixMicros),
            state: state(&self.state)?,
            expires_at: self.expires_at.map(UnixMicros),
            state_at: UnixMicros(self.state_at),
            version: self.version,
            shortages: shortages.collect::<Result<_, StoreError>>()?,
            details: Details {
                channel: self.channel.as_deref().map(name).transpose()?,
                order: self.order_ref.as_deref().map(name).transpose()?,
                labels: self.labels.unwrap_or_default(),
            },
            predecessor: self.predecessor.map(id_of),
            successor: self.successor.map(id_of),
        })
    }
}

/// What is kept with a reservation beside its lines, as `commit_fast` reads it; none for nothing, which is the rule.
#[derive(Debug, Serialize)]
pub(super) struct DetailsRow<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_ref: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unsplit: Option<Vec<usize>>,
}

impl<'a> DetailsRow<'a> {
    pub(super) fn of(details: &'a Details, lines: &[Line]) -> Option<Self> {
        let row = Self {
            channel: details.channel.as_ref().map(Name::as_str),
            order_ref: details.order.as_ref().map(Name::as_str),
            labels: labels_row(details),
            unsplit: unsplit_row(lines),
        };
        let is_nothing =
            row.channel.is_none() && row.order_ref.is_none() && row.labels.is_none() && row.unsplit.is_none();
        (!is_nothing).then_some(row)
    }
}

fn labels_row(details: &Details) -> Option<BTreeMap<String, String>> {
    (!details.labels.is_empty()).then(|| details.labels.clone())
}

/// The indexes of lines that must not be split; none where all may.
fn unsplit_row(lines: &[Line]) -> Option<Vec<usize>> {
    let indexes: Vec<usize> = lines.iter().enumerate().filter(|(_, line)| !line.split).map(|(i, _)| i).collect();
    (!indexes.is_empty()).then_some(indexes)
}

/// A cart's lines in the form of the column `reservation.lines`.
pub(super) fn lines_row(lines: &[Line]) -> Vec<(String, Option<String>, i64)> {
    lines
        .iter()
        .map(|line| (line.sku.to_string(), line.location.as_ref().map(ToString::to_string), line.quantity.get()))
        .collect()
}

pub(super) fn state(name: &str) -> Result<State, StoreError> {
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
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    meaning: Option<String>,
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
            paused: level.paused,
            meaning: level.meaning.map(|meaning| meaning.as_str().to_owned()),
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
            paused: self.paused,
            meaning: match self.meaning {
                Some(name) => Some(CountMeaning::parse(&name).ok_or_else(|| damaged("a count's meaning"))?),
                None => None,
            },
            rank: self.rank,
        };
        Ok(((sku(&self.sku)?, location(&self.location)?), level))
    }
}

/// `[sku, location, units]`, as `available_json` builds it.
pub(super) type AvailableRow = (String, String, i64);

pub(super) fn available(rows: Vec<AvailableRow>) -> Result<Vec<(Sku, Location, i64)>, StoreError> {
    rows.into_iter().map(|(code, at, units)| Ok((sku(&code)?, location(&at)?, units))).collect()
}
