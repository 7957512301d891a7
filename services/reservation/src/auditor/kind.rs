//! What can be wrong.

/// The kind that repair cannot put right by an entry.
pub(crate) const CHANNEL: &str = "CHANNEL";

/// Which check a discrepancy broke. The enum of the same name in the protos says what each means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiscrepancyKind {
    /// A row is not the sum of its ledger.
    LedgerSum,
    /// A ledger has lost or gained entries.
    LedgerChain,
    /// A row's held or committed is not what its reservations add up to.
    Promises,
    /// A reservation is not what the ledger says of it.
    Reservation,
    /// A row does not follow its selling policy.
    Policy,
    /// A row's freshness, offer limit or archived is not what the ledger last said.
    Turn,
    /// A row's shortfall does not follow from its numbers.
    Shortfall,
    /// Reservations took more than there was.
    Oversold,
    /// Redis publishes another number than Postgres has.
    Counter,
    /// What a channel has is not what its reservations add up to.
    Channel,
}

impl DiscrepancyKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::LedgerSum,
        Self::LedgerChain,
        Self::Promises,
        Self::Reservation,
        Self::Policy,
        Self::Turn,
        Self::Shortfall,
        Self::Oversold,
        Self::Counter,
        Self::Channel,
    ];

    /// Its name in the database, in metrics and, with a prefix, in the protos.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LedgerSum => "LEDGER_SUM",
            Self::LedgerChain => "LEDGER_CHAIN",
            Self::Promises => "PROMISES",
            Self::Reservation => "RESERVATION",
            Self::Policy => "POLICY",
            Self::Turn => "TURN",
            Self::Shortfall => "SHORTFALL",
            Self::Oversold => "OVERSOLD",
            Self::Counter => "COUNTER",
            Self::Channel => CHANNEL,
        }
    }
}
