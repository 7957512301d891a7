//! What vendor-sync knows, in its own types: wire and tables are converted to and from these.

mod quarantine;

pub use quarantine::{QuarantineState, Quarantined};

use std::time::Duration;

use holdfast_feeds::formats::csv::CsvSchema;
use holdfast_feeds::formats::json::JsonSchema;
use holdfast_feeds::formats::{FileSchema, SchemaProblem};
use holdfast_feeds::observation::{Class, Mode};
use time::OffsetDateTime;
use uuid::Uuid;

/// What people say of a connection. Its layout was checked to be a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConnection {
    /// The connection's code.
    pub code: String,
    /// The vendor's code.
    pub vendor: String,
    /// The location's code.
    pub location: String,
    /// What a code's absence from a file means.
    pub mode: Mode,
    /// What the numbers are.
    pub class: Class,
    /// How its files look.
    pub layout: Layout,
    /// What reservation is told of it with each run.
    pub promise: Promise,
    /// Where its files are taken from by themselves; none: they are uploaded only.
    pub source: Option<FileSource>,
    /// Whether its first file is applied like any other; otherwise it is held until a person has looked at it.
    pub apply_first_file: bool,
}

/// What reservation is told of a connection with each run. All to the microsecond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Promise {
    /// How often the vendor promises a number, 1 minute to 366 days; none: nothing is promised.
    pub cadence: Option<Duration>,
    /// How far the vendor's clock may be from ours, up to 7 days; none: not at all.
    pub clock_margin: Option<Duration>,
    /// How long after an order was sent the vendor's numbers reflect it at the latest, 1 minute to 60 days; none: nothing is known of that.
    pub reflection_lag: Option<Duration>,
}

/// How a connection's files look, as it was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// CSV.
    Csv(Columns),
    /// JSON, or JSON Lines.
    Json(Fields),
}

impl Layout {
    /// The schema by which files are read.
    ///
    /// # Errors
    /// What is wrong with it; nothing that was stored is.
    pub fn schema(&self) -> Result<FileSchema, Vec<SchemaProblem>> {
        match self {
            Self::Csv(Columns { delimiter, header, key_column, quantity_column }) => {
                CsvSchema::new(delimiter, header, key_column, quantity_column).map(FileSchema::Csv)
            }
            Self::Json(Fields { rows_path, key_field, quantity_field, is_lines }) => {
                JsonSchema::new(rows_path, key_field, quantity_field, *is_lines).map(FileSchema::Json)
            }
        }
    }
}

/// How a connection's CSV files look, as it was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// What separates the columns: one ASCII character.
    pub delimiter: String,
    /// The header, column by column.
    pub header: Vec<String>,
    /// The column with the vendor's code.
    pub key_column: String,
    /// The column with the quantity.
    pub quantity_column: String,
}

/// How a connection's JSON files look, as it was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// Where the array is; empty: the document itself is the array.
    pub rows_path: String,
    /// The key with the vendor's code.
    pub key_field: String,
    /// The key with the quantity.
    pub quantity_field: String,
    /// Whether it is one object a line.
    pub is_lines: bool,
}

/// Where a connection's files are taken from by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSource {
    /// A folder.
    Drop(DropFolder),
    /// An address.
    Pull(HttpPull),
}

/// A folder that files are dropped into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropFolder {
    /// Its path below the drop root: relative, each part a name that does not begin with a dot.
    pub path: String,
    /// Which files, with `*` and `?`; empty: all.
    pub pattern: String,
    /// What the name of a file's marker ends with; empty: a file is taken when it was the same in two looks.
    pub done_suffix: String,
}

/// An address that files are fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpPull {
    /// An http or https URL without user and password.
    pub url: String,
    /// How often, 10 s to 31 days, to the microsecond.
    pub interval: Duration,
    /// The name of a credential in the configuration; empty: none.
    pub credential: String,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// What people say of it.
    pub content: NewConnection,
    /// When it was created.
    pub create_time: OffsetDateTime,
    /// When the vendor counted what the newest applied run says; none before the first.
    pub accepted: Option<Moment>,
    /// Counts the changes of what it says and of its state, from 1.
    pub revision: i64,
    /// Why it is paused; none while it is not.
    pub paused: Option<String>,
    /// How the last look at its folder or address went; none before the first.
    pub fetched: Option<Fetched>,
}

/// How a look at a connection's folder or address went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// In words for people.
    pub status: String,
    /// When it was.
    pub time: OffsetDateTime,
}

