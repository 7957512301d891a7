//! The fewest locations from which a whole cart can be taken.

use super::Free;
use crate::ids::Location;
use std::collections::{BTreeMap, BTreeSet};

/// Up to so many locations to choose among, every combination is looked at (for 100 lines some milliseconds at the very worst); beyond, each next location is the one
/// that helps most, and what proves needless is left out again.
const EXACT_MAX: usize = 12;

/// As few locations as possible that have everything of these lines, beside those from which a parcel goes anyway; every line can be had. Among as few, those that the
/// lines prefer: a location's place is the sum of its places in the lines' orders of preference, among equals its code.
pub(super) fn fewest(lines: &[Free], anyway: &BTreeSet<Location>) -> BTreeSet<Location> {
    let candidates = candidates(lines, anyway);
    let needs: Vec<Need> = lines.iter().map(|line| Need::new(line, anyway, &candidates)).collect();
    let chosen = if candidates.len() <= EXACT_MAX {
        (0..=candidates.len()).find_map(|size| combination(&needs, candidates.len(), size, &mut Vec::new()))
    } else {
        None
    };
    let chosen = chosen.unwrap_or_else(|| greedy(&needs, candidates.len()));
    anyway.iter().cloned().chain(chosen.into_iter().map(|place| candidates[place].clone())).collect()
}

/// What a line needs of the candidates.
struct Need {
    units: i64,
    split: bool,
    /// What it has without them.
    anyway: i64,
    /// What each candidate has for it.
    has: Vec<i64>,
}

impl Need {
    fn new(line: &Free, anyway: &BTreeSet<Location>, candidates: &[Location]) -> Self {
        let units_at =
            |wanted: &Location| line.left.iter().find(|(location, _)| location == wanted).map_or(0, |(_, has)| *has);
        let mut need =
            Self { units: line.units, split: line.split, anyway: 0, has: candidates.iter().map(units_at).collect() };
        need.anyway = anyway.iter().map(units_at).fold(0, |sum, has| need.with(sum, has));
        need
    }

    const fn with(&self, so_far: i64, has: i64) -> i64 {
        if self.split {
            so_far.saturating_add(has)
        } else if so_far > has {
            so_far
        } else {
            has
        }
    }

    /// Units that it lacks with these candidates; one that must not be split lacks all or nothing.
    fn lacks(&self, chosen: &[usize]) -> i64 {
        let had = chosen.iter().fold(self.anyway, |sum, place| self.with(sum, self.has[*place]));
        match (self.units - had).max(0) {
            0 => 0,
            missing if self.split => missing,
            _ => self.units,
        }
    }
}

/// Locations that have something and from which no parcel goes yet, the preferred first.
fn candidates(lines: &[Free], anyway: &BTreeSet<Location>) -> Vec<Location> {
    let mut places: BTreeMap<&Location, usize> = BTreeMap::new();
    let useful = |(location, has): &&(Location, i64)| *has > 0 && !anyway.contains(location);
    for (location, _) in lines.iter().flat_map(|line| line.left.iter().filter(useful)) {
        places.entry(location).or_default();
    }
    for (location, place) in &mut places {
        let at = |line: &Free| line.left.iter().position(|(other, _)| other == *location).unwrap_or(line.left.len());
        *place = lines.iter().map(at).sum();
    }
    let mut candidates: Vec<(usize, &Location)> =
        places.into_iter().map(|(location, place)| (place, location)).collect();
    candidates.sort();
    candidates.into_iter().map(|(_, location)| location.clone()).collect()
}

/// The first combination of so many of the candidates, in their order, that will do; `chosen` are the first ones of it.
fn combination(needs: &[Need], candidates: usize, size: usize, chosen: &mut Vec<usize>) -> Option<Vec<usize>> {
    if chosen.len() == size {
        return fits(needs, chosen).then(|| chosen.clone());
    }
    for place in chosen.last().map_or(0, |last| last + 1)..candidates {
        chosen.push(place);
        let found = combination(needs, candidates, size, chosen);
        chosen.pop();
        if found.is_some() {
            return found;
        }
    }
    None
}

fn greedy(needs: &[Need], candidates: usize) -> Vec<usize> {
    let mut chosen = Vec::new();
    while !fits(needs, &chosen) {
        let lacking: Vec<i64> = needs.iter().map(|need| need.lacks(&chosen)).collect();
        let helps = |place: &usize| -> i64 {
            needs.iter().zip(&lacking).fold(0, |sum, (need, lacks)| sum.saturating_add(need.gains(*lacks, *place)))
        };
        // The last of equals wins in `max_by_key`: backwards, that is the preferred one.
        match (0..candidates).rev().filter(|place| !chosen.contains(place)).max_by_key(helps) {
            Some(best) => chosen.push(best),
            None => break,
        }
    }
    for place in chosen.clone() {
        let without: Vec<usize> = chosen.iter().copied().filter(|other| *other != place).collect();
        if fits(needs, &without) {
            chosen = without;
        }
    }
    chosen
}

fn fits(needs: &[Need], chosen: &[usize]) -> bool {
    needs.iter().all(|need| need.lacks(chosen) == 0)
}

impl Need {
    /// What a further candidate adds to what a line lacks.
    fn gains(&self, lacks: i64, place: usize) -> i64 {
        match self.has[place] {
            has if self.split => has.min(lacks),
            has if has >= lacks => lacks,
            _ => 0,
        }
    }
}
