//! Numbers that guards stopped.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{CountLine, Moment, RowOutcome};

/// A number that a guard stopped, or adjustments that one did.
#[derive(Debug, Clone, PartialEq)]
pub struct Quarantined {
    /// Its id, a UUIDv7.
    pub quarantine_id: Uuid,
    /// Where it stands.
    pub state: QuarantineState,
    /// The run; none for adjustments.
    pub run_id: Option<Uuid>,
    /// The connection's code.
    pub connection: String,
    /// The line in the file; 0 for adjustments.
    pub line: i64,
    /// The vendor's code.
    pub vendor_sku: String,
    /// The SKU.
    pub sku: String,
    /// The location.
    pub location: String,
    /// The quantity as it was written.
    pub raw_quantity: String,
    /// Units of the SKU before, if anything was known.
    pub old_units: Option<i64>,
    /// Units that it says, if it can be read as one number.
    pub new_units: Option<i64>,
    /// The rules that stopped it.
    pub rules: Vec<String>,
    /// What looks wrong.
    pub explanation: String,
    /// Units that could be sold without being there.
    pub exposure: i64,
    /// When the vendor counted.
    pub moment: Moment,
    /// Whether the offer of its SKU is limited on its account.
    pub is_limited: bool,
    /// Who typed it; empty for vendors' files.
    pub typed_by: String,
    /// Why; may be empty.
    pub typed_note: String,
    /// For adjustments: the request, in protobuf's encoding.
    pub adjustments: Option<Vec<u8>>,
    /// When it was stopped.
    pub create_time: OffsetDateTime,
    /// When it was decided.
    pub decide_time: Option<OffsetDateTime>,
    /// Who decided; empty while it waits.
    pub decided_by: String,
    /// Why.
    pub decision_reason: String,
    /// Units to be applied.
    pub decided_units: Option<i64>,
    /// What reservation is told, once that is settled, and its place after the run.
    pub sent: Option<(CountLine, i32)>,
    /// What reservation made of it.
    pub outcome: Option<RowOutcome>,
    /// Why reservation did not take it; may be empty.
    pub outcome_note: String,
    /// When the decision was carried out.
    pub done_time: Option<OffsetDateTime>,
    /// How many attempts in a row broke off.
    pub attempts: u32,
}

impl Quarantined {
    /// When it was decided, or else when it was stopped.
    #[must_use]
    pub fn decided_at(&self) -> OffsetDateTime {
        self.decide_time.unwrap_or(self.create_time)
    }
}

/// Where a quarantined number stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuarantineState {
    /// It waits for a person.
    Pending,
    /// A person believed it.
    Approved,
    /// A person did not.
    Rejected,
    /// A newer number of its code took its place.
    Superseded,
}

impl QuarantineState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Approved, Self::Rejected, Self::Superseded];

    /// Its name in tables and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Approved => "APPROVED",
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
