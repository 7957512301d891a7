//! Where a reader of changes stands, and the bell that rings when there are new ones.
//!
//! The order of commits is nowhere written down in Postgres, and a sequence is not it. So a reader remembers a snapshot of transactions, and reads the changes that
//! it did not see and the present one does: nothing is missed that commits late, and nobody waits for a transaction that runs for long.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::Store;

/// The longest text of a snapshot that is taken, in bytes: it names each transaction that was under way.
const SNAPSHOT_BYTES_MAX: usize = 64 * 1024;

/// A snapshot of transactions, as Postgres writes it: `xmin:xmax:xip,xip`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Snapshot(String);

impl Snapshot {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Snapshot {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() <= SNAPSHOT_BYTES_MAX && is_snapshot(&text) { Ok(Self(text)) } else { Err("is no snapshot") }
    }
}

/// What Postgres would not take must not reach it: it comes back from callers.
fn is_snapshot(text: &str) -> bool {
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i64>().ok()).flatten();
    let mut parts = text.split(':');
    let (Some(xmin), Some(xmax), Some(under_way), None) =
        (parts.next().and_then(number), parts.next().and_then(number), parts.next(), parts.next())
    else {
        return false;
    };
    let mut least = xmin;
    let mut ascending = |xid: &str| {
        let fits = number(xid).filter(|xid| (least..xmax).contains(xid));
        least = fits.map_or(least, |xid| xid + 1);
        fits.is_some()
    };
    xmin > 0 && xmin <= xmax && (under_way.is_empty() || under_way.split(',').all(&mut ascending))
}

/// Where a reader stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Whose changes.
    pub log_id: Uuid,
    /// Changes that this sees are dealt with, or part of the whole that is being read.
    pub seen: Snapshot,
    /// What is dealt with besides.
    pub at: Place,
}

/// What a reader has dealt with besides the changes that his snapshot sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// He reads everything there is, and this code was the last one.
    Whole(String),
    /// Nothing: he reads what is new.
    New,
    /// He reads what a later snapshot sees, and this change was the last one.
    Within {
        /// The later snapshot.
        upto: Snapshot,
        /// The change's transaction.
        xid: i64,
        /// Its number.
        seq: i64,
    },
}

/// Rings when SKUs have changed, here or in another process. Clones are the same bell.
///
/// Only a help: whoever waits for it looks by himself, too, now and then.
#[derive(Debug)]
pub struct Bell {
    rung: watch::Sender<u64>,
    asked: Notify,
}

impl Default for Bell {
    fn default() -> Self {
        Self { rung: watch::Sender::new(0), asked: Notify::new() }
    }
}

impl Bell {
    /// Something was committed here: looks at once.
    pub fn ring(&self) {
        self.asked.notify_one();
    }

    /// Hears it from now on.
    pub fn listen(&self) -> watch::Receiver<u64> {
        self.rung.subscribe()
    }

    /// Looks for changes, every so often and when asked to, until `shutdown` is cancelled.
    pub async fn run(&self, store: Store, period: Duration, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut seen, mut failing) = (None, false);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
                () = self.asked.notified() => {}
            }
            match store.changed_since(seen.as_ref()).await {
                Ok((present, changed)) => {
                    (seen, failing) = (Some(present), false);
                    if changed {
                        self.rung.send_modify(|times| *times = times.wrapping_add(1));
                    }
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "changes cannot be looked for; trying again until they can");
                    }
                    failing = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_postgres_takes_is_a_snapshot() {
        for good in ["1:1:", "10:20:", "10:20:10,14,19", "10:20:15"] {
            assert!(is_snapshot(good), "{good}");
        }
        for bad in
            ["", "1", "1:1", "1:1::", "0:1:", "2:1:", "10:20:9", "10:20:20", "10:20:15,14", "10:20:15,15", "a:b:"]
        {
            assert!(!is_snapshot(bad), "{bad}");
        }
        for bad in ["10:20:,", "+1:2:", "1:99999999999999999999:", "1:2:'", " 1:2:"] {
            assert!(!is_snapshot(bad), "{bad}");
        }
    }
}
