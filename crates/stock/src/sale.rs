//! What became of the units of a reservation after they were held: confirmed in part, told to the vendor, shipped, called off, returned, and reflected by a count.

use crate::ids::UnixMicros;
use crate::op::CountMeaning;

/// What became of an allocation's units. Every number is units, from 0 to the allocation's quantity; the default is an allocation to which nothing happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Given back when only a part was confirmed.
    pub released: i64,
    /// Called off after they were confirmed, all in all.
    pub cancelled: i64,
    /// Of `cancelled`: the vendor was told of the units and has not taken the cancellation, so they are still committed.
    pub cancelling: i64,
    /// Of `cancelled`: units that are off, because the vendor never knew of them or took the cancellation. What is neither this nor `cancelling` is reflected by the count.
    pub withdrawn: i64,
    /// Shipped.
    pub fulfilled: i64,
    /// Of `fulfilled`: came back.
    pub returned: i64,
    /// Reflected by the count: not committed any more. Falls only where the vendor takes the cancellation of such units, which then are `withdrawn`, and where an ON_HAND
    /// count follows an AVAILABLE one: booked units are in its number again until they are shipped.
    pub reflected: i64,
    /// What the vendor did with the units, in the order in which it became known; at most [`Progress::EVIDENCE_MAX`] pieces.
    pub evidence: Vec<Evidence>,
}

/// Something that a vendor did with units, by its own clock (PROTOCOL 14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Evidence {
    /// What it did.
    pub kind: EvidenceKind,
    /// With how many units, at least 1.
    pub units: i64,
    /// When.
    pub at: UnixMicros,
}

/// What a vendor did with ordered units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EvidenceKind {
    /// It was sent the order.
    Sent,
    /// It booked the order: its AVAILABLE numbers are without the units from then on.
    Booked,
    /// The units left the shelf: its ON_HAND numbers are without them from then on.
    Shipped,
}

impl EvidenceKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Sent, Self::Booked, Self::Shipped];

    /// Its name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "SENT",
            Self::Booked => "BOOKED",
            Self::Shipped => "SHIPPED",
        }
    }

    /// The kind of that name in the database.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What is known of a connection's feed that says when its numbers reflect a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedTerms {
    /// Added to our time of receipt where evidence comes without the vendor's own time, in microseconds; 0 or more.
    pub clock_margin_micros: i64,
    /// So long after an order was sent a number reflects it at the latest, in microseconds; none: never without evidence.
    pub reflection_lag_micros: Option<i64>,
}

/// As of when a row's number is and what it means: which sales it reflects follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// When the vendor counted, by its clock.
    pub as_of: UnixMicros,
    /// What the number means.
    pub meaning: CountMeaning,
    /// So long after an order was sent the number reflects it, whatever else is known, in microseconds; none: never without evidence.
    pub reflection_lag_micros: Option<i64>,
}

impl Progress {
    /// The most pieces of evidence that are kept for an allocation. Beyond that the two of one kind that lie closest become one, as of the later: no unit is taken for
    /// reflected too early.
    pub const EVIDENCE_MAX: usize = 100;

    /// Whether nothing has happened.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Of so many units reserved, those that are sold: neither given back nor called off.
    #[must_use]
    pub const fn sold(&self, quantity: i64) -> i64 {
        quantity - self.released - self.cancelled
    }

    /// Of so many units reserved, those that are sold and not shipped.
    #[must_use]
    pub const fn open(&self, quantity: i64) -> i64 {
        self.sold(quantity) - self.fulfilled
    }

    /// Of so many units reserved, what a confirmed reservation has in `committed` (PROTOCOL 15).
    #[must_use]
    pub const fn committed(&self, quantity: i64) -> i64 {
        quantity - self.released - self.withdrawn - self.reflected
    }

    /// What `reflected` is when this is the row's count: the units whose evidence is not later (PROTOCOL 14, 15). For AVAILABLE it is the booking, for ON_HAND the
    /// shipment, which implies the booking.
    #[must_use]
    pub fn reflected_by(&self, quantity: i64, count: &Watermark) -> i64 {
        self.reflected.max(self.evident(quantity, count))
    }

    /// The units of which evidence says that the count reflects them, at most those that have not left committed otherwise.
    fn evident(&self, quantity: i64, count: &Watermark) -> i64 {
        let shipped = self.told_until(EvidenceKind::Shipped, count.as_of);
        let by_meaning = match count.meaning {
            CountMeaning::Available => self.told_until(EvidenceKind::Booked, count.as_of).max(shipped),
            CountMeaning::OnHand => shipped,
        };
        let sent_before = count.reflection_lag_micros.map(|lag| UnixMicros(count.as_of.0.saturating_sub(lag)));
        let by_lag = sent_before.map_or(0, |until| self.told_until(EvidenceKind::Sent, until));
        by_meaning.max(by_lag).clamp(0, (quantity - self.released - self.withdrawn).max(0))
    }

    /// Units that the vendor did this with, all in all.
    #[must_use]
    pub fn told(&self, kind: EvidenceKind) -> i64 {
        self.told_until(kind, UnixMicros(i64::MAX))
    }

