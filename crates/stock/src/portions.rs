//! Which units of a reservation a request means.

use crate::answer::Excess;
use crate::record::Allocation;
use crate::terms::Portion;

/// Units of one of a reservation's allocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// The allocation's index in the reservation.
    pub(crate) allocation: usize,
    /// Units, at least 1.
    pub(crate) units: i64,
    /// The index of the first portion that they are for; the allocation's own where none was named.
    pub(crate) portion: usize,
}

/// Spreads portions over a reservation's allocations, of which each can give so many units: those with a location first, then the others from the first location on, each
/// kind in the order asked. Without portions everything that can be given is meant. One share for each allocation that gives, in their order.
///
/// # Errors
/// The portions for which there are not enough units, in the order asked; nothing is then to be done.
pub(crate) fn shares(
    portions: &[Portion],
    allocations: &[Allocation],
    left: impl Fn(&Allocation) -> i64,
) -> Result<Vec<Share>, Vec<Excess>> {
    let mut left: Vec<i64> = allocations.iter().map(|allocation| left(allocation).max(0)).collect();
    let mut given: Vec<Option<Share>> = vec![None; allocations.len()];
    if portions.is_empty() {
        let all = left.iter().enumerate().filter(|(_, units)| **units > 0);
        return Ok(all.map(|(index, units)| Share { allocation: index, units: *units, portion: index }).collect());
    }
    let mut excesses = Vec::new();
    let in_turn = |named: bool| portions.iter().enumerate().filter(move |(_, it)| it.location.is_some() == named);
    for (index, portion) in in_turn(true).chain(in_turn(false)) {
        let fits = |allocation: &Allocation| {
            allocation.sku == portion.sku && portion.location.as_ref().is_none_or(|at| *at == allocation.location)
        };
        let places: Vec<usize> = (0..allocations.len()).filter(|place| fits(&allocations[*place])).collect();
        let there: i64 = places.iter().map(|place| left[*place]).sum();
        if portion.units < 1 || portion.units > there {
            excesses.push(Excess { index, portion: portion.clone(), left: there });
            continue;
        }
        let mut wanted = portion.units;
        for place in places {
            let units = wanted.min(left[place]);
            if units > 0 {
                let share = given[place].get_or_insert(Share { allocation: place, units: 0, portion: index });
                share.units += units;
                left[place] -= units;
                wanted -= units;
            }
        }
    }
    if excesses.is_empty() {
        Ok(given.into_iter().flatten().collect())
    } else {
        excesses.sort_by_key(|excess| excess.index);
        Err(excesses)
    }
}
