//! Between the wire and the rules: requests in, answers and problems out. No decision lives here.

mod answers;
mod audit;
mod feeds;
mod problems;
mod requests;
mod reserve;
mod sales;
mod selling;
mod watching;

pub(crate) use answers::{
    availability, batch_failure, count_result, ledger_entry, reservation, reservation_at, state, stock_level, timestamp,
};
pub(crate) use audit::{discrepancy, repair_ask, repair_result};
pub(crate) use feeds::{feed, policies, whole_run};
pub(crate) use problems::{bad_resume_token, problem, unknown_sku_problem};
pub(crate) use requests::{
    adjust, count, location, named_location, parse_state, reflection, reservation_id, sku, skus,
};
pub(crate) use reserve::{Reader, ReserveAsk, check_batch};
pub(crate) use sales::{cancel, confirm, evidence, extend, fulfil, release, take_back};
pub(crate) use selling::{move_problem, moves, pause, paused_sku, resume, sell_problem};
pub(crate) use watching::{
    AsOfAsk, as_of_ask, at_risk, availability_event, availability_interest, before_record, ledger_range, past_level,
    reservation_event, reservation_interest,
};
