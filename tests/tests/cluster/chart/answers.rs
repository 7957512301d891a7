//! Who answers the buyers while pods roll: every pod of reservation is asked again and again how many calls it has answered.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use holdfast_stack::http;
use holdfast_stack::kubernetes::Cluster as Kubernetes;

use super::Chart;

/// The Deployment that buyers call.
pub(super) const RESERVATION: &str = "holdfast-reservation";
/// Where [`holdfast_stack::kubernetes::helm::listening`] has it say how it is.
const ADMIN_PORT: u16 = 9051;
/// The numbers that are wanted.
const ANSWERED: &str = "holdfast_rpc_server_requests_total{method=\"/holdfast.reservation.v1.ReservationService/";
const PERIOD: Duration = Duration::from_millis(50);

/// Calls that were answered while pods gave way to others, as far as the pods were still there to say so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Answers {
    /// By the pods that were there before.
    pub(super) old: u64,
    /// By them after the first answer of a new one.
    pub(super) old_beside_new: u64,
    /// By the new ones.
    pub(super) new: u64,
}

/// What the pods have said so far.
struct Count {
    old: Vec<String>,
    /// The last number of each pod.
    last: BTreeMap<String, u64>,
    /// The old ones' sum when it was asked for first, and when no new one had answered anything yet.
    at_first: Option<u64>,
    alone: u64,
}

impl Chart {
    /// Waits until everything is rolled out, and counts who answers meanwhile; `old` are the pods that were there before.
    pub(super) async fn rolled_out_counting(&self, old: Vec<String>) -> Answers {
        let mut count = Count { old, last: BTreeMap::new(), at_first: None, alone: 0 };
        tokio::select! {
            () = self.rolled_out() => {}
            never = count.go_on(&self.kubernetes) => match never {},
        }
        count.look(&self.kubernetes).await;
        count.answers()
    }
}

impl Count {
    async fn go_on(&mut self, kubernetes: &Kubernetes) -> Infallible {
        let mut ticks = tokio::time::interval(PERIOD);
        loop {
            ticks.tick().await;
            self.look(kubernetes).await;
        }
    }

    async fn look(&mut self, kubernetes: &Kubernetes) {
        for pod in kubernetes.pods_of(RESERVATION) {
            let Some(address) = kubernetes.address(&pod) else { continue };
            // One that does not listen yet, or no longer, has said what it had to say.
            if let Ok((200, page)) = http::get((address, ADMIN_PORT).into(), "/metrics").await {
                self.last.insert(pod, answered(&page));
            }
        }
        let (old, new) = self.sums();
        self.at_first.get_or_insert(old);
        if new == 0 {
            self.alone = old;
        }
    }

    /// Of the old ones, and of the new ones.
    fn sums(&self) -> (u64, u64) {
        let of = |is_old: bool| {
            let pods = self.last.iter().filter(|(pod, _)| self.old.contains(pod) == is_old);
            pods.map(|(_, answered)| answered).sum()
        };
        (of(true), of(false))
    }

    fn answers(&self) -> Answers {
        let (old, new) = self.sums();
        Answers { old: old - self.at_first.unwrap_or(old), old_beside_new: old - self.alone, new }
    }
}

fn answered(page: &str) -> u64 {
    let lines = page.lines().filter(|line| line.starts_with(ANSWERED));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}
