//! What a key stands for: a digest of everything in a request that its effect depends on. The attempt number, the deadline and the trace are not among it.

use holdfast_stock::{Adjustment, Cart, PayloadHash, ReservationId, UnixMicros};
use sha2::{Digest as _, Sha256};

/// Digests a request part by part; every part goes in with its length, so that no two sequences of parts look the same.
pub(crate) struct Payload(Sha256);

impl Payload {
    /// For a verb.
    pub(crate) fn of(verb: &str) -> Self {
        Self(Sha256::new()).text(verb)
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
        self
    }

    pub(crate) fn number(mut self, number: i64) -> Self {
        self.0.update(number.to_be_bytes());
        self
    }

    pub(crate) fn reservation(mut self, id: ReservationId) -> Self {
        self.0.update(id.to_bytes());
        self
    }

    pub(crate) fn instant(self, instant: UnixMicros) -> Self {
        self.number(instant.0)
    }

    /// The cart as it is held: lines summed and sorted, so that the order in which a caller lists them does not matter.
    pub(crate) fn cart(self, cart: &Cart) -> Self {
        let lines = cart.lines();
        lines.iter().fold(self.count(lines.len()), |payload, line| {
            let location = line.location.as_ref().map_or("", |location| location.as_str());
            payload.text(line.sku.as_str()).text(location).number(line.quantity.get())
        })
    }

    pub(crate) fn adjustments(self, adjustments: &[Adjustment]) -> Self {
        adjustments.iter().fold(self.count(adjustments.len()), |payload, a| {
            let payload = payload.text(a.sku.as_str()).text(a.location.as_str());
            payload.text(a.condition.as_str()).number(a.delta).text(a.reason.as_str())
        })
    }

    pub(crate) fn count(self, count: usize) -> Self {
        self.number(i64::try_from(count).unwrap_or(i64::MAX))
    }

    pub(crate) fn hash(self) -> PayloadHash {
        PayloadHash(self.0.finalize().into())
    }
}
