//! What a key stands for: a digest of everything in a request that its effect depends on. The attempt number, the deadline and the trace are not among it.

use holdfast_stock::{Adjustment, Cart, PayloadHash, Portion, ReservationId, Strategy, Terms, UnixMicros};
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

    /// What a Reserve says beside its cart, owner and time. Only what differs from the default goes in, each part after its name: a key that was first sent before there
    /// was such a thing keeps its payload.
    pub(crate) fn terms(self, cart: &Cart, terms: &Terms) -> Self {
        let in_one_piece = cart.lines().iter().enumerate().filter(|(_, line)| !line.split);
        let mut payload = in_one_piece.fold(self, |payload, (index, _)| payload.text("in one piece").count(index));
        if terms.best_effort {
            payload = payload.text("best effort");
        }
        payload = match &terms.strategy {
            Strategy::FixedPriority => payload,
            Strategy::FewestParcels => payload.text("fewest parcels"),
            Strategy::MostStock => payload.text("most stock"),
            Strategy::Nearest(locations) => locations
                .iter()
                .fold(payload.text("nearest").count(locations.len()), |payload, at| payload.text(at.as_str())),
        };
        for (name, value) in [("channel", &terms.details.channel), ("order", &terms.details.order)] {
            if let Some(value) = value {
                payload = payload.text(name).text(value.as_str());
            }
        }
        let labels = &terms.details.labels;
        if !labels.is_empty() {
            let named = payload.text("labels").count(labels.len());
            payload = labels.iter().fold(named, |payload, (key, value)| payload.text(key).text(value));
        }
        match terms.replaces {
            Some(old) => payload.text("replaces").reservation(old),
            None => payload,
        }
    }

    /// Portions in their order, unless there are none: then the request is what it was before there were portions.
    pub(crate) fn portions(self, portions: &[Portion]) -> Self {
        if portions.is_empty() {
            return self;
        }
        let named = self.text("portions").count(portions.len());
        portions.iter().fold(named, Self::portion)
    }

    pub(crate) fn portion(self, portion: &Portion) -> Self {
        let location = portion.location.as_ref().map_or("", |location| location.as_str());
        self.text(portion.sku.as_str()).text(location).number(portion.units)
    }

    pub(crate) fn optional_instant(self, instant: Option<UnixMicros>) -> Self {
        match instant {
            Some(instant) => self.text("at").instant(instant),
            None => self,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_stock::{Details, Line, Location, Name, Quantity, Sku};
    use std::collections::{BTreeMap, BTreeSet};

    fn cart(split: bool) -> Cart {
        let line = |code: &str, units| Line {
            sku: Sku::new(code).expect("a SKU"),
            location: None,
            quantity: Quantity::new(units).expect("a quantity"),
            split,
        };
        Cart::new(vec![line("TABLE", 1), line("CHAIR", 2)]).expect("a cart")
    }

    fn of(cart: &Cart, terms: &Terms) -> PayloadHash {
        Payload::of("Reserve").text("cart-17").number(60_000_000).cart(cart).terms(cart, terms).hash()
    }

    fn hex(hash: PayloadHash) -> String {
        hash.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_request_that_uses_nothing_new_has_the_payload_that_it_always_had() {
        // Taken from the release before there were terms and portions.
        let cart = cart(true);
        assert_eq!(hex(of(&cart, &Terms::default())), RESERVE_BEFORE);
        let id = ReservationId::from_bytes([7; 16]);
        assert_eq!(hex(Payload::of("Confirm").reservation(id).portions(&[]).hash()), CONFIRM_BEFORE);
    }

    const RESERVE_BEFORE: &str = "d6d79cc90495f250fb64e0a8299820f14370ccab17069d363c941f2ab457cf3d";
    const CONFIRM_BEFORE: &str = "e0d849cb4657aa8fb9c0e4255b066fcb3b2ea98b66cf00ed190eea493f93d9ab";

    #[test]
    fn everything_that_changes_the_effect_changes_the_payload() {
        let name = |text: &str| Some(Name::new(text).expect("a name"));
        let details = |details| Terms { details, ..Terms::default() };
        let strategy = |strategy| Terms { strategy, ..Terms::default() };
        let at = |code: &str| Location::new(code).expect("a location");
        let labels = |pairs: &[(&str, &str)]| {
            let labels: BTreeMap<_, _> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            details(Details { labels, ..Details::default() })
        };
        let all = [
            Terms::default(),
            Terms { best_effort: true, ..Terms::default() },
            Terms { replaces: Some(ReservationId::from_bytes([1; 16])), ..Terms::default() },
            Terms { replaces: Some(ReservationId::from_bytes([2; 16])), ..Terms::default() },
            strategy(Strategy::FewestParcels),
            strategy(Strategy::MostStock),
            strategy(Strategy::Nearest(vec![at("A"), at("B")])),
            strategy(Strategy::Nearest(vec![at("B"), at("A")])),
            strategy(Strategy::Nearest(vec![at("A")])),
            details(Details { channel: name("x"), ..Details::default() }),
            details(Details { order: name("x"), ..Details::default() }),
            labels(&[("a", "bc")]),
            labels(&[("ab", "c")]),
            labels(&[("a", ""), ("bc", "")]),
        ];
        let mut hashes: BTreeSet<_> = all.iter().map(|terms| of(&cart(true), terms)).collect();
        hashes.insert(of(&cart(false), &Terms::default()));
        assert_eq!(hashes.len(), all.len() + 1);
    }
}
