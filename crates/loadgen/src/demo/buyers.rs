//! The buyers who race for the one SKU: most pay, some abandon, some give back, some lose patience with the network, some click twice, some wait.

use std::time::Duration;

use holdfast_client::api::reservation::v1::ReservationState;
use holdfast_client::{Line, RequestKey, ReservationKey, Reserve};

use super::sale::Sale;
use crate::history::Answer;
use crate::load::BUSY_PAUSE;
use crate::rng::Rng;

/// How long a buyer waits for an answer, where the mood does not say otherwise.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often a buyer asks again until the outcome is known. Far more than a healthy service needs.
const ATTEMPTS_MAX: u32 = 30;

/// How a buyer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mood {
    /// Pays, if there is a unit; else goes away.
    Pays,
    /// Holds a unit and never comes back: the hold expires.
    Abandons,
    /// Holds a unit and gives it back.
    GivesBack,
    /// Waits for an answer for some milliseconds only, then asks again with the same key; pays.
    Impatient,
    /// Clicks twice: the same request goes out twice at the same time; pays.
    Twins,
    /// Waits while it is sold out, for somebody to leave a unit; pays.
    Waits,
}

impl Mood {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        match rng.below(100) {
            0..44 => Self::Pays,
            44..64 => Self::Abandons,
            64..80 => Self::GivesBack,
            80..88 => Self::Impatient,
            88..94 => Self::Twins,
            _ => Self::Waits,
        }
    }
}

/// One buyer.
#[derive(Debug)]
pub(super) struct Buyer {
    pub(super) number: usize,
    pub(super) mood: Mood,
    pub(super) rng: Rng,
}

/// How a buyer's wish to hold something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// The units are held under this key.
    Held(ReservationKey),
    /// There was too little. True if the key is closed, because the no went to a marked retry.
    SoldOut { closed: bool },
    /// It is over otherwise: refused for another reason, or the hold ended meanwhile.
    Over,
    /// Nobody knows, after all these attempts.
    Open,
}

impl Buyer {
    /// Does what the mood says. True if the buyer waited and left without a unit.
    pub(super) async fn run(mut self, sale: &Sale) -> bool {
        let reserve = self.reserve(sale, ReservationKey::new());
        let wish = match self.mood {
            Mood::Impatient => {
                // Half of them give up before anything can have happened, half while it is happening.
                let moment = if self.rng.permille(500) { self.rng.between(1, 8) } else { self.rng.between(20, 300) };
                let moment = Duration::from_millis(moment as u64);
                let first = sale.recorder.reserve(self.number, &reserve, 1, moment).await;
                self.go_on(sale, &reserve, first, 1).await
            }
            Mood::Twins => self.click_twice(sale, &reserve).await,
            Mood::Pays | Mood::Abandons | Mood::GivesBack | Mood::Waits => settle(sale, self.number, &reserve).await,
        };
        sale.one_answered();
        match (self.mood, wish) {
            (Mood::Abandons, _) => false,
            (Mood::GivesBack, Wish::Held(key)) => {
                self.think(100, 900).await;
                release(sale, self.number, key).await;
                false
            }
            (Mood::Waits, Wish::SoldOut { closed }) => self.wait(sale, reserve, closed).await,
            (_, Wish::Held(_)) => {
                self.pay(sale, &reserve).await;
                false
            }
            (_, Wish::SoldOut { .. } | Wish::Over | Wish::Open) => false,
        }
    }

    fn reserve(&mut self, sale: &Sale, key: ReservationKey) -> Reserve {
        let line = Line { location: sale.only_here.clone(), ..Line::anywhere(sale.wanted.clone(), 1) };
        let reserve = Reserve::new(key, format!("buyer-{}", self.number), [line]);
        // Who abandons is given little time, so that the units come back while the sale lasts.
        let hold = if self.mood == Mood::Abandons { self.rng.between(1_000, 3_000) } else { 60_000 };
        reserve.hold_for(Duration::from_millis(hold as u64))
    }

    /// What follows the first answer of somebody who did not wait for it.
    async fn go_on(&self, sale: &Sale, reserve: &Reserve, first: Answer, attempt: u32) -> Wish {
        match first {
            Answer::Unknown(_) => settle_from(sale, self.number, reserve, attempt + 1).await,
            Answer::Busy(pause) => {
                tokio::time::sleep(pause.unwrap_or(BUSY_PAUSE)).await;
                settle_from(sale, self.number, reserve, attempt).await
            }
            answer => wish(&answer, reserve.key(), attempt).unwrap_or(Wish::Open),
        }
    }

