//! One SKU's ledger, replayed: how many units there were, and when that could be seen.

use std::collections::{BTreeMap, HashMap, HashSet};

use holdfast_client::ReservationKey;
use holdfast_client::api::reservation::v1::{Freshness, LedgerCause, LedgerEntry, Reservation};
use prost_types::Timestamp;

use super::{Findings, SENTENCES_MAX};
use crate::history::Verb;

/// Microseconds since 1970, by Postgres's clock.
pub(super) type Instant = i64;

/// How long a change may stay unseen after its instant, where no caller's answer says better: the ledger's instant is read before the commit.
const COMMIT_MICROS_MAX: i64 = 2_000_000;

/// The changes of one SKU's stock, location by location.
#[derive(Debug)]
pub(super) struct Timeline {
    rows: BTreeMap<String, Row>,
}

/// One stock row, version by version; the first stands for the time before the row was there.
#[derive(Debug, Default)]
struct Row {
    versions: Vec<Version>,
    twice: Vec<String>,
}

/// A row of stock between two changes.
#[derive(Debug, Clone, Default)]
struct Version {
    /// Nobody can have seen it before.
    from: Instant,
    /// Everybody sees at least this version afterwards.
    certain_from: Instant,
    on_hand: i64,
    held: i64,
    committed: i64,
    safety: i64,
    backorder: i64,
    /// Most of on_hand that is offered, while a lower number waits for a person.
    offer_limit: Option<i64>,
    /// Whether nothing is offered, whatever there is.
    archived: bool,
    paused: bool,
    stale: bool,
    /// Whether this change took units for a reservation.
    took: bool,
    /// Holds that count for nobody after their instant, though the row still has them: instant and units.
    due: Vec<(Instant, i64)>,
}

impl Timeline {
    /// Replays a SKU's ledger. `acknowledged` says until when the effect of a call was there to see at the latest.
    pub(super) fn new(
        entries: &[LedgerEntry],
        records: &HashMap<ReservationKey, Reservation>,
        acknowledged: &HashMap<(ReservationKey, Verb), Instant>,
    ) -> Self {
        let mut by_row: BTreeMap<String, Vec<&LedgerEntry>> = BTreeMap::new();
        for entry in entries {
            by_row.entry(entry.location.clone()).or_default().push(entry);
        }
        let rows = by_row.into_iter().map(|(location, entries)| (location, Row::new(entries, records, acknowledged)));
        Self { rows: rows.collect() }
    }

    /// Checks that no reservation took what was not there, and none took twice.
    pub(super) fn check_units(&self, sku: &str, findings: &mut Findings) {
        for (location, row) in &self.rows {
            let over = |version: &&Version| version.took && version.over() > 0;
            if let Some(worst) = row.versions.iter().filter(over).max_by_key(|version| version.over()) {
                findings.oversold_units = findings.oversold_units.max(worst.over());
                findings.broken.push(format!("I2: {sku} at {location} was oversold by {}", worst.over()));
            }
            findings.charged_twice += row.twice.len();
            let twice = row.twice.iter().take(SENTENCES_MAX);
            findings.broken.extend(twice.map(|what| format!("I4: {sku} at {location}: {what}")));
        }
    }

    /// The fewest units that could be seen, at one location or over all, at some instant from `from` to `to`. Over several locations it may be fewer than
    /// ever were there at one instant.
    pub(super) fn least_available(&self, location: Option<&str>, from: Instant, to: Instant) -> i64 {
        let rows = self.rows.iter().filter(|(name, _)| location.is_none_or(|location| location == name.as_str()));
        rows.map(|(_, row)| row.least_available(from, to)).sum()
    }
}

