//! Where a reader of the record's changes stands.
//!
//! The order of commits is nowhere written down in Postgres, and neither a sequence nor a clock is it. So a reader remembers a snapshot of transactions, and reads
//! what it did not see and the present one does: nothing is missed that commits late, and nobody waits for a transaction that runs for long.

use holdfast_stock::ReservationId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest text of a snapshot that is taken, in bytes: it names each transaction that was under way.
const SNAPSHOT_BYTES_MAX: usize = 64 * 1024;

/// A snapshot of transactions, as Postgres writes it: `xmin:xmax:xip,xip`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Snapshot {
    text: String,
    xmin: i64,
    xmax: i64,
    under_way: Vec<i64>,
}

impl Snapshot {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The oldest transaction that was under way, if one was: of all that it does not see and that had begun.
    #[must_use]
    pub fn oldest_under_way(&self) -> Option<i64> {
        (self.xmin < self.xmax).then_some(self.xmin)
    }

    /// Whether it sees what this transaction has committed.
    #[must_use]
    pub fn sees(&self, xid: i64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.under_way.binary_search(&xid).is_err())
    }
}

impl From<Snapshot> for String {
    fn from(snapshot: Snapshot) -> Self {
        snapshot.text
    }
}

impl TryFrom<String> for Snapshot {
    type Error = &'static str;

    /// What Postgres would not take must not reach it: it comes back from callers.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "is no snapshot";
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<i64>().ok()).flatten()
        };
        if text.len() > SNAPSHOT_BYTES_MAX {
            return Err(WRONG);
        }
        let mut parts = text.split(':');
        let (Some(xmin), Some(xmax), Some(names), None) =
            (parts.next().and_then(number), parts.next().and_then(number), parts.next(), parts.next())
        else {
            return Err(WRONG);
        };
        let under_way: Option<Vec<i64>> =
            if names.is_empty() { Some(Vec::new()) } else { names.split(',').map(number).collect() };
        let under_way = under_way.ok_or(WRONG)?;
        let within = under_way.iter().all(|xid| (xmin..xmax).contains(xid));
        if xmin > 0 && xmin <= xmax && within && under_way.is_sorted_by(|a, b| a < b) {
            Ok(Self { text, xmin, xmax, under_way })
        } else {
            Err(WRONG)
        }
    }
}

/// Where a reader stands; what a resume token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Of which life of the record.
    pub incarnation: Uuid,
    /// What this sees is dealt with, or part of the whole that is being read.
    pub seen: Snapshot,
    /// What is dealt with besides.
    pub at: Place,
}

/// What a reader has dealt with besides what its snapshot sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// It reads everything there is, in order, and was here last.
    Whole(WholePlace),
    /// Nothing: it reads what is new.
    New,
    /// It reads what a later snapshot sees, and has dealt with every transaction before this one.
    Within {
        /// The later snapshot.
        upto: Snapshot,
        /// The next transaction.
        next: i64,
    },
}

/// A place in the whole: after this row of stock, and after this reservation on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WholePlace {
    /// The row's SKU; empty: at the beginning.
    pub sku: String,
    /// The row's location.
    pub location: String,
    /// The reservation, where the whole is one of reservations.
    pub reservation: Uuid,
}

impl WholePlace {
    /// Before everything.
    #[must_use]
    pub const fn beginning() -> Self {
        Self { sku: String::new(), location: String::new(), reservation: Uuid::max() }
    }

    /// After a reservation on a row.
    #[must_use]
    pub fn after(sku: &str, location: &str, reservation: ReservationId) -> Self {
        let reservation = Uuid::from_bytes(reservation.to_bytes());
        Self { sku: sku.to_owned(), location: location.to_owned(), reservation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Snapshot, &'static str> {
        Snapshot::try_from(text.to_owned())
    }

    #[test]
    fn only_what_postgres_takes_is_a_snapshot() {
        for good in ["1:1:", "10:20:", "10:20:10,14,19", "10:20:15"] {
            assert_eq!(read(good).unwrap().as_str(), good);
        }
        for bad in
            ["", "1", "1:1", "1:1::", "0:1:", "2:1:", "10:20:9", "10:20:20", "10:20:15,14", "10:20:15,15", "a:b:"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
        for bad in ["10:20:,", "+1:2:", "1:99999999999999999999:", "1:2:'", " 1:2:", ":2:", "1::"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_snapshot_sees_what_had_committed_and_nothing_else() {
        let snapshot = read("10:20:10,14").unwrap();
        let seen: Vec<i64> = (8..23).filter(|xid| snapshot.sees(*xid)).collect();
        assert_eq!(seen, [8, 9, 11, 12, 13, 15, 16, 17, 18, 19]);
        assert_eq!((snapshot.oldest_under_way(), read("20:20:").unwrap().oldest_under_way()), (Some(10), None));
    }
}
