//! From which locations the lines of a cart are taken.

mod line;
mod parcels;

use crate::cart::{Cart, Line};
use crate::ids::{Location, Quantity, RowKey, Sku};
use crate::record::{Allocation, Record, Shortage};
use crate::terms::Strategy;
use std::collections::{BTreeMap, BTreeSet};

pub use line::choose;

/// What can be reserved, by SKU and location. A SKU that is not in it is unknown; a SKU's locations stand in the order in which they are preferred.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Availability(BTreeMap<Sku, Vec<(Location, i64)>>);

/// Why a cart cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoChoice {
    /// There is no such SKU, or not at the location named.
    Unknown(Vec<(Sku, Option<Location>)>),
    /// Every SKU is known, but these lines have too little.
    Short(Vec<Shortage>),
}

impl Availability {
    /// Nothing known.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds units at a location, behind those that are there; units that the location has already are replaced. Below 0 counts as 0.
    pub fn set(&mut self, sku: Sku, location: Location, units: i64) {
        let locations = self.0.entry(sku).or_default();
        match locations.iter_mut().find(|(known, _)| *known == location) {
            Some(entry) => entry.1 = units.max(0),
            None => locations.push((location, units.max(0))),
        }
    }

    /// Adds what a hold would give back to the locations that are there: what could be reserved if it were replaced, or a little more, for what a location lacks below 0 is
    /// not known here.
    pub fn give_back(&mut self, hold: &Record) {
        for allocation in &hold.allocations {
            let locations = self.0.get_mut(&allocation.sku).into_iter().flatten();
            for (_, units) in locations.filter(|(location, _)| *location == allocation.location) {
                *units = units.saturating_add(allocation.quantity);
            }
        }
    }

    /// A SKU's locations and units in the order of preference; none if the SKU is unknown.
    #[must_use]
    pub fn locations(&self, sku: &Sku) -> Option<&[(Location, i64)]> {
        self.0.get(sku).map(Vec::as_slice)
    }
}

impl FromIterator<(Sku, Location, i64)> for Availability {
    fn from_iter<T: IntoIterator<Item = (Sku, Location, i64)>>(rows: T) -> Self {
        let mut availability = Self::new();
        for (sku, location, units) in rows {
            availability.set(sku, location, units);
        }
        availability
    }
}

/// What of a cart can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The cart's lines with the units that there are for them, in the order of the cart; those for which there is nothing are missing. Not empty.
    pub lines: Vec<Line>,
    /// Where to take them: at most one allocation for each stock row, in the order of SKU and location.
    pub allocations: Vec<Allocation>,
    /// The lines that have too little, in the order of the cart.
    pub shortages: Vec<Shortage>,
}

/// A line that names no location, and what lines that name one leave for it.
struct Free {
    sku: Sku,
    units: i64,
    split: bool,
    /// The SKU's locations in the order of preference.
    left: Vec<(Location, i64)>,
}

/// What of a cart there is, before it is decided where the lines that name no location are taken.
#[derive(Default)]
struct Fitted {
    lines: Vec<Line>,
    taken: BTreeMap<RowKey, i64>,
    free: Vec<Free>,
    shortages: Vec<Shortage>,
}

/// Where to take every line of a cart: lines with a named location first, from there only; the free line of a SKU from what they leave, as the strategy says.
/// At most one allocation for each stock row, in the order of SKU and location.
///
/// # Errors
/// [`NoChoice`], naming every line that is unknown, or else every one that is short.
pub fn choose_cart(cart: &Cart, strategy: &Strategy, availability: &Availability) -> Result<Vec<Allocation>, NoChoice> {
    let fitted = fit(cart, availability, false)?;
    if fitted.shortages.is_empty() { Ok(fitted.allocations(strategy)) } else { Err(NoChoice::Short(fitted.shortages)) }
}

