//! The rules of stock, as pure functions: what a batch of operations does to reservations, stock rows and the ledger.
//!
//! Architecture invariant: nothing in here does I/O, reads a clock or draws a random number. What the world looks like comes in as a [`Snapshot`], what to do as
//! [`Op`]s, and what to write goes out as a [`Plan`]; so the same code runs in the service, in the property tests and in the model check.

mod answer;
mod cart;
mod choose;
mod ids;
mod ledger;
mod level;
mod op;
mod plan;
mod policy;
mod reads;
mod record;
mod repair;
mod text;
mod window;

pub use answer::{
    Answer, CountOutcome, CountResult, NegativeAdjustment, Refusal, ReservationAnswer, StockRow, StoredAnswer,
    StoredOperation,
};
pub use cart::{Cart, CartProblem, Line};
pub use choose::{Availability, NoChoice, choose, choose_cart};
pub use ids::{Location, Name, Note, Owner, PayloadHash, Quantity, RequestId, ReservationId, RowKey, Sku, UnixMicros};
pub use ledger::{AdjustmentReason, Cause, Entry};
pub use level::{Cap, Condition, Delta, Freshness, LEVEL_MAX, Level, LevelProblem, Turn};
pub use op::{Adjustment, Count, CountEffect, CountMeaning, HoldMicros, Op};
pub use plan::{Limits, Plan, Snapshot, plan};
pub use policy::{Breach, Limit, Policy, Rank};
pub use reads::{Reading, read};
pub use record::{AllocatedLine, Allocation, Moment, Record, Shortage, State};
pub use repair::{Evidence, Movement, RepairOutcome, RepairResult, RepairSubject, Side, Sums};
pub use text::TextProblem;
pub use window::{KeyProblem, KeyWindow};
