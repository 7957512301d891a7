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
mod portions;
mod reads;
mod record;
mod repair;
mod sale;
mod selling;
mod terms;
mod text;
mod window;

pub use answer::{
    Answer, CountOutcome, CountResult, Excess, NegativeAdjustment, Refusal, ReservationAnswer, StockRow, StoredAnswer,
    StoredOperation,
};
pub use cart::{Cart, CartProblem, Line};
pub use choose::{Availability, Choice, NoChoice, choose, choose_best, choose_cart};
pub use ids::{Location, Name, Note, Owner, PayloadHash, Quantity, RequestId, ReservationId, RowKey, Sku, UnixMicros};
pub use ledger::{AdjustmentReason, Cause, Entry};
pub use level::{Cap, Condition, Delta, Freshness, LEVEL_MAX, Level, LevelProblem, Turn};
pub use op::{Adjustment, Count, CountEffect, CountMeaning, HoldMicros, Op, Returned};
pub use plan::{Limits, Pending, Plan, Snapshot, plan};
pub use policy::{Breach, Limit, Policy, Promise, Rank};
pub use reads::{Reading, Wanted, read};
pub use record::{AllocatedLine, Allocation, Moment, Record, Shortage, State};
pub use repair::{Movement, RepairEvidence, RepairOutcome, RepairResult, RepairSubject, Side, Sums};
pub use sale::{Evidence, EvidenceKind, FeedTerms, Progress, Watermark};
pub use selling::{ChannelUse, Pause, Selling};
pub use terms::{Details, Portion, Strategy, Terms};
pub use text::TextProblem;
pub use window::{KeyProblem, KeyWindow};