/// As much of a cart as there is: of every line as many units as [`choose_cart`] could have taken; lines with a named location come first here too.
///
/// # Errors
/// [`NoChoice`], naming every line that is unknown, or else every one, because there is nothing for any.
pub fn choose_best(cart: &Cart, strategy: &Strategy, availability: &Availability) -> Result<Choice, NoChoice> {
    let mut fitted = fit(cart, availability, true)?;
    if fitted.lines.is_empty() {
        return Err(NoChoice::Short(fitted.shortages));
    }
    let (lines, shortages) = (std::mem::take(&mut fitted.lines), std::mem::take(&mut fitted.shortages));
    Ok(Choice { lines, allocations: fitted.allocations(strategy), shortages })
}

/// The lines of a cart whose SKU has no row at all, or none at the location named.
fn unknown_lines(cart: &Cart, availability: &Availability) -> Vec<(Sku, Option<Location>)> {
    let is_known = |line: &Line| match (availability.locations(&line.sku), &line.location) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(locations), Some(named)) => locations.iter().any(|(location, _)| location == named),
    };
    cart.lines().iter().filter(|line| !is_known(line)).map(|line| (line.sku.clone(), line.location.clone())).collect()
}

/// Finds for every line how much there is; with `reduced`, a line that is short takes what there is, otherwise nothing.
fn fit(cart: &Cart, availability: &Availability, reduced: bool) -> Result<Fitted, NoChoice> {
    let unknown = unknown_lines(cart, availability);
    if !unknown.is_empty() {
        return Err(NoChoice::Unknown(unknown));
    }
    let mut fitted = Fitted::default();
    for lines in cart.lines().chunk_by(|a, b| a.sku == b.sku) {
        let mut left = availability.locations(&lines[0].sku).unwrap_or_default().to_vec();
        // Named lines first: what they need can come from nowhere else. They are the later ones, for the free line sorts first.
        for line in lines.iter().rev() {
            fitted.add(line, &mut left, reduced);
        }
    }
    // In the order of the cart, whatever the order of choosing.
    fitted.lines.sort();
    fitted.shortages.sort();
    Ok(fitted)
}

impl Fitted {
    /// Takes a line with a named location out of `left`; one without is only measured.
    fn add(&mut self, line: &Line, left: &mut [(Location, i64)], reduced: bool) {
        let wanted = line.quantity.get();
        let eligible = left.iter().filter(|(location, _)| line.location.as_ref().is_none_or(|named| named == location));
        let available = if line.split {
            eligible.fold(0_i64, |sum, (_, has)| sum.saturating_add(*has))
        } else {
            eligible.map(|(_, has)| *has).max().unwrap_or(0)
        };
        if available < wanted {
            let (sku, location) = (line.sku.clone(), line.location.clone());
            self.shortages.push(Shortage { sku, location, requested: wanted, available });
        }
        let units = if reduced { available.min(wanted) } else { wanted };
        let Some(quantity) = Quantity::new(units).filter(|_| available >= units) else { return };
        match &line.location {
            Some(named) => {
                for (_, has) in left.iter_mut().filter(|(location, _)| location == named) {
                    *has -= units;
                }
                *self.taken.entry((line.sku.clone(), named.clone())).or_default() += units;
            }
            None => {
                let (sku, left) = (line.sku.clone(), left.to_vec());
                self.free.push(Free { sku, units, split: line.split, left });
            }
        }
        self.lines.push(Line { quantity, ..line.clone() });
    }

    fn allocations(mut self, strategy: &Strategy) -> Vec<Allocation> {
        if *strategy == Strategy::FewestParcels {
            let anyway = self.taken.keys().map(|(_, location)| location.clone()).collect::<BTreeSet<_>>();
            let parcels = parcels::fewest(&self.free, &anyway);
            for line in &mut self.free {
                line.left.retain(|(location, _)| parcels.contains(location));
            }
        }
        for line in &self.free {
            // It was measured before: there is enough.
            let chosen = line::choose_line(strategy, &line.left, line.units, line.split).unwrap_or_default();
            for (location, units) in chosen {
                *self.taken.entry((line.sku.clone(), location)).or_default() += units;
            }
        }
        let allocation = |((sku, location), units)| Allocation::new(sku, location, units);
        self.taken.into_iter().map(allocation).collect()
    }
}