impl Row {
    fn new(
        mut entries: Vec<&LedgerEntry>,
        records: &HashMap<ReservationKey, Reservation>,
        acknowledged: &HashMap<(ReservationKey, Verb), Instant>,
    ) -> Self {
        entries.sort_by_key(|entry| entry.version);
        let mut row = Self { versions: vec![Version { from: Instant::MIN, ..Version::default() }], twice: Vec::new() };
        let mut holds: HashMap<ReservationKey, (Instant, i64)> = HashMap::new();
        let mut seen = HashSet::new();
        for entry in entries {
            let cause = LedgerCause::try_from(entry.cause).unwrap_or_default();
            let id: Option<ReservationKey> = entry.cause_id.parse().ok();
            let once = matches!(
                cause,
                LedgerCause::Reserve | LedgerCause::Confirm | LedgerCause::Release | LedgerCause::Expire
            );
            if once && !seen.insert((cause, entry.cause_id.clone())) {
                row.twice.push(format!("reservation {} has two entries {cause:?}", entry.cause_id));
            }
            if let Some(id) = id {
                match cause {
                    LedgerCause::Reserve => {
                        let ends = records.get(&id).and_then(|record| micros(record.expire_time.as_ref()));
                        holds.insert(id, (ends.unwrap_or(Instant::MAX), entry.held_delta));
                    }
                    LedgerCause::Confirm | LedgerCause::Release | LedgerCause::Expire => drop(holds.remove(&id)),
                    LedgerCause::Count
                    | LedgerCause::Adjust
                    | LedgerCause::Policy
                    | LedgerCause::Freshness
                    | LedgerCause::Fulfil
                    | LedgerCause::Cancel
                    | LedgerCause::Return
                    | LedgerCause::Evidence
                    | LedgerCause::Pause
                    | LedgerCause::Resume
                    | LedgerCause::Repair
                    | LedgerCause::Unspecified => {}
                }
            }
            let verb = match cause {
                LedgerCause::Reserve => Some(Verb::Reserve),
                LedgerCause::Confirm => Some(Verb::Confirm),
                LedgerCause::Release => Some(Verb::Release),
                LedgerCause::Expire
                | LedgerCause::Count
                | LedgerCause::Adjust
                | LedgerCause::Policy
                | LedgerCause::Freshness
                | LedgerCause::Fulfil
                | LedgerCause::Cancel
                | LedgerCause::Return
                | LedgerCause::Evidence
                | LedgerCause::Pause
                | LedgerCause::Resume
                | LedgerCause::Repair
                | LedgerCause::Unspecified => None,
            };
            let from = micros(entry.create_time.as_ref()).unwrap_or(Instant::MIN);
            let told = id.zip(verb).and_then(|key| acknowledged.get(&key).copied());
            let before = row.versions.last().expect("the first version is always there");
            let version = before.after(entry, from, told.unwrap_or(from.saturating_add(COMMIT_MICROS_MAX)), &holds);
            row.versions.push(version);
        }
        row.settle();
        row
    }

    /// Whoever sees a version sees all before it.
    fn settle(&mut self) {
        let mut certain = Instant::MAX;
        for version in self.versions.iter_mut().rev() {
            certain = certain.min(version.certain_from);
            version.certain_from = certain;
        }
    }

    fn least_available(&self, from: Instant, to: Instant) -> i64 {
        let mut least = i64::MAX;
        for (number, version) in self.versions.iter().enumerate() {
            let until = self.versions.get(number + 1).map_or(Instant::MAX, |next| next.certain_from);
            if version.from <= to && until >= from {
                least = least.min(version.available(version.from.max(from)));
            }
        }
        least
    }
}

impl Version {
    fn after(
        &self,
        entry: &LedgerEntry,
        from: Instant,
        certain_from: Instant,
        holds: &HashMap<ReservationKey, (Instant, i64)>,
    ) -> Self {
        let cause = LedgerCause::try_from(entry.cause).unwrap_or_default();
        Self {
            // Instants of a batch may be equal, but never go back: the row was locked.
            from: from.max(self.from),
            certain_from,
            on_hand: self.on_hand + entry.on_hand_delta,
            held: self.held + entry.held_delta,
            committed: self.committed + entry.committed_delta,
            safety: self.safety + entry.safety_stock_delta,
            backorder: self.backorder + entry.backorder_limit_delta,
            offer_limit: match entry.offer_limit {
                None => self.offer_limit,
                Some(lifted) if lifted < 0 => None,
                Some(limit) => Some(limit),
            },
            archived: entry.archived.unwrap_or(self.archived),
            paused: entry.paused.unwrap_or(self.paused),
            stale: match entry.freshness() {
                Freshness::Unspecified => self.stale,
                Freshness::Fresh | Freshness::Late => false,
                Freshness::Stale => true,
            },
            took: cause == LedgerCause::Reserve,
            due: holds.values().copied().collect(),
        }
    }

    /// Units promised beyond what is there.
    fn over(&self) -> i64 {
        self.held + self.committed - self.on_hand - self.backorder
    }

    /// Units that a reservation could get at this instant.
    fn available(&self, at: Instant) -> i64 {
        if self.archived || self.paused || self.stale {
            return 0;
        }
        let lapsed: i64 = self.due.iter().filter(|(ends, _)| *ends <= at).map(|(_, units)| units).sum();
        let offered = self.offer_limit.map_or(self.on_hand, |limit| limit.min(self.on_hand));
        (offered - self.held + lapsed - self.committed - self.safety + self.backorder).max(0)
    }
}

pub(super) fn micros(at: Option<&Timestamp>) -> Option<Instant> {
    at.map(|at| at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000)
}