/// A SKU's offers as catalog told them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkuOffers {
    /// The SKU.
    pub sku: String,
    /// Catalog's count of the SKU's changes, from 1.
    pub version: i64,
    /// All of them.
    pub offers: Vec<SkuOffer>,
    /// Whether the SKU is not sold any more.
    pub archived: bool,
}

/// A vendor's own code for a SKU at a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkuOffer {
    /// The vendor's code.
    pub vendor: String,
    /// The location's code.
    pub location: String,
    /// The code by which the vendor calls the SKU.
    pub vendor_sku: String,
    /// How many units of the SKU are in one of the vendor's units, 1 to 100,000.
    pub pack_size: i64,
}

/// What is known of a vendor's code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownOffer {
    /// The code.
    pub vendor_sku: String,
    /// The SKU.
    pub sku: String,
    /// How many units of the SKU are in one of the vendor's units, 1 or more.
    pub pack_size: u64,
    /// Whether the SKU is not sold any more.
    pub is_archived: bool,
}

/// When a vendor counted, and which of several files of the same moment says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// The vendor's moment, to the microsecond.
    pub as_of: OffsetDateTime,
    /// 0 or more.
    pub sequence: i64,
}

/// A file that was uploaded whole.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The connection's code.
    pub connection: String,
    /// When the vendor counted, to the microsecond.
    pub as_of: OffsetDateTime,
    /// What the file is called; may be empty.
    pub file_name: String,
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
    /// The content, in parts of at most 1 MiB.
    pub content: Vec<Vec<u8>>,
    /// How it came.
    pub origin: RunOrigin,
    /// What else is known of a file of the connection house; none for vendors' files.
    pub house: Option<HouseFile>,
}

/// How a file came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunOrigin {
    /// It was uploaded.
    Upload,
    /// It was dropped into the folder.
    DropFolder,
    /// It was fetched.
    HttpPull,
    /// It was typed.
    Typed,
}

impl RunOrigin {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Upload, Self::DropFolder, Self::HttpPull, Self::Typed];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Upload => "UPLOAD",
            Self::DropFolder => "DROP_FOLDER",
            Self::HttpPull => "HTTP_PULL",
            Self::Typed => "TYPED",
        }
    }

    /// The origin of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.name() == name)
    }
}

/// What the shop says beside its own numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HouseFile {
    /// The location's code.
    pub location: String,
    /// Who typed or sent it.
    pub typed_by: String,
    /// Why, in that person's words; may be empty.
    pub note: String,
}

impl Upload {
    /// How large the file is, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.content.iter().map(|part| part.len() as u64).sum()
    }
}

/// One execution of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id, a UUIDv7.
    pub run_id: Uuid,
    /// The connection's code.
    pub connection: String,
    /// Where it stands.
    pub state: RunState,
    /// When the vendor counted.
    pub moment: Moment,
    /// What the file is called.
    pub file_name: String,
    /// SHA-256 of the file.
    pub sha256: Vec<u8>,
    /// When the upload was complete.
    pub create_time: OffsetDateTime,
    /// When its rows and counts were stored.
    pub plan_time: Option<OffsetDateTime>,
    /// When it was finished.
    pub end_time: Option<OffsetDateTime>,
    /// Why it was refused or held, or what it waits for.
    pub reason: String,
    /// How many attempts in a row broke off.
    pub attempts: u32,
    /// Rows by outcome.
    pub totals: Totals,
    /// The location whose stock it tells.
    pub location: String,
    /// How the file came.
    pub origin: RunOrigin,
    /// What the file gate had to say of a file that is applied all the same.
    pub warnings: Vec<String>,
    /// Whether a person believed it while it was held.
    pub approved: bool,
    /// Who approved or rejected it; empty if nobody did.
    pub decided_by: String,
    /// Why.
    pub decision_reason: String,
}

/// The connection by which the shop's own numbers come.
pub const HOUSE: &str = "house";

