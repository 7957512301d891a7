//! What a batch is about: the keys, rows, policies and counters that it locks and reads, before anything of them is known.

use std::collections::BTreeSet;

use holdfast_stock::{CountEffect, CountMeaning, Name, Op, Owner, Policy, ReservationId, RowKey, Sku, UnixMicros};
use sqlx::types::Json;
use uuid::Uuid;

use super::planned::{Asked, LockedRow};
use super::rows;

pub(super) const LOCK_BATCH: &str = "SELECT lock_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
                                     $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27)";

/// Due holds that a batch takes along at most; the sweeper frees the rest.
const DUE_MAX: i32 = 500;

/// Allocations that the counts of a batch look at, at most; what is beyond is reflected with the next count.
const PENDING_MAX: i32 = 50_000;

/// The arguments of `lock_batch`.
#[derive(Debug, Default)]
pub(super) struct Scope {
    claims: BTreeSet<ReservationId>,
    touches: BTreeSet<ReservationId>,
    /// Those of `touches` whose SKUs may be taken from anew.
    again: BTreeSet<ReservationId>,
    requests: Vec<Uuid>,
    skus: BTreeSet<Sku>,
    rows: BTreeSet<RowKey>,
    new_rows: BTreeSet<RowKey>,
    policies: BTreeSet<Sku>,
    selling: BTreeSet<Sku>,
    owners: BTreeSet<(Owner, Sku)>,
    counting: BTreeSet<Name>,
    covering: Vec<(Name, UnixMicros, i64)>,
    /// Rows whose number is set, so that it may reflect sales.
    counted: BTreeSet<RowKey>,
    /// Those of `counted` whose number is everything on the shelf.
    on_shelf: BTreeSet<RowKey>,
    /// What policies cap.
    capped: BTreeSet<(Sku, Name)>,
    /// What carts come by.
    channels: BTreeSet<(Sku, Name)>,
    /// Whether what feeds say of sales matters.
    has_sales: bool,
    /// Rows and reservations that a repair looks at more closely.
    pub(super) repaired: BTreeSet<RowKey>,
    pub(super) cured: BTreeSet<ReservationId>,
}

impl Scope {
    pub(super) fn of(ops: &[Asked]) -> Self {
        let mut scope = Self::default();
        for Asked { op, .. } in ops {
            scope.requests.extend(op.request().map(|(request, _)| Uuid::from_bytes(request.to_bytes())));
            scope.add(op);
        }
        scope
    }

    fn add(&mut self, op: &Op) {
        match op {
            Op::Reserve { id, owner, cart, terms, .. } => {
                self.claims.insert(*id);
                self.touches.extend(terms.replaces);
                self.skus.extend(cart.skus().cloned());
                self.owners.extend(cart.skus().map(|sku| (owner.clone(), sku.clone())));
                if let Some(channel) = &terms.details.channel {
                    self.channels.extend(cart.skus().map(|sku| (sku.clone(), channel.clone())));
                }
            }
            Op::Refuse { id, .. } | Op::Release { id, .. } => {
                self.claims.insert(*id);
            }
            Op::Confirm { id, reacquire, .. } => {
                self.touches.insert(*id);
                if let Some(new) = reacquire {
                    self.claims.insert(*new);
                    self.again.insert(*id);
                }
            }
            Op::Extend { id, .. } | Op::Expire { id } => {
                self.touches.insert(*id);
            }
            Op::Fulfil { id, .. } | Op::Cancel { id, .. } | Op::Evidence { id, .. } => self.sale(*id),
            Op::Return { id, returns, .. } => {
                self.sale(*id);
                let placed = returns.iter().filter_map(|r| Some((r.portion.sku.clone(), r.to.clone()?)));
                self.new_rows.extend(placed);
            }
            Op::Sell { skus, .. } => self.selling.extend(skus.iter().cloned()),
            Op::Count { counts, connection, covers_all, as_of, sequence, meaning, .. } => {
                self.counting.insert(connection.clone());
                if *covers_all {
                    self.covering.push((connection.clone(), *as_of, *sequence));
                }
                for count in counts {
                    // A number that only limits what is offered, or lifts a limit, makes no row and reflects nothing.
                    let is_set = count.effect == CountEffect::Set;
                    let rows = if is_set { &mut self.new_rows } else { &mut self.rows };
                    rows.insert(count.row());
                    if is_set {
                        self.counted.insert(count.row());
                        self.on_shelf.extend((*meaning == CountMeaning::OnHand).then(|| count.row()));
                    }
                }
            }
            Op::Adjust { adjustments, .. } => {
                for a in adjustments {
                    let rows = if a.delta > 0 { &mut self.new_rows } else { &mut self.rows };
                    rows.insert((a.sku.clone(), a.location.clone()));
                }
            }
            Op::Policies { policies } => policies.iter().for_each(|(sku, policy)| self.policy(sku, policy)),
            Op::Freshen { rows, .. } => {
                self.rows.extend(rows.iter().map(|(sku, location, _)| (sku.clone(), location.clone())));
            }
            Op::Repair { rows, reservations, .. } => {
                // What is missing may have to be made anew.
                self.claims.extend(reservations);
                self.new_rows.extend(rows.iter().cloned());
                self.policies.extend(rows.iter().map(|(sku, _)| sku.clone()));
                self.repaired.extend(rows.iter().cloned());
                self.cured.extend(reservations);
            }
        }
    }