    fn told_until(&self, kind: EvidenceKind, until: UnixMicros) -> i64 {
        let told = self.evidence.iter().filter(|piece| piece.kind == kind && piece.at <= until);
        told.fold(0, |sum, piece| sum.saturating_add(piece.units))
    }

    /// Units that the vendor knows of: it was sent them, or else it could not have booked or shipped them.
    pub(crate) fn known_to_vendor(&self) -> i64 {
        EvidenceKind::ALL.into_iter().map(|kind| self.told(kind)).max().unwrap_or(0)
    }

    /// Units to which this may still happen. What was called off before the vendor knew of it cannot be sent or booked; what it took a cancellation of was.
    pub(crate) fn untold(&self, quantity: i64, kind: EvidenceKind) -> i64 {
        let most = match kind {
            EvidenceKind::Sent | EvidenceKind::Booked => {
                (quantity - self.released - self.withdrawn).max(self.known_to_vendor())
            }
            // What is open is shipped by Fulfil: beside it there is only what was shipped in spite of being called off.
            EvidenceKind::Shipped => self.fulfilled + self.cancelled_at_vendor(),
        };
        (most - self.told(kind)).max(0)
    }

    /// Units called off that the vendor knew of, and of which it has not taken the cancellation.
    pub(crate) fn cancelled_at_vendor(&self) -> i64 {
        self.cancelled - self.withdrawn
    }

    /// Units called off when the count reflected them already.
    fn cancelled_as_reflected(&self) -> i64 {
        self.cancelled - self.withdrawn - self.cancelling
    }

    /// Keeps a piece of evidence.
    pub(crate) fn tell(&mut self, piece: Evidence) {
        self.evidence.push(piece);
        while self.evidence.len() > Self::EVIDENCE_MAX && self.sum_closest() {}
    }

    /// Makes one of the two pieces of a kind that lie closest; false if no kind has two.
    fn sum_closest(&mut self) -> bool {
        let mut order: Vec<usize> = (0..self.evidence.len()).collect();
        order.sort_by_key(|index| (self.evidence[*index].kind, self.evidence[*index].at));
        let pairs = order.windows(2).map(|pair| (pair[0], pair[1]));
        let alike = pairs.filter(|(one, next)| self.evidence[*one].kind == self.evidence[*next].kind);
        let gap = |(one, next): &(usize, usize)| self.evidence[*next].at.0.saturating_sub(self.evidence[*one].at.0);
        let Some((earlier, later)) = alike.min_by_key(gap) else { return false };
        self.evidence[later].units = self.evidence[later].units.saturating_add(self.evidence[earlier].units);
        self.evidence.remove(earlier);
        true
    }

    /// Takes a count for the row's: units become reflected. Of those that are not, the ones called off come last: a vendor calls off what it has done least with.
    pub(crate) fn reflect(&mut self, quantity: i64, count: &Watermark) {
        self.become_reflected(quantity, self.reflected_by(quantity, count));
    }

    /// Takes an ON_HAND count after an AVAILABLE one: what was only booked is on the shelf, and so in the number. What was called off and is not taken may leave it yet.
    pub(crate) fn reflect_anew(&mut self, quantity: i64, count: &Watermark) {
        self.reflected = self.evident(quantity, count);
        self.cancelling = self.cancelled_at_vendor().min(self.committed(quantity)).max(0);
    }

    /// Takes units for reflected that leave the shelf and the number together.
    pub(crate) fn reflect_at_once(&mut self, quantity: i64, units: i64) {
        let most = quantity - self.released - self.withdrawn;
        self.become_reflected(quantity, self.reflected.saturating_add(units).min(most));
    }

    fn become_reflected(&mut self, quantity: i64, reflected: i64) {
        self.reflected = reflected;
        self.cancelling = self.cancelling.min(self.committed(quantity)).max(0);
    }

    /// Calls off open units, those that the vendor has done least with first, and says how many leave committed at once (PROTOCOL 17): those that it knows of stay until
    /// it takes the cancellation, and those that the count reflects have left.
    pub(crate) fn call_off(&mut self, quantity: i64, units: i64) -> i64 {
        let open = self.open(quantity);
        let unknown_to_vendor = (quantity - self.released - self.withdrawn - self.known_to_vendor()).clamp(0, open);
        let reflected_and_open = (self.reflected - self.cancelled_as_reflected() - self.fulfilled).clamp(0, open);
        let withdrawn = units.min(unknown_to_vendor);
        let at_vendor = (open - reflected_and_open - unknown_to_vendor).max(0);
        self.cancelling += (units - withdrawn).min(at_vendor);
        self.withdrawn += withdrawn;
        self.cancelled += units;
        withdrawn
    }

    /// Takes the vendor's word that units are called off: those that the count does not reflect leave committed, those that it reflects have left. It does not matter
    /// whether the row's count is older or newer: what it does not reflect is in its number.
    pub(crate) fn take_cancellation(&mut self, units: i64) {
        let waiting = units.min(self.cancelling);
        self.cancelling -= waiting;
        self.reflected -= (units - waiting).min(self.reflected);
        self.withdrawn += units;
    }
}
