//! Bounds how many requests go to the committer past the gate, in all and for one SKU, so that a dead Redis cannot turn a flash sale into a flood.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_kit::Fill;
use holdfast_stock::Sku;
use serde::{Deserialize, Serialize};

/// How many requests may be past the gate at once.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimiterConfig {
    /// In all.
    pub requests_max: usize,
    /// That name one SKU: one hot SKU leaves room for the others.
    pub requests_per_sku_max: usize,
}

/// Counts who is past the gate. Clones share the count.
#[derive(Debug, Clone)]
pub struct Limiter {
    config: LimiterConfig,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    requests: usize,
    by_sku: BTreeMap<Sku, usize>,
}

/// A place past the gate, given back when dropped.
#[derive(Debug)]
pub struct Place {
    skus: Vec<Sku>,
    inside: Arc<Mutex<Inside>>,
}

impl Limiter {
    /// A limiter with nobody inside.
    #[must_use]
    pub fn new(config: LimiterConfig) -> Self {
        Self { config, inside: Arc::default() }
    }

    /// How many are past the gate.
    #[must_use]
    pub fn fill(&self) -> Fill {
        let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        Fill { used: inside.requests, limit: self.config.requests_max }
    }

    /// A place for a request that names these SKUs, each once; none if it is full, in all or for one of them.
    #[must_use]
    pub fn enter(&self, skus: Vec<Sku>) -> Option<Place> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |sku: &Sku| inside.by_sku.get(sku).is_some_and(|count| *count >= self.config.requests_per_sku_max);
        if inside.requests >= self.config.requests_max || skus.iter().any(full) {
            return None;
        }
        inside.requests += 1;
        for sku in &skus {
            *inside.by_sku.entry(sku.clone()).or_insert(0) += 1;
        }
        Some(Place { skus, inside: Arc::clone(&self.inside) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.requests -= 1;
        for sku in &self.skus {
            if let Some(count) = inside.by_sku.get_mut(sku) {
                *count -= 1;
                if *count == 0 {
                    inside.by_sku.remove(sku);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sku(code: &str) -> Sku {
        Sku::new(code).expect("a SKU")
    }

    #[test]
    fn a_hot_sku_fills_its_share_and_leaves_the_others_theirs() {
        let limiter = Limiter::new(LimiterConfig { requests_max: 3, requests_per_sku_max: 2 });
        let hot: Vec<_> = (0..2).map(|_| limiter.enter(vec![sku("HOT")]).expect("within the share")).collect();
        assert!(limiter.enter(vec![sku("HOT"), sku("COLD")]).is_none(), "the share of HOT is full");
        let cold = limiter.enter(vec![sku("COLD")]).expect("one place is left");
        assert!(limiter.enter(vec![sku("OTHER")]).is_none(), "all places are taken");
        assert_eq!(limiter.fill(), Fill { used: 3, limit: 3 });
        drop(hot);
        drop(cold);
        assert!(limiter.enter(vec![sku("HOT"), sku("COLD")]).is_some());
        assert!(limiter.inside.lock().expect("not poisoned").by_sku.is_empty(), "nothing is kept for absent SKUs");
    }
}
