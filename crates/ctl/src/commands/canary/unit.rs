//! The canary's one unit: made where it is missing, waited for while others hold it, and never more than one.

use holdfast_client::api::catalog::v1::{Location, Sku};
use holdfast_client::api::reservation::v1::{ListReservationsRequest, ReadSource, ReservationState, StockLevel};
use holdfast_client::api::vendorsync::v1::{HouseCount, RowOutcome, RunState, SubmitCountsRequest};
use holdfast_client::{Error, RequestKey};
use tokio::time::{Instant, sleep};

use super::{Canary, Clients, LOOK, OWNER, Report, available};
use crate::called;
use crate::commands::{Context, quarantine};
use crate::failure::Failure;

/// Comes back when one unit can be had, as far as one look can tell.
pub(super) async fn provide(
    context: &Context<'_>,
    clients: &Clients,
    args: &Canary,
    give_up: Instant,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut waited = false;
    loop {
        match available(&clients.stock, args, ReadSource::Record).await? {
            Some(1) => {
                if waited {
                    report.step("wait", "somebody else held the unit");
                }
                return Ok(());
            }
            None => {
                make(context, args).await?;
                count(context, args, 0).await?;
                report.step("make", format!("one unit of {} at {}", args.sku, args.location));
            }
            Some(units) => {
                if units == 0 && held_by_others(clients).await? {
                    waited = true;
                } else if let Some(on_hand) = miscounted(clients, args).await? {
                    count(context, args, on_hand).await?;
                    report.step("count", format!("{on_hand} on hand, made one"));
                }
            }
        }
        if Instant::now() >= give_up {
            return Err(Failure::Refused(format!(
                "no unit of {} could be had in time: others hold it; --wait waits longer",
                args.sku
            )));
        }
        sleep(LOOK).await;
    }
}

/// Whether other canaries hold the unit now.
async fn held_by_others(clients: &Clients) -> Result<bool, Failure> {
    let state = ReservationState::Held.into();
    let request = ListReservationsRequest { owner: OWNER.to_owned(), state, page_size: 1, ..Default::default() };
    let page = clients.reservations.list_reservations(request).await.map_err(Failure::reading)?;
    Ok(!page.reservations.is_empty())
}

/// How many units are on hand, if a count would put it right; none if it is right meanwhile. Whatever else is in the way is a person's affair.
async fn miscounted(clients: &Clients, args: &Canary) -> Result<Option<i64>, Failure> {
    let read = clients.stock.get_stock(&args.sku).await.map_err(|error| match error {
        Error::NotAllowed { .. } => Failure::Refused(format!(
            "{} has not the one unit that a canary needs, and this caller may not look why; run it once as an operator",
            args.sku
        )),
        other => Failure::reading(other),
    })?;
    if let Some(elsewhere) = read.levels.iter().find(|level| level.location != args.location && level.on_hand > 0) {
        return Err(Failure::Refused(format!(
            "{} has units at {} too, so it is somebody's; give the canary a SKU of its own with --sku",
            args.sku, elsewhere.location
        )));
    }
    let Some(level) = read.levels.iter().find(|level| level.location == args.location) else { return Ok(Some(0)) };
    match in_the_way(level) {
        Some(words) => Err(Failure::Refused(format!("the unit of {} cannot be had: {words}", args.sku))),
        None if level.held > 0 || level.available == 1 => Ok(None),
        None => Ok(Some(level.on_hand)),
    }
}

/// What keeps the unit from being had that no count changes.
fn in_the_way(level: &StockLevel) -> Option<String> {
    let ctl = called::program();
    if level.archived {
        return Some(format!("the SKU is archived (`{ctl} sku restore`)"));
    }
    if level.paused {
        return Some(format!("its selling is paused (`{ctl} stock paused`)"));
    }
    if level.committed > 0 {
        let sold = format!(
            "{} of it is sold: somebody confirmed a reservation of it (`{ctl} reservation list --state confirmed`, then `cancel`)",
            level.committed
        );
        return Some(sold);
    }
    if level.safety_stock > 0 || level.backorder_limit > 0 {
        return Some("its selling policy has a safety stock or a backorder limit".to_owned());
    }
    (level.on_hand == 1 && level.held == 0 && level.available != 1)
        .then(|| format!("{} of 1 can be had (`{ctl} stock get`)", level.available))
}

/// Makes the SKU and its location. That they are there already is as good.
async fn make(context: &Context<'_>, args: &Canary) -> Result<(), Failure> {
    let catalog = context.services.catalog()?;
    let there = |error: Error| match error {
        Error::AlreadyExists { .. } => Ok(()),
        other => Err(Failure::repeating(other)),
    };
    let name = "Canary: reserved and given back by holdctl canary, never for sale";
    let sku = Sku { code: args.sku.clone(), name: name.to_owned(), ..Sku::default() };
    catalog.create_sku(RequestKey::new(), sku).await.map(|_made| ()).or_else(there)?;
    let location = Location { code: args.location.clone(), name: name.to_owned(), ..Location::default() };
    catalog.create_location(RequestKey::new(), location).await.map(|_made| ()).or_else(there)
}

/// Counts one unit where so many were seen. Who comes second finds that something else is on hand, and looks again.
async fn count(context: &Context<'_>, args: &Canary, seen: i64) -> Result<(), Failure> {
    let one = HouseCount { sku: args.sku.clone(), quantity: 1, expected_quantity: Some(seen), overwrite: false };
    let request = SubmitCountsRequest {
        location: args.location.clone(),
        counts: vec![one],
        actor: OWNER.to_owned(),
        note: "holdctl canary".to_owned(),
        ..SubmitCountsRequest::default()
    };
    let house = context.services.house()?;
    let response = house.submit_counts(RequestKey::new(), request).await.map_err(Failure::repeating)?;
    if let Some(stopped) = response.rows.iter().find(|row| row.outcome() == RowOutcome::Quarantined) {
        quarantine::how_to_decide(&stopped.quarantine_id);
        return Err(Failure::Waits(format!("a guard stopped the count of {}: a person has to decide", args.sku)));
    }
    match response.run.unwrap_or_default().state() {
        RunState::Applied | RunState::Applying => Ok(()),
        state => Err(Failure::Waits(format!("the count of {} is {}", args.sku, state.as_str_name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level() -> StockLevel {
        StockLevel { on_hand: 1, available: 1, ..StockLevel::default() }
    }

    #[test]
    fn what_a_count_cannot_put_right_is_told_to_a_person() {
        assert_eq!(in_the_way(&level()), None);
        assert_eq!(in_the_way(&StockLevel { on_hand: 0, available: 0, ..level() }), None);
        assert_eq!(in_the_way(&StockLevel { on_hand: 7, available: 7, ..level() }), None);
        assert_eq!(in_the_way(&StockLevel { held: 1, available: 0, ..level() }), None);
        for (blocked, word) in [
            (StockLevel { archived: true, available: 0, ..level() }, "restore"),
            (StockLevel { paused: true, available: 0, ..level() }, "paused"),
            (StockLevel { committed: 1, available: 0, ..level() }, "confirmed"),
            (StockLevel { safety_stock: 1, available: 0, ..level() }, "policy"),
            (StockLevel { backorder_limit: 1, available: 2, ..level() }, "policy"),
            (StockLevel { available: 0, ..level() }, "stock get"),
        ] {
            let words = in_the_way(&blocked).unwrap_or_default();
            assert!(words.contains(word), "{blocked:?}: {words}");
        }
    }
}
