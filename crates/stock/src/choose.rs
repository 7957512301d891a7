//! From which locations the lines of a cart are taken.

use crate::cart::{Cart, Line};
use crate::ids::{Location, Sku};
use crate::record::{Allocation, Shortage};
use std::collections::BTreeMap;

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

/// Where to take units that may come from anywhere: the first location that has them all; otherwise from as few as possible, the fullest first, among equals the
/// preferred first. Gives locations and units, or none if all together have too little.
#[must_use]
pub fn choose(locations: &[(Location, i64)], units: i64) -> Option<Vec<(Location, i64)>> {
    if let Some((location, _)) = locations.iter().find(|(_, has)| *has >= units) {
        return Some(vec![(location.clone(), units)]);
    }
    let mut fullest: Vec<&(Location, i64)> = locations.iter().filter(|(_, has)| *has > 0).collect();
    // A stable sort keeps the order of preference among equals.
    fullest.sort_by_key(|(_, has)| std::cmp::Reverse(*has));
    let mut chosen = Vec::new();
    let mut missing = units;
    for (location, has) in fullest {
        let take = missing.min(*has);
        chosen.push((location.clone(), take));
        missing -= take;
        if missing == 0 {
            return Some(chosen);
        }
    }
    None
}

/// Where to take every line of a cart: lines with a named location first, from there only; the free line of a SKU from what they leave.
/// At most one allocation for each stock row, in the order of SKU and location.
///
/// # Errors
/// [`NoChoice`], naming every line that is unknown, or else every one that is short.
pub fn choose_cart(cart: &Cart, availability: &Availability) -> Result<Vec<Allocation>, NoChoice> {
    let unknown = unknown_lines(cart, availability);
    if !unknown.is_empty() {
        return Err(NoChoice::Unknown(unknown));
    }
    let mut allocations = Vec::new();
    let mut shortages = Vec::new();
    for lines in cart.lines().chunk_by(|a, b| a.sku == b.sku) {
        let locations = availability.locations(&lines[0].sku).unwrap_or_default();
        choose_sku(lines, locations.to_vec(), &mut allocations, &mut shortages);
    }
    // In the order of the cart, whatever the order of choosing.
    shortages.sort();
    if shortages.is_empty() { Ok(allocations) } else { Err(NoChoice::Short(shortages)) }
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

/// Takes the lines of one SKU out of `left`.
fn choose_sku(
    lines: &[Line],
    mut left: Vec<(Location, i64)>,
    allocations: &mut Vec<Allocation>,
    shortages: &mut Vec<Shortage>,
) {
    let mut taken: BTreeMap<Location, i64> = BTreeMap::new();
    // Named lines first: what they need can come from nowhere else. They are the later ones, for the free line sorts first.
    for line in lines.iter().rev() {
        let units = line.quantity.get();
        let choice = match &line.location {
            Some(named) => left
                .iter()
                .find(|(location, has)| location == named && *has >= units)
                .map(|(location, _)| vec![(location.clone(), units)]),
            None => choose(&left, units),
        };
        let Some(choice) = choice else {
            let eligible = left.iter().filter(|(location, _)| line.location.as_ref().is_none_or(|l| l == location));
            let available = eligible.fold(0_i64, |sum, (_, has)| sum.saturating_add(*has));
            shortages.push(Shortage {
                sku: line.sku.clone(),
                location: line.location.clone(),
                requested: units,
                available,
            });
            continue;
        };
        for (location, units) in choice {
            if let Some((_, has)) = left.iter_mut().find(|(other, _)| *other == location) {
                *has -= units;
            }
            *taken.entry(location).or_default() += units;
        }
    }
    let sku = &lines[0].sku;
    allocations.extend(taken.into_iter().map(|(location, quantity)| Allocation::new(sku.clone(), location, quantity)));
}