    /// The same request twice at the same time. One of them may be told no and the other yes, if a unit came free in between: a no binds nothing.
    async fn click_twice(&self, sale: &Sale, reserve: &Reserve) -> Wish {
        let click = || sale.recorder.reserve(self.number, reserve, 1, DEADLINE);
        let (one, other) = tokio::join!(click(), click());
        match (one, other) {
            (done @ Answer::Done { .. }, _) | (_, done @ Answer::Done { .. }) => {
                self.go_on(sale, reserve, done, 1).await
            }
            (open @ Answer::Unknown(_), _) | (_, open @ Answer::Unknown(_)) => self.go_on(sale, reserve, open, 1).await,
            (one, _) => self.go_on(sale, reserve, one, 1).await,
        }
    }

    /// Asks again and again until there is a unit, or all are sold. True if it was in vain.
    async fn wait(&mut self, sale: &Sale, mut reserve: Reserve, mut closed: bool) -> bool {
        while !sale.is_over() {
            self.think(150, 450).await;
            if closed {
                reserve = self.reserve(sale, ReservationKey::new());
            }
            match settle(sale, self.number, &reserve).await {
                Wish::Held(_) => {
                    self.pay(sale, &reserve).await;
                    return false;
                }
                Wish::SoldOut { closed: now } => closed = now,
                Wish::Over | Wish::Open => return false,
            }
        }
        true
    }

    /// Pays, and now and then sends once more what was answered already, as shops do after a reload.
    async fn pay(&mut self, sale: &Sale, reserve: &Reserve) {
        self.think(20, 300).await;
        let key = RequestKey::new();
        let sold = confirm(sale, self.number, key, reserve.key()).await;
        if sold {
            sale.one_sold();
        }
        if sold && self.rng.permille(250) {
            let _same = sale.recorder.confirm(self.number, key, reserve.key(), DEADLINE).await;
        }
        if self.mood == Mood::Impatient || self.rng.permille(250) {
            let _same = sale.recorder.reserve(self.number, reserve, 2, DEADLINE).await;
        }
    }

    async fn think(&mut self, from: usize, to: usize) {
        tokio::time::sleep(Duration::from_millis(self.rng.between(from, to) as u64)).await;
    }
}

/// Asks for a hold until the outcome is known.
pub(super) async fn settle(sale: &Sale, number: usize, reserve: &Reserve) -> Wish {
    settle_from(sale, number, reserve, 1).await
}

/// The same, beginning at an attempt: every one above 1 is a marked retry.
async fn settle_from(sale: &Sale, number: usize, reserve: &Reserve, mut attempt: u32) -> Wish {
    for _ in 0..ATTEMPTS_MAX {
        match sale.recorder.reserve(number, reserve, attempt, DEADLINE).await {
            Answer::Busy(pause) => tokio::time::sleep(pause.unwrap_or(BUSY_PAUSE)).await,
            Answer::Unknown(_) => {
                tokio::time::sleep(BUSY_PAUSE).await;
                attempt += 1;
            }
            answer => return wish(&answer, reserve.key(), attempt).unwrap_or(Wish::Open),
        }
    }
    Wish::Open
}

/// What an answer means for the wish; nothing yet where the call must be made again.
fn wish(answer: &Answer, key: ReservationKey, attempt: u32) -> Option<Wish> {
    match answer {
        Answer::Done { current_state: ReservationState::Held, .. } => Some(Wish::Held(key)),
        Answer::Done { .. } | Answer::Refused(_) => Some(Wish::Over),
        Answer::SoldOut(_) => Some(Wish::SoldOut { closed: attempt > 1 }),
        Answer::Busy(_) | Answer::Unknown(_) => None,
    }
}

/// Confirms until the outcome is known. True if it is sold.
pub(super) async fn confirm(sale: &Sale, number: usize, key: RequestKey, id: ReservationKey) -> bool {
    for _ in 0..ATTEMPTS_MAX {
        match sale.recorder.confirm(number, key, id, DEADLINE).await {
            Answer::Done { .. } => return true,
            Answer::SoldOut(_) | Answer::Refused(_) => return false,
            Answer::Busy(pause) => tokio::time::sleep(pause.unwrap_or(BUSY_PAUSE)).await,
            Answer::Unknown(_) => tokio::time::sleep(BUSY_PAUSE).await,
        }
    }
    false
}

/// Releases until the outcome is known.
pub(super) async fn release(sale: &Sale, number: usize, id: ReservationKey) {
    let key = RequestKey::new();
    for _ in 0..ATTEMPTS_MAX {
        match sale.recorder.release(number, key, id, DEADLINE).await {
            Answer::Done { .. } | Answer::SoldOut(_) | Answer::Refused(_) => return,
            Answer::Busy(pause) => tokio::time::sleep(pause.unwrap_or(BUSY_PAUSE)).await,
            Answer::Unknown(_) => tokio::time::sleep(BUSY_PAUSE).await,
        }
    }
}
