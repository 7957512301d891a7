//! From which locations one line that names none is taken.

use crate::ids::Location;
use crate::terms::Strategy;
use std::cmp::Reverse;

/// Where to take units that may come from anywhere: the first location that has them all; otherwise from as few as possible, the fullest first, among equals the
/// preferred first. Gives locations and units, or none if all together have too little.
#[must_use]
pub fn choose(locations: &[(Location, i64)], units: i64) -> Option<Vec<(Location, i64)>> {
    whole(locations, units).or_else(|| from_on(&fullest_first(locations), units))
}

/// Where a line is taken by a strategy; `locations` stand in the order of preference. None if there is too little, or nowhere enough for a line that must not be split.
pub(super) fn choose_line(
    strategy: &Strategy,
    locations: &[(Location, i64)],
    units: i64,
    split: bool,
) -> Option<Vec<(Location, i64)>> {
    match (strategy, split) {
        // For the fewest parcels, `locations` are those of the parcels.
        (Strategy::FixedPriority | Strategy::FewestParcels, true) => choose(locations, units),
        (Strategy::FixedPriority | Strategy::FewestParcels, false) => whole(locations, units),
        (Strategy::MostStock, true) => from_on(&fullest_first(locations), units),
        (Strategy::MostStock, false) => whole(&fullest_first(locations), units),
        (Strategy::Nearest(nearest), _) => {
            let (near, others) = by_distance(nearest, locations);
            let one = whole(&near, units);
            if one.is_some() || !split {
                return one.or_else(|| whole(&others, units));
            }
            let here = near.iter().fold(0_i64, |sum, (_, has)| sum.saturating_add(*has)).min(units);
            let mut chosen = from_on(&near, here)?;
            chosen.extend(choose(&others, units - here)?);
            Some(chosen)
        }
    }
}

/// The first location that has all units.
fn whole(locations: &[(Location, i64)], units: i64) -> Option<Vec<(Location, i64)>> {
    if units == 0 {
        return Some(Vec::new());
    }
    locations.iter().find(|(_, has)| *has >= units).map(|(location, _)| vec![(location.clone(), units)])
}

/// From the first location on, until there are enough.
fn from_on(locations: &[(Location, i64)], units: i64) -> Option<Vec<(Location, i64)>> {
    let mut chosen = Vec::new();
    let mut missing = units;
    for (location, has) in locations {
        if missing == 0 {
            break;
        }
        let take = missing.min(*has);
        if take > 0 {
            chosen.push((location.clone(), take));
            missing -= take;
        }
    }
    (missing == 0).then_some(chosen)
}

/// A stable sort keeps the order of preference among equals.
fn fullest_first(locations: &[(Location, i64)]) -> Vec<(Location, i64)> {
    let mut fullest = locations.to_vec();
    fullest.sort_by_key(|(_, has)| Reverse(*has));
    fullest
}

/// Locations and what they have.
type Offers = Vec<(Location, i64)>;

/// The near ones, the nearest first, and the others as they stood.
fn by_distance(nearest: &[Location], locations: &[(Location, i64)]) -> (Offers, Offers) {
    let mut near = Offers::new();
    for wanted in nearest {
        let is_new = near.iter().all(|(location, _)| location != wanted);
        near.extend(locations.iter().find(|(location, _)| is_new && location == wanted).cloned());
    }
    let others = locations.iter().filter(|(location, _)| !nearest.contains(location)).cloned();
    (near, others.collect())
}
