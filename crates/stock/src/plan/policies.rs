//! Selling policies and freshness: taking them, and what they say to a Reserve.

use super::Limits;
use super::draft::{Change, Draft};
use super::reservations::Claim;
use crate::answer::{Answer, Refusal};
use crate::cart::{Cart, Line};
use crate::ids::{Location, Name, RowKey, Sku};
use crate::ledger::Cause;
use crate::level::{Delta, Freshness, LEVEL_MAX, Level, Turn};
use crate::op::HoldMicros;
use crate::policy::{Breach, Limit, Policy};
use crate::record::Shortage;
use std::collections::BTreeMap;

impl Draft {
    /// Takes policies that are newer than what is known.
    pub(super) fn take_policies(&mut self, op: usize, policies: &[(Sku, Policy)]) -> Result<Answer, Refusal> {
        let sound = |units: i64| (0..=LEVEL_MAX).contains(&units);
        if policies.iter().any(|(_, policy)| !sound(policy.safety) || !sound(policy.backorder)) {
            return Err(Refusal::Inconsistent("a selling policy is out of range"));
        }
        let mut changes = Vec::new();
        let mut taken = Vec::new();
        for (sku, policy) in policies {
            if self.policy(sku).is_some_and(|known| known.version >= policy.version) {
                continue;
            }
            let cause = Cause::Policy(policy.version);
            let change = |(row, level): (&RowKey, &Level)| {
                let delta = policy_delta(policy, &row.1, level);
                (!delta.is_zero()).then(|| Change { row: row.clone(), delta, cause })
            };
            changes.extend(self.rows(sku).filter_map(change));
            taken.push((sku, policy));
        }
        // All or none are written: the policies only when the rows were.
        self.write(Some(op), changes)?;
        for (sku, policy) in &taken {
            self.set_policy(sku, (*policy).clone());
            let rows: Vec<(RowKey, i64)> =
                self.rows(sku).map(|(row, level)| (row.clone(), buffer_under(policy, level))).collect();
            for (row, buffer) in &rows {
                self.set_rank(row, policy.rank(&row.1));
                self.set_buffer(row, *buffer);
            }
            // What can be promised before anything was counted needs a row.
            if let Some(first) = policy.locations.first().filter(|_| policy.backorder > 0) {
                let row = ((*sku).clone(), first.clone());
                if self.level(&row).is_none() {
                    let change = Change { row, delta: Delta::default(), cause: Cause::Policy(policy.version) };
                    self.write(Some(op), vec![change])?;
                }
            }
        }
        Ok(Answer::Policies { applied: taken.len() })
    }

    /// Brings rows to the freshness of their feed.
    pub(super) fn freshen(
        &mut self,
        op: usize,
        connection: &Name,
        freshness: Freshness,
        rows: &[(Sku, Location, i64)],
    ) -> Result<Answer, Refusal> {
        let mut changes = Vec::new();
        let mut buffers = Vec::new();
        for (sku, location, units) in rows {
            let row = (sku.clone(), location.clone());
            let Some(level) = self.level(&row).filter(|level| level.feed.as_ref() == Some(connection)) else {
                continue;
            };
            let buffer = if freshness == Freshness::Fresh { 0 } else { (*units).max(0) };
            let delta = Delta {
                safety: buffer.saturating_sub(level.buffer),
                turn: Turn { freshness: (level.freshness != freshness).then_some(freshness), ..Turn::default() },
                ..Delta::default()
            };
            if !delta.is_zero() {
                buffers.push((row.clone(), buffer));
                changes.push(Change { row, delta, cause: Cause::Freshness });
            }
        }
        let changed = changes.len();
        self.write(Some(op), changes)?;
        for (row, buffer) in buffers {
            self.set_buffer(&row, buffer);
        }
        Ok(Answer::Freshened { rows: changed })
    }

    /// What the policies of a cart's SKUs say against it. To a marked retry the no is final (PROTOCOL 8).
    pub(super) fn check_policies(&mut self, claim: &Claim<'_>, retry: bool) -> Result<(), Refusal> {
        let refusal = match self.against(claim) {
            Some(refusal) => refusal,
            None => return Ok(()),
        };
        if retry {
            let shortages = match &refusal {
                Refusal::Limit(breaches) => breaches.iter().map(Breach::as_shortage).collect(),
                _ => claim.cart.lines().iter().map(not_sold).collect(),
            };
            self.close(claim, shortages);
        }
        Err(refusal)
    }

    fn against(&self, claim: &Claim<'_>) -> Option<Refusal> {
        let mut wanted: BTreeMap<&Sku, i64> = BTreeMap::new();
        for line in claim.cart.lines() {
            let units = wanted.entry(&line.sku).or_default();
            *units = units.saturating_add(line.quantity.get());
        }
        let is_archived = |sku: &Sku| self.policy(sku).is_some_and(|policy| policy.archived);
        let archived: Vec<Sku> = wanted.keys().filter(|sku| is_archived(sku)).map(|sku| (*sku).clone()).collect();
        if !archived.is_empty() {
            return Some(Refusal::Archived(archived));
        }
        let breaches: Vec<Breach> =
            wanted.into_iter().filter_map(|(sku, requested)| self.breach(claim, sku, requested)).collect();
        (!breaches.is_empty()).then_some(Refusal::Limit(breaches))
    }

    fn breach(&self, claim: &Claim<'_>, sku: &Sku, requested: i64) -> Option<Breach> {
        let policy = self.policy(sku)?;
        let left_to_owner = policy.max_per_owner.map(|most| most.saturating_sub(self.owned(claim.owner, sku)).max(0));
        let limits = [(Limit::Reservation, policy.max_per_reservation), (Limit::Owner, left_to_owner)];
        limits
            .into_iter()
            .filter_map(|(limit, allowed)| Some((limit, allowed?)))
            .find(|(_, allowed)| requested > *allowed)
            .map(|(limit, allowed)| Breach { sku: sku.clone(), requested, allowed, limit })
    }

    /// The shortest default hold of a cart's SKUs, or else the service's; never longer than a hold may be.
    pub(super) fn default_hold(&self, cart: &Cart, limits: &Limits) -> HoldMicros {
        let shortest = cart.skus().filter_map(|sku| self.policy(sku)?.default_hold).min();
        let longest = HoldMicros::new(limits.longest_hold_micros).unwrap_or(limits.default_hold);
        shortest.unwrap_or(limits.default_hold).min(longest)
    }
}

/// A line of a cart with something that is not sold any more, in the form that a closed key keeps.
fn not_sold(line: &Line) -> Shortage {
    Shortage { sku: line.sku.clone(), location: line.location.clone(), requested: line.quantity.get(), available: 0 }
}

/// What a policy changes of a row.
fn policy_delta(policy: &Policy, location: &Location, level: &Level) -> Delta {
    let safety = policy.safety.saturating_add(buffer_under(policy, level));
    Delta {
        safety: safety.saturating_sub(level.safety),
        backorder: policy.backorder_at(location).saturating_sub(level.backorder),
        turn: Turn { archived: (level.archived != policy.archived).then_some(policy.archived), ..Turn::default() },
        ..Delta::default()
    }
}

/// What a row keeps back for being late, under a policy: at least as much as the policy itself does.
fn buffer_under(policy: &Policy, level: &Level) -> i64 {
    if level.freshness == Freshness::Fresh { 0 } else { level.buffer.max(policy.safety) }
}
