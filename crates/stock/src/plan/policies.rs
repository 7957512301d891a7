//! Selling policies and freshness: taking them, and what they say to a Reserve.

use super::Limits;
use super::draft::{Change, Draft};
use super::reserve::Claim;
use super::vacancy::Vacancy;
use crate::answer::{Answer, Refusal};
use crate::cart::{Cart, Line};
use crate::ids::{Location, Name, RowKey, Sku};
use crate::ledger::Cause;
use crate::level::{Delta, Freshness, LEVEL_MAX, Level, Turn};
use crate::op::HoldMicros;
use crate::policy::{Breach, Limit, Policy, Promise};
use std::collections::BTreeMap;

impl Draft {
    /// Takes policies that are newer than what is known.
    pub(super) fn take_policies(&mut self, op: usize, policies: &[(Sku, Policy)]) -> Result<Answer, Refusal> {
        if policies.iter().any(|(_, policy)| !is_sound(policy)) {
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
            let known = self.policy(sku).map(|known| known.channel_caps.clone()).unwrap_or_default();
            for channel in policy.channel_caps.keys().filter(|channel| !known.contains_key(*channel)) {
                self.count_channel(sku, channel);
            }
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

    /// What the policies of a cart's SKUs say against it, and who paused them. To a marked retry the no is final (PROTOCOL 8).
    pub(super) fn check_policies(
        &mut self,
        claim: &Claim<'_>,
        vacancy: Option<&Vacancy>,
        retry: bool,
    ) -> Result<(), Refusal> {
        let Some(refusal) = self.against(claim, vacancy) else { return Ok(()) };
        let shortages = match &refusal {
            // It may be that there is enough in a moment.
            Refusal::Contended => return Err(refusal),
            Refusal::Limit(breaches) => breaches.iter().map(Breach::as_shortage).collect(),
            _ => claim.cart.lines().iter().map(Line::not_sold).collect(),
        };
        if retry {
            self.close(claim, shortages);
        }
        Err(refusal)
    }

    fn against(&self, claim: &Claim<'_>, vacancy: Option<&Vacancy>) -> Option<Refusal> {
        let mut wanted: BTreeMap<&Sku, i64> = BTreeMap::new();
        for line in claim.cart.lines() {
            let units = wanted.entry(&line.sku).or_default();
            *units = units.saturating_add(line.quantity.get());
        }
        let is_archived = |sku: &Sku| self.policy(sku).is_some_and(|policy| policy.archived);
        let archived: Vec<Sku> = claim.cart.skus().filter(|sku| is_archived(sku)).cloned().collect();
        if !archived.is_empty() {
            return Some(Refusal::Archived(archived));
        }
        let paused: Vec<Sku> = claim.cart.skus().filter(|sku| self.is_paused(sku)).cloned().collect();
        if !paused.is_empty() {
            return Some(Refusal::Paused(paused));
        }
        let breach = |(sku, requested)| self.breach(claim, vacancy, sku, requested);
        let breaches: Vec<Breach> = wanted.into_iter().filter_map(breach).collect();
        if breaches.is_empty() {
            None
        } else if breaches.iter().all(|breach| self.may_pass(breach)) {
            Some(Refusal::Contended)
        } else {
            Some(Refusal::Limit(breaches))
        }
    }

    /// What of a SKU would be too much. A hold whose place is taken counts no more for its owner and its channel.
    fn breach(&self, claim: &Claim<'_>, vacancy: Option<&Vacancy>, sku: &Sku, requested: i64) -> Option<Breach> {
        let policy = self.policy(sku)?;
        let left = |most: i64, used: i64, given: i64| most.saturating_sub(used).saturating_add(given).max(0);
        let left_to_owner = policy.max_per_owner.map(|most| {
            left(most, self.owned(claim.owner, sku), vacancy.map_or(0, |old| old.owned_by(claim.owner, sku)))
        });
        let channel = claim.terms.details.channel.as_ref();
        let left_to_channel = channel.and_then(|channel| {
            let most = policy.channel_caps.get(channel)?;
            let given = vacancy.map_or(0, |old| old.used_by(channel, sku));
            Some(left(*most, self.channel_use(sku, channel), given))
        });
        let limits = [
            (Limit::Reservation, policy.max_per_reservation),
            (Limit::Owner, left_to_owner),
            (Limit::Channel, left_to_channel),
        ];
        limits
            .into_iter()
            .filter_map(|(limit, allowed)| Some((limit, allowed?)))
            .find(|(_, allowed)| requested > *allowed)
            .map(|(limit, allowed)| Breach { sku: sku.clone(), requested, allowed, limit })
    }

    /// Whether a channel has too much only by holds that are over, which another transaction is just freeing: they count for nobody (I5).
    fn may_pass(&self, breach: &Breach) -> bool {
        breach.limit == Limit::Channel
            && breach.requested <= breach.allowed.saturating_add(self.overdue_units(&breach.sku))
    }

    /// The shortest default hold of a cart's SKUs, or else the service's; never longer than a hold may be.
    pub(super) fn default_hold(&self, cart: &Cart, limits: &Limits) -> HoldMicros {
        let shortest = cart.skus().filter_map(|sku| self.policy(sku)?.default_hold).min();
        let longest = HoldMicros::new(limits.longest_hold_micros).unwrap_or(limits.default_hold);
        shortest.unwrap_or(limits.default_hold).min(longest)
    }
}

/// Whether a row and the counters can take what a policy says.
fn is_sound(policy: &Policy) -> bool {
    let sound = |units: i64| (0..=LEVEL_MAX).contains(&units);
    let lead = match policy.promise {
        Some(Promise::After(micros)) => micros,
        Some(Promise::At(_)) | None => 0,
    };
    sound(policy.safety)
        && sound(policy.backorder)
        && policy.max_per_minute.is_none_or(sound)
        && policy.channel_caps.values().all(|most| sound(*most))
        && lead >= 0
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
