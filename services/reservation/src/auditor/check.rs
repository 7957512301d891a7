//! One look at some SKUs, and the second one that confirms what it found.

use std::collections::BTreeSet;

use holdfast_stock::Sku;
use uuid::Uuid;

use super::counters::{self, COUNTER};
use super::{FINDINGS_MAX, subjects};
use crate::gate::Gate;
use crate::metrics::AuditorMetrics;
use crate::store::{Discrepancy, Finding, Store, StoreError};

/// Looks, by a store of its own. Clones share it.
#[derive(Debug, Clone)]
pub struct Checker {
    pub(crate) store: Store,
    pub(crate) gate: Gate,
    open_max: i64,
}

impl Checker {
    /// Looks by this store and this gate; keeps at most so many discrepancies open.
    #[must_use]
    pub const fn new(store: Store, gate: Gate, open_max: i64) -> Self {
        Self { store, gate, open_max }
    }

    /// What is wrong with these SKUs in the record, seen twice, each time in one snapshot; and how many SKUs took too long to look at.
    ///
    /// # Errors
    /// [`StoreError`]; looking changes nothing.
    pub async fn check(&self, skus: &[Sku]) -> Result<(Vec<Finding>, usize), StoreError> {
        let (mut found, mut skipped) = (Vec::new(), 0);
        let mut open: Vec<&[Sku]> = vec![skus];
        while let Some(part) = open.pop() {
            if part.is_empty() {
                continue;
            }
            match self.twice(part).await {
                Ok(more) => found.extend(more),
                // A statement that takes too long is tried on half of them, down to one: that one is skipped, and counted.
                Err(StoreError::Contended(_)) if part.len() > 1 => {
                    let (left, right) = part.split_at(part.len() / 2);
                    open.extend([left, right]);
                }
                Err(StoreError::Contended(error)) => {
                    tracing::warn!(sku = %part[0], error, "the auditor could not look at a SKU in time");
                    skipped += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok((found, skipped))
    }

    async fn twice(&self, skus: &[Sku]) -> Result<Vec<Finding>, StoreError> {
        let first = self.store.audit_skus(skus, FINDINGS_MAX).await?;
        if first.is_empty() {
            return Ok(first);
        }
        let suspects: BTreeSet<&str> = first.iter().map(|finding| finding.sku.as_str()).collect();
        let suspects: Vec<Sku> = suspects.into_iter().filter_map(|code| Sku::new(code).ok()).collect();
        let second = self.store.audit_skus(&suspects, FINDINGS_MAX).await?;
        Ok(both(&first, second))
    }

    /// Those of the findings about reservations that a second look confirms.
    ///
    /// # Errors
    /// [`StoreError`]; looking changes nothing.
    pub async fn confirm_reservations(&self, first: &[Finding]) -> Result<Vec<Finding>, StoreError> {
        if first.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<Uuid> = first.iter().map(|finding| finding.reservation_id).collect();
        Ok(both(first, self.store.audit_reservations_again(&ids).await?))
    }

    /// Keeps confirmed findings, and says in the log which are new.
    ///
    /// # Errors
    /// [`StoreError`]; some may have been kept, and may be again.
    pub async fn keep(&self, found: &[Finding], metrics: &AuditorMetrics) -> Result<(), StoreError> {
        // Two pages may have found the same.
        let mut each: Vec<Finding> = found.to_vec();
        each.sort_by(|a, b| a.key().cmp(&b.key()));
        each.dedup_by(|a, b| a.key() == b.key());
        for (finding, unseen_micros) in self.store.note_discrepancies(&each, self.open_max).await? {
            metrics.found(unseen_micros);
            let Finding { kind, sku, location, reservation_id, detail, .. } = &finding;
            tracing::error!(kind, sku, location, %reservation_id, detail, "the record contradicts itself");
        }
        Ok(())
    }

    /// Findings that were kept, as they were; those for which there was no room have no id.
    ///
    /// # Errors
    /// [`StoreError`]; looking changes nothing.
    pub async fn kept(&self, found: &[Finding]) -> Result<Vec<Discrepancy>, StoreError> {
        let kept = self.store.open_discrepancies(found).await?;
        let of = |finding: &Finding| kept.iter().find(|one| one.key() == finding.key()).cloned();
        let unkept = |finding: &Finding| Discrepancy {
            id: Uuid::nil(),
            kind: finding.kind.clone(),
            sku: finding.sku.clone(),
            location: finding.location.clone(),
            reservation_id: finding.reservation_id,
            detail: finding.detail.clone(),
            since: finding.changed_at,
            found_at: finding.changed_at,
            seen_at: finding.changed_at,
            resolved_at: None,
        };
        Ok(found.iter().map(|finding| of(finding).unwrap_or_else(|| unkept(finding))).collect())
    }

    /// Looks again at open discrepancies, and notes those that are gone; gives their ids.
    ///
    /// # Errors
    /// [`StoreError`]; some may have been noted, and may be again.
    pub async fn resolve(&self, open: &[Discrepancy]) -> Result<Vec<Uuid>, StoreError> {
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let (skus, ids) = subjects(open);
        let mut still = match self.store.audit_skus(&skus, i64::MAX).await {
            // Too many to look at in time: the pass through everything sees them, as far as it can.
            Err(StoreError::Contended(error)) => {
                tracing::warn!(error, "open discrepancies could not be looked at again in time");
                return Ok(Vec::new());
            }
            still => still?,
        };
        still.extend(self.store.audit_reservations_again(&ids).await?);
        let counters = open.iter().filter(|one| one.kind == COUNTER);
        let counters: Vec<Sku> = counters.filter_map(|one| Sku::new(&one.sku).ok()).collect();
        let wrong = counters::wrong(self, &counters).await?;
        let still: BTreeSet<_> = still.iter().map(Finding::key).collect();
        let is_there = |one: &Discrepancy| {
            // While Redis cannot be asked nothing is known of it.
            if one.kind == COUNTER {
                wrong.as_ref().is_none_or(|wrong| wrong.iter().any(|(sku, _)| sku.as_str() == one.sku))
            } else {
                still.contains(&one.key())
            }
        };
        let gone: Vec<Uuid> = open.iter().filter(|one| !is_there(one)).map(|one| one.id).collect();
        if !gone.is_empty() {
            self.store.resolve_discrepancies(&gone).await?;
            tracing::info!(discrepancies = gone.len(), "discrepancies are gone");
        }
        Ok(gone)
    }
}

/// What both looks found, as the second saw it.
fn both(first: &[Finding], second: Vec<Finding>) -> Vec<Finding> {
    let seen: BTreeSet<_> = first.iter().map(Finding::key).collect();
    second.into_iter().filter(|finding| seen.contains(&finding.key())).collect()
}
