//! Whether a SKU may be sold at the moment, and how fast it is: the velocity breaker.

use crate::ids::{Name, Note, UnixMicros};

/// How a SKU is selling. The default is one that is not paused and of which nothing was reserved lately.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selling {
    /// Why nothing of it is offered until somebody resumes it; none: it is sold.
    pub pause: Option<Pause>,
    /// Units reserved, by second of Postgres's clock since 1970, seconds ascending; kept only where a policy limits the units a minute.
    pub recent: Vec<(i64, i64)>,
}

/// A pause in selling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub at: UnixMicros,
    /// Who: a person, or `holdfast`.
    pub actor: Name,
    /// Why.
    pub note: Note,
}

/// What a channel has of a SKU whose policy caps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChannelUse {
    /// Units held, or confirmed and neither cancelled nor shipped.
    pub units: i64,
}