impl Run {
    /// Whether it is the shop's own.
    #[must_use]
    pub fn is_house(&self) -> bool {
        self.connection == HOUSE
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunState {
    /// Not finished.
    Applying,
    /// Every row has its outcome.
    Applied,
    /// The file is not what the connection registered. Nothing was applied.
    Refused,
    /// The file looks suspect as a whole. Nothing was applied; it waits for a person, or for a good newer file.
    Held,
    /// A person rejected it while it was held. Nothing was applied.
    Rejected,
    /// A good newer file was applied while it was held. Nothing of it was applied.
    Superseded,
}

impl RunState {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Applying, Self::Applied, Self::Refused, Self::Held, Self::Rejected, Self::Superseded];

    /// Whether nobody works on it: it does not change any more, or waits for a person.
    #[must_use]
    pub fn is_settled(self) -> bool {
        self != Self::Applying
    }

    /// Its name in tables and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Applying => "APPLYING",
            Self::Applied => "APPLIED",
            Self::Refused => "REFUSED",
            Self::Held => "HELD",
            Self::Rejected => "REJECTED",
            Self::Superseded => "SUPERSEDED",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Rows by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// All.
    pub rows: i64,
    /// Whose SKU's stock was set.
    pub applied: i64,
    /// Whose SKU's stock had that number already.
    pub unchanged: i64,
    /// Whose SKU's stock had a newer count.
    pub stale: i64,
    /// Whose code no offer maps.
    pub unmapped: i64,
    /// That could not be read or were not accepted, those with another stock than expected among them.
    pub rejected: i64,
    /// That a guard stopped.
    pub quarantined: i64,
}

/// A row of a run's report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// Its place in the report.
    pub ordinal: i64,
    /// The line in the file; 0 for a code that the file does not have.
    pub line: i64,
    /// The vendor's code.
    pub vendor_sku: String,
    /// The quantity as it stands in the file.
    pub raw_quantity: String,
    /// The SKU, if an offer maps the code.
    pub sku: Option<String>,
    /// Units of the SKU.
    pub units: Option<i64>,
    /// What became of it.
    pub outcome: RowOutcome,
    /// Why, or what is to know.
    pub note: String,
    /// On hand before, where it reached reservation.
    pub previous_on_hand: Option<i64>,
    /// Units promised that are not there, where it reached reservation.
    pub shortfall: Option<i64>,
    /// Which quarantined number it became.
    pub quarantine_id: Option<Uuid>,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowOutcome {
    /// Not acknowledged by reservation yet.
    Pending,
    /// Stock was set.
    Applied,
    /// Stock had that number already.
    Unchanged,
    /// Stock had a newer count.
    Stale,
    /// No offer maps the code.
    Unmapped,
    /// It could not be read or was not accepted.
    Rejected,
    /// A guard stopped it.
    Quarantined,
    /// Something else was on hand than was expected.
    Conflict,
}

impl RowOutcome {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Applied,
        Self::Unchanged,
        Self::Stale,
        Self::Unmapped,
        Self::Rejected,
        Self::Quarantined,
        Self::Conflict,
    ];

    /// Its name in tables and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Applied => "APPLIED",
            Self::Unchanged => "UNCHANGED",
            Self::Stale => "STALE",
            Self::Unmapped => "UNMAPPED",
            Self::Rejected => "REJECTED",
            Self::Quarantined => "QUARANTINED",
            Self::Conflict => "CONFLICT",
        }
    }

    /// The outcome of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// Counts that go to reservation in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its number in the run, from 0.
    pub number: i32,
    /// The request's key.
    pub request_id: Uuid,
    /// How often counts were taken out of it.
    pub revision: i32,
}

/// A number for a SKU, as reservation is told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountLine {
    /// The SKU.
    pub sku: String,
    /// Units; of no meaning for the end of a limit.
    pub units: i64,
    /// What the number does.
    pub effect: CountEffect,
    /// What must be on hand for the number to be taken; none: whatever is.
    pub expected: Option<i64>,
}

/// What a number does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CountEffect {
    /// So many are there.
    Set,
    /// No more than so many are offered while a lower number waits for a person.
    Limit,
    /// The lower number is not believed: the limit goes.
    Unlimit,
}

impl CountEffect {
    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Limit => "LIMIT",
            Self::Unlimit => "UNLIMIT",
        }
    }

    /// The effect of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Set, Self::Limit, Self::Unlimit].into_iter().find(|effect| effect.name() == name)
    }
}

/// Whose counts go to reservation, and of which moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountsOf {
    /// The run.
    pub run_id: Uuid,
    /// The connection's code.
    pub connection: String,
    /// The location.
    pub location: String,
    /// The run's moment.
    pub moment: Moment,
    /// 0: what the file says. 1, 2 …: what was decided of it later, in that order: it comes after the file and before the next one.
    pub place: i32,
    /// What the numbers are.
    pub class: Class,
    /// Whether the run says something of every row of its connection.
    pub covers_all: bool,
}

/// What a person decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is believed.
    pub approves: bool,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// What reservation said of a count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The SKU.
    pub sku: String,
    /// Applied, unchanged, stale, rejected or a conflict.
    pub outcome: RowOutcome,
    /// on_hand before; none if it was rejected.
    pub previous_on_hand: Option<i64>,
    /// Units promised that are not there; none if it was rejected.
    pub shortfall: Option<i64>,
    /// Why it was not taken; may be empty.
    pub note: String,
}
