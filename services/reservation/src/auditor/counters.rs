//! Whether Redis publishes what Postgres has. A counter is wrong for a moment after every commit, and for longer when a message to Redis was lost; it comes right by itself. A
//! finding is one that stays as it is while nothing changes.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_stock::{Location, Sku};
use tokio::time::Instant;
use uuid::Uuid;

use super::Checker;
use crate::gate::{GateState, Seen};
use crate::reconciler::published;
use crate::store::{Finding, StoreError};

/// The kind of these findings.
pub(crate) const COUNTER: &str = "COUNTER";
/// Counters that are watched at once.
const SUSPECTS_MAX: usize = 10_000;

/// What Redis says of a SKU beside what Postgres says, where they differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    seen: Seen,
    recorded: Vec<(Location, i64)>,
}

/// Counters that differ, since when.
#[derive(Debug, Default)]
pub(super) struct Suspects(BTreeMap<Sku, (Difference, Instant)>);

impl Suspects {
    /// Looks at these SKUs' counters and remembers those that differ.
    pub(super) async fn note(&mut self, checker: &Checker, skus: &[Sku]) -> Result<(), StoreError> {
        let unknown: Vec<Sku> = skus.iter().filter(|sku| !self.0.contains_key(*sku)).cloned().collect();
        let now = Instant::now();
        for (sku, difference) in wrong(checker, &unknown).await?.unwrap_or_default() {
            if self.0.len() < SUSPECTS_MAX {
                self.0.insert(sku, (difference, now));
            }
        }
        Ok(())
    }

    /// Looks again at those that have differed for so long: the same as before on both sides is a finding. Others are forgotten, or watched anew.
    pub(super) async fn confirmed(&mut self, checker: &Checker, grace: Duration) -> Result<Vec<Finding>, StoreError> {
        let old = self.0.iter().filter(|(_, (_, since))| since.elapsed() >= grace);
        let old: Vec<Sku> = old.map(|(sku, _)| sku.clone()).collect();
        let Some(wrong) = wrong(checker, &old).await? else { return Ok(Vec::new()) };
        let now = Instant::now();
        let mut found = Vec::new();
        let mut again = BTreeMap::new();
        for (sku, difference) in wrong {
            match self.0.get(&sku) {
                Some((first, _)) if *first == difference => found.push(difference.finding(&sku)),
                _ => {
                    again.insert(sku, (difference, now));
                }
            }
        }
        for sku in &old {
            self.0.remove(sku);
        }
        self.0.extend(again);
        Ok(found)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Difference {
    fn finding(&self, sku: &Sku) -> Finding {
        let list = |units: &[(Location, i64)]| {
            let parts: Vec<String> = units.iter().map(|(location, units)| format!("{units} at {location}")).collect();
            if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
        };
        let (says, at) = match &self.seen {
            Seen::Readable(published) => (list(&published.locations), published.at.0),
            Seen::Missing | Seen::Unanswered | Seen::Garbage => ("something that cannot be read".to_owned(), 0),
        };
        Finding {
            kind: COUNTER.to_owned(),
            sku: sku.to_string(),
            location: String::new(),
            reservation_id: Uuid::nil(),
            detail: format!("Redis says {says}; Postgres has {}", list(&self.recorded)),
            changed_at: at,
        }
    }
}

/// Those of these SKUs whose counter is not what Postgres has; none if Redis is not asked at present. What is not published is unknown, not wrong.
pub(super) async fn wrong(checker: &Checker, skus: &[Sku]) -> Result<Option<Vec<(Sku, Difference)>>, StoreError> {
    if checker.gate.state() == GateState::Down {
        return Ok(None);
    }
    if skus.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let Ok(seen) = checker.gate.inspect(skus).await else { return Ok(None) };
    let look = checker.store.availability(skus).await?;
    let mut recorded: BTreeMap<Sku, Vec<(Location, i64)>> =
        published(&look).into_iter().map(|record| (record.sku, sorted(record.locations))).collect();
    let mut wrong = Vec::new();
    for (sku, seen) in skus.iter().zip(seen) {
        let recorded = recorded.remove(sku).unwrap_or_default();
        let seen = match seen {
            Seen::Readable(mut published) => {
                published.locations = sorted(published.locations);
                Seen::Readable(published)
            }
            other @ (Seen::Missing | Seen::Unanswered | Seen::Garbage) => other,
        };
        let is_wrong = match &seen {
            Seen::Missing | Seen::Unanswered => false,
            Seen::Garbage => true,
            Seen::Readable(published) => published.locations != recorded,
        };
        if is_wrong {
            wrong.push((sku.clone(), Difference { seen, recorded }));
        }
    }
    Ok(Some(wrong))
}

fn sorted(mut units: Vec<(Location, i64)>) -> Vec<(Location, i64)> {
    units.sort();
    units
}
