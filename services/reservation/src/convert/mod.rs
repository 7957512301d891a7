//! Between the wire and the rules: requests in, answers and problems out. No decision lives here.

mod answers;
mod audit;
mod feeds;
mod problems;
mod requests;

pub(crate) use answers::{
    availability, count_result, ledger_entry, reservation, reservation_at, state, stock_level, timestamp,
};
pub(crate) use audit::{discrepancy, repair_ask, repair_result};
pub(crate) use feeds::{feed, policies, whole_run};
pub(crate) use problems::{problem, unknown_sku_problem};
pub(crate) use requests::{
    ReserveAsk, adjust_ask, count_ask, extend_ask, location, named_location, parse_state, reservation_id, reserve_ask,
    sku, skus, transition_ask,
};
