//! Between the wire and the rules: requests in, answers and problems out. No decision lives here.

mod answers;
mod feeds;
mod problems;
mod requests;
mod watching;

pub(crate) use answers::{
    availability, count_result, ledger_entry, reservation, reservation_at, state, stock_level, timestamp,
};
pub(crate) use feeds::{feed, policies, whole_run};
pub(crate) use problems::{bad_resume_token, problem, unknown_sku_problem};
pub(crate) use requests::{
    ReserveAsk, adjust_ask, count_ask, extend_ask, location, named_location, parse_state, reservation_id, reserve_ask,
    sku, skus, transition_ask,
};
pub(crate) use watching::{
    AsOfAsk, as_of_ask, at_risk, availability_event, availability_interest, before_record, ledger_range, past_level,
    reservation_event, reservation_interest,
};
