//! The handlers: decode, call, encode.

mod audit;
mod reservations;
mod stock;
mod watching;

pub use audit::Audit;
pub use reservations::Reservations;
pub use stock::Stock;
pub use watching::Watching;

use tokio::time::Instant;
use tonic::Request;

use crate::committer::{Committer, Outcome, Work};
use crate::reserve::By;
use holdfast_stock::Op;

/// Who asked, and until when an operation may begin.
struct Asker {
    name: String,
    deadline: Instant,
}

impl Asker {
    fn of<T>(request: &Request<T>) -> Self {
        Self {
            name: holdfast_kit::caller(request).name.to_string(),
            deadline: Instant::from_std(holdfast_kit::deadline(request).instant),
        }
    }

    fn by(&self) -> By<'_> {
        By { actor: &self.name, deadline: self.deadline }
    }

    async fn commit(&self, committer: &Committer, op: Op) -> Outcome {
        committer.commit(self.by().work(op)).await
    }

    /// Commits, or only says what would be answered.
    async fn commit_or_try(&self, committer: &Committer, op: Op, dry: bool) -> Outcome {
        committer.commit(Work { dry, ..self.by().work(op) }).await
    }
}
