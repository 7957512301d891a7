//! The handlers: decode, call, encode.

mod audit;
mod reservations;
mod stock;

pub use audit::Audit;
pub use reservations::Reservations;
pub use stock::Stock;

use tokio::time::Instant;
use tonic::Request;

use crate::committer::{Committer, Outcome, Work};
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

    async fn commit(self, committer: &Committer, op: Op) -> Outcome {
        committer.commit(Work { op, chosen: None, actor: self.name, deadline: self.deadline }).await
    }
}
