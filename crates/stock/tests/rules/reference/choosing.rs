//! From where units may be taken, by each strategy.

use holdfast_stock::{Line, Location, RowKey, Sku, Strategy};
use std::collections::{BTreeMap, BTreeSet};

/// What a SKU's locations have, the preferred first.
type Offers = Vec<(Location, i64)>;

/// Looks whether units of lines that can be had may be taken so. `rows` is what there is, `order` the locations of each SKU, the preferred first.
pub(super) fn check(
    strategy: &Strategy,
    lines: &[Line],
    (rows, order): (&BTreeMap<RowKey, i64>, &BTreeMap<Sku, Vec<Location>>),
    taken: &BTreeMap<RowKey, i64>,
) {
    let mut expected: BTreeMap<RowKey, i64> = BTreeMap::new();
    let mut left = rows.clone();
    for line in lines {
        if let Some(location) = &line.location {
            let row = (line.sku.clone(), location.clone());
            *left.get_mut(&row).unwrap() -= line.quantity.get();
            expected.insert(row, line.quantity.get());
        }
    }
    let free: Vec<(&Line, Offers)> = lines
        .iter()
        .filter(|line| line.location.is_none())
        .map(|line| {
            let at = |location: &Location| left[&(line.sku.clone(), location.clone())];
            (line, order[&line.sku].iter().map(|location| (location.clone(), at(location))).collect())
        })
        .collect();
    let used: BTreeSet<&Location> = taken.keys().map(|(_, location)| location).collect();
    if *strategy == Strategy::FewestParcels {
        let anyway = expected.keys().map(|(_, location)| location).collect();
        assert_eq!(used.len(), fewest(&free, &anyway), "as few parcels as can be: {taken:?} of {rows:?}");
    }
    for (line, mut offers) in free {
        if *strategy == Strategy::FewestParcels {
            // Which locations they are is the planner's to choose; within them it is as by fixed priority.
            offers.retain(|(location, _)| used.contains(location));
        }
        for (location, units) in by(strategy, &offers, line.quantity.get(), line.split) {
            *expected.entry((line.sku.clone(), location)).or_default() += units;
        }
    }
    assert_eq!(*taken, expected, "{strategy:?} of {rows:?}");
}

/// Where a line is taken.
fn by(strategy: &Strategy, offers: &[(Location, i64)], units: i64, split: bool) -> Offers {
    match strategy {
        Strategy::FixedPriority | Strategy::FewestParcels => first_or_fewest(offers, units),
        Strategy::MostStock => fullest(offers, units),
        Strategy::Nearest(nearest) => {
            let mut near: Offers = Vec::new();
            for location in nearest {
                let is_new = near.iter().all(|(other, _)| other != location);
                near.extend(offers.iter().find(|(other, _)| is_new && other == location).cloned());
            }
            let far: Offers = offers.iter().filter(|(location, _)| !nearest.contains(location)).cloned().collect();
            if let Some((location, _)) = near.iter().find(|(_, has)| *has >= units) {
                return vec![(location.clone(), units)];
            }
            if !split {
                return first_or_fewest(&far, units);
            }
            let mut taken = Offers::new();
            let mut missing = units;
            for (location, has) in near {
                let take = missing.min(has);
                missing -= take;
                taken.push((location, take));
            }
            taken.retain(|(_, units)| *units > 0);
            taken.extend(first_or_fewest(&far, missing));
            taken
        }
    }
}

/// The first that has all; otherwise as few as can be.
fn first_or_fewest(offers: &[(Location, i64)], units: i64) -> Offers {
    match offers.iter().find(|(_, has)| *has >= units && units > 0) {
        Some((location, _)) => vec![(location.clone(), units)],
        None => fullest(offers, units),
    }
}

/// Always from the one that has most; the first of equals.
fn fullest(offers: &[(Location, i64)], units: i64) -> Offers {
    let (mut offers, mut taken, mut missing) = (offers.to_vec(), Offers::new(), units);
    while missing > 0 {
        let most = offers.iter().map(|(_, has)| *has).max().unwrap();
        let place = offers.iter().position(|(_, has)| *has == most).unwrap();
        let (location, has) = offers.remove(place);
        taken.push((location, has.min(missing)));
        missing -= has.min(missing);
    }
    taken
}

/// How many locations a cart needs: every set of locations is tried.
fn fewest(free: &[(&Line, Offers)], anyway: &BTreeSet<&Location>) -> usize {
    let all: BTreeSet<&Location> = free.iter().flat_map(|(_, offers)| offers.iter().map(|(at, _)| at)).collect();
    let all: Vec<&Location> = all.into_iter().collect();
    let sets = (0..1_usize << all.len()).map(|bits| {
        let chosen = all.iter().enumerate().filter(|(place, _)| bits >> place & 1 == 1).map(|(_, at)| *at);
        chosen.chain(anyway.iter().copied()).collect::<BTreeSet<_>>()
    });
    let serves = |set: &BTreeSet<&Location>| {
        free.iter().all(|(line, offers)| {
            let has = offers.iter().filter(|(at, _)| set.contains(at)).map(|(_, has)| *has);
            let most = if line.split { has.sum() } else { has.max().unwrap_or(0) };
            most >= line.quantity.get()
        })
    };
    sets.filter(serves).map(|set| set.len()).min().unwrap()
}
