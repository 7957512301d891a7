//! What one Reserve asks for.

use crate::ids::{Location, Quantity, Sku};
use crate::record::Shortage;
use std::collections::BTreeMap;
use thiserror::Error;

/// Units of one SKU that a reservation asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line {
    /// The SKU.
    pub sku: Sku,
    /// The location to take from; none leaves the choice to Holdfast, which may split the line.
    pub location: Option<Location>,
    /// Units.
    pub quantity: Quantity,
    /// Whether it may come from several locations; lines that are summed may only if all of them may.
    pub split: bool,
}

impl Line {
    /// A line with something that is not sold, in the form that a closed key keeps.
    pub(crate) fn not_sold(&self) -> Shortage {
        let (sku, location) = (self.sku.clone(), self.location.clone());
        Shortage { sku, location, requested: self.quantity.get(), available: 0 }
    }
}

/// The lines of one reservation: 1 to 100, in the order of SKU and location (free choice first), no two alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cart(Vec<Line>);

/// Why lines are not a cart. Indexes are those of the lines given.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CartProblem {
    /// No lines.
    #[error("a cart needs at least one line")]
    Empty,
    /// More lines than [`Cart::LINES_MAX`].
    #[error("{lines} lines are more than {}", Cart::LINES_MAX)]
    TooManyLines {
        /// Lines given.
        lines: usize,
    },
    /// Lines of the same SKU and location add up to more than [`Quantity::MAX`].
    #[error("line {line}: with the lines before it, {sku} comes to more than {} units", Quantity::MAX)]
    TooManyUnits {
        /// The line that went over.
        line: usize,
        /// Its SKU.
        sku: Sku,
        /// Its location.
        location: Option<Location>,
    },
}

impl Cart {
    /// The most lines that a cart may be made of.
    pub const LINES_MAX: usize = 100;

    /// Sums lines of the same SKU and location, and sorts. A line with a location and one without stay two lines.
    ///
    /// # Errors
    /// [`CartProblem`]: no lines, too many, or too many units of one SKU and location.
    pub fn new(lines: Vec<Line>) -> Result<Self, CartProblem> {
        if lines.is_empty() {
            return Err(CartProblem::Empty);
        }
        if lines.len() > Self::LINES_MAX {
            return Err(CartProblem::TooManyLines { lines: lines.len() });
        }
        let mut sums: BTreeMap<(Sku, Option<Location>), (Quantity, bool)> = BTreeMap::new();
        for (index, Line { sku, location, quantity, split }) in lines.into_iter().enumerate() {
            let key = (sku, location);
            let (sum, split) = match sums.get(&key) {
                None => (Some(quantity), split),
                Some((before, too)) => (before.checked_add(quantity), split && *too),
            };
            match sum {
                Some(sum) => sums.insert(key, (sum, split)),
                None => return Err(CartProblem::TooManyUnits { line: index, sku: key.0, location: key.1 }),
            };
        }
        let line = |((sku, location), (quantity, split))| Line { sku, location, quantity, split };
        Ok(Self(sums.into_iter().map(line).collect()))
    }

    /// The lines, in the order of SKU and location.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.0
    }

    /// The SKUs, each once, ascending.
    pub fn skus(&self) -> impl Iterator<Item = &Sku> {
        self.0.chunk_by(|a, b| a.sku == b.sku).map(|lines| &lines[0].sku)
    }
}
