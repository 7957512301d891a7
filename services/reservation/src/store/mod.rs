//! The record: everything that Postgres is asked and told. Nobody else knows SQL.
//!
//! Architecture invariant: stock is written by [`Store::commit_fast`] and [`Store::commit_planned`] only, both called by the committer only, and neither decides
//! anything that `holdfast_stock` would decide otherwise: the first verifies that there is nothing to decide, the second writes a plan.

mod answer;
mod audit;
mod changes;
mod error;
mod fast;
mod feeds;
mod history;
mod planned;
mod progress;
mod reads;
mod repair;
mod retention;
mod rows;
mod sales;
mod scope;
mod selling;

use holdfast_kit::pg::Pool;

pub use audit::{Discrepancy, Finding, Turn};
pub use changes::{AT_RISK, ChangesPage, ReservationChange, Risk, RowAvailability};
pub use error::StoreError;
pub use fast::{FastBatch, FastOutcome, FastReserve, FastTransition, Target};
pub use feeds::{Feed, Unfresh, WholeRun};
pub use history::AsOf;
pub use planned::{Asked, PlannedOutcome};
pub use reads::{AuditFinding, Due, LedgerCursor, LedgerFilter, LedgerRow, Look, ReservationFilter};
pub use retention::{PartitionState, PurgeStep, Subject};
pub use sales::Standing;

/// The schema's migrations.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// A handle to Postgres. Clones share the pool.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool,
}

impl Store {
    /// Wraps a pool. The committer's lanes have pools of their own, so that reads cannot keep them from a connection.
    #[must_use]
    pub fn new(pool: impl Into<Pool>) -> Self {
        Self { pool: pool.into() }
    }
}

/// Every query and call to a function of the schema, by name: a test prepares them all against the migrated schema, as the running role.
pub const STATEMENTS: &[(&str, &str)] = &[
    ("commit_fast", fast::COMMIT_FAST),
    ("lock_batch", scope::LOCK_BATCH),
    ("write_plan", planned::WRITE_PLAN),
    ("lock_wait", planned::LOCK_WAIT),
    ("look", reads::LOOK),
    ("settle", reads::SETTLE),
    ("due", reads::DUE),
    ("levels", reads::LEVELS),
    ("levels_at", reads::LEVELS_AT),
    ("list_stock", reads::LIST_STOCK),
    ("list_ledger", reads::LIST_LEDGER),
    ("list_reservations", reads::LIST_RESERVATIONS),
    ("next_available", reads::NEXT_AVAILABLE),
    ("audit", reads::AUDIT),
    ("complete_run", feeds::COMPLETE_RUN),
    ("cover_run", feeds::COVER_RUN),
    ("get_feed", feeds::GET_FEED),
    ("list_feeds", feeds::LIST_FEEDS),
    ("unfresh", feeds::UNFRESH),
    ("pending", sales::PENDING),
    ("list_paused", sales::LIST_PAUSED),
    ("oldest_pending", sales::OLDEST_PENDING),
    ("as_of", history::AS_OF),
    ("change_present", changes::CHANGE_PRESENT),
    ("change_rows", changes::CHANGE_ROWS),
    ("change_reservations", changes::CHANGE_RESERVATIONS),
    ("whole_rows", changes::WHOLE_ROWS),
    ("list_at_risk", changes::LIST_AT_RISK),
    ("claim_janitor", retention::CLAIM_JANITOR),
    ("make_partitions", retention::MAKE_PARTITIONS),
    ("drop_partition", retention::DROP_PARTITION),
    ("purge_operations", retention::PURGE_OPERATIONS),
    ("purge_reservations", retention::PURGE_RESERVATIONS),
    ("partition_state", retention::PARTITION_STATE),
    ("kept_from", retention::KEPT_FROM),
    ("incarnation", retention::INCARNATION),
    ("audit_skus", audit::SKUS),
    ("audit_next_skus", audit::NEXT_SKUS),
    ("audit_lately", audit::LATELY),
    ("audit_reservations", audit::RESERVATIONS),
    ("audit_reservations_again", audit::RESERVATIONS_AGAIN),
    ("audit_turn", audit::TURN),
    ("count_holds", audit::COUNT_HOLDS),
    ("audit_advance", audit::ADVANCE),
    ("list_discrepancies", audit::LIST),
    ("get_discrepancies", audit::GET),
    ("open_discrepancies", audit::OPEN),
    ("note_discrepancies", audit::NOTE),
    ("resolve_discrepancies", audit::RESOLVE),
    ("forget_discrepancies", audit::FORGET),
    ("repair_evidence", repair::EVIDENCE),
    ("repair_rows", repair::ROWS),
];