    fn sale(&mut self, id: ReservationId) {
        self.touches.insert(id);
        self.has_sales = true;
    }

    fn policy(&mut self, sku: &Sku, policy: &Policy) {
        self.policies.insert(sku.clone());
        let first = policy.locations.first().filter(|_| policy.backorder > 0);
        self.new_rows.extend(first.map(|location| (sku.clone(), location.clone())));
        self.capped.extend(policy.channel_caps.keys().map(|channel| (sku.clone(), channel.clone())));
    }

    pub(super) async fn lock(&self, transaction: &mut sqlx::PgTransaction<'_>) -> Result<LockedRow, sqlx::Error> {
        let (Json(row),): (Json<LockedRow>,) = sqlx::query_as(LOCK_BATCH)
            .bind(ids(&self.claims))
            .bind(ids(&self.touches))
            .bind(ids(&self.again))
            .bind(&self.requests)
            .bind(codes(&self.skus))
            .bind(firsts(&self.rows))
            .bind(seconds(&self.rows))
            .bind(firsts(&self.new_rows))
            .bind(seconds(&self.new_rows))
            .bind(codes(&self.policies))
            .bind(codes(&self.selling))
            .bind(firsts(&self.owners))
            .bind(seconds(&self.owners))
            .bind(self.counting.iter().map(Name::as_str).collect::<Vec<_>>())
            .bind(self.covering.iter().map(|(connection, ..)| connection.as_str()).collect::<Vec<_>>())
            .bind(self.covering.iter().map(|(_, as_of, _)| as_of.0).collect::<Vec<_>>())
            .bind(self.covering.iter().map(|(.., sequence)| *sequence).collect::<Vec<_>>())
            .bind(firsts(&self.counted))
            .bind(seconds(&self.counted))
            .bind(self.counted.iter().map(|row| self.on_shelf.contains(row)).collect::<Vec<_>>())
            .bind(firsts(&self.capped))
            .bind(seconds(&self.capped))
            .bind(firsts(&self.channels))
            .bind(seconds(&self.channels))
            .bind(self.has_sales)
            .bind(DUE_MAX)
            .bind(PENDING_MAX)
            .fetch_one(&mut **transaction)
            .await?;
        Ok(row)
    }
}

fn ids(ids: &BTreeSet<ReservationId>) -> Vec<Uuid> {
    ids.iter().map(|id| rows::uuid_of(*id)).collect()
}

fn codes(skus: &BTreeSet<Sku>) -> Vec<&str> {
    skus.iter().map(Sku::as_str).collect()
}

fn firsts<A: ToString, B>(pairs: &BTreeSet<(A, B)>) -> Vec<String> {
    pairs.iter().map(|(first, _)| first.to_string()).collect()
}

fn seconds<A, B: ToString>(pairs: &BTreeSet<(A, B)>) -> Vec<String> {
    pairs.iter().map(|(_, second)| second.to_string()).collect()
}
