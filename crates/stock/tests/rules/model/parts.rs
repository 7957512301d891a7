//! What the modelled world is made of.

use holdfast_stock::{HoldMicros, Limits, Location, Sku, State};

/// A deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Nothing,
    /// A counter that Redis does not have is taken for zero and answered.
    MissingCounterReadsAsZero,
    /// What the gate refuses is answered without asking Postgres.
    GateRefusalIsAnswered,
    /// The read queue looks at the rows only, not at the key.
    ReadIgnoresTheKey,
    /// The read queue counts holds that are over.
    ReadCountsDueHolds,
    /// The committer does not look whether a key landed before.
    DuplicateKeysAreNotCollapsed,
    /// The committer decides every operation of a batch over what was there before the batch.
    OperationsAreDecidedApart,
    /// The committer does not expire what is due, nor count it as free.
    DueHoldsAreNotRead,
    /// Confirm sells whatever state the reservation is in.
    ConfirmIgnoresState,
    /// Confirm judges the hold's time by a clock that is one tick late.
    ConfirmUsesALateClock,
    /// A marked retry is refused without closing its key.
    RetryIsRefusedWithoutAFence,
    /// Release of an unknown key stores nothing.
    ReleaseLeavesUnknownKeysOpen,
    /// A hold is promised when the gate has granted it.
    AnswerBeforeCommit,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Reserve {
        marked: bool,
    },
    Confirm,
    Release,
    /// For one more tick from now.
    Extend,
}

/// When a client sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    AtOnce,
    /// Its earlier request has taken too long.
    GaveUpOn(usize),
    /// An earlier request was answered with a yes.
    GotYes(usize),
}

/// One request that may be sent once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) buyer: usize,
    pub(super) replica: usize,
    pub(super) verb: Verb,
    pub(super) when: When,
    /// The request's own key; the same for a retry. Means nothing for Reserve.
    pub(super) key: u8,
    /// Not if that one was sent.
    pub(super) unless: Option<usize>,
}

/// One system to visit wholly.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) units: i8,
    /// Units that each buyer wants.
    pub(super) wants: [i8; 2],
    pub(super) requests: Vec<Request>,
    /// How often time moves on by a hold's length.
    pub(super) ticks: u8,
    pub(super) crashes: u8,
    pub(super) wipes: u8,
    pub(super) broken: Broken,
    pub(super) sku: Sku,
    pub(super) location: Location,
}

/// Most requests of a setup.
pub(super) const REQUESTS: usize = 6;
/// The limits in ticks.
pub(super) const LIMITS: Limits = Limits { longest_hold_micros: 5, default_hold: HoldMicros::new(1).unwrap() };

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    NotSent,
    /// About to ask the gate, having been read so many times.
    Gate {
        reads: u8,
    },
    /// Waits for the read queue.
    Read {
        reads: u8,
    },
    /// In its replica's write queue.
    Write,
    /// In its replica's write queue, to close its key: a read said that there is too little.
    Refuse,
    Told(Said),
    /// Its replica died.
    Lost,
}

/// What a client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Said {
    Yes(State),
    Short,
    No,
}

/// What of a record matters here; the rest follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mini {
    pub(super) state: State,
    pub(super) made: u8,
    pub(super) expires: u8,
    /// Made by a Release.
    pub(super) fence: bool,
}

/// Request indexes in the order of arrival, four bits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct Queue(u32);

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Whole {
    // Postgres.
    pub(super) now: u8,
    pub(super) held: i8,
    pub(super) committed: i8,
    pub(super) records: [Option<Mini>; 2],
    pub(super) operations: [Option<(State, u8)>; REQUESTS],
    // Redis.
    pub(super) counter: Option<i8>,
    pub(super) takes: [bool; 2],
    // The replicas.
    pub(super) phases: [Phase; REQUESTS],
    pub(super) queues: [Queue; 2],
    /// What a replica is about to publish: availability, and whose takes to remove.
    pub(super) publishing: [Option<(i8, [bool; 2])>; 2],
    // The clients.
    pub(super) gave_up: [bool; REQUESTS],
    // What may still happen.
    pub(super) crashes: u8,
    pub(super) wipes: u8,
    // What must never be forgotten.
    pub(super) holds_made: [u8; 2],
    pub(super) closed: [bool; 2],
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Send(usize),
    GiveUp(usize),
    AskGate(usize),
    GateIsOutOfReach(usize),
    Read(usize),
    Commit { replica: usize },
    CommitThenDie { replica: usize },
    Die { replica: usize },
    Publish { replica: usize },
    TakeLapses { buyer: usize },
    WipeRedis,
    Reconcile,
    Sweep,
    TimePasses,
}

impl Queue {
    pub(super) fn push(&mut self, request: usize) {
        let place = (0..8).find(|place| self.0 >> (4 * place) & 0xf == 0).expect("a queue has room for all requests");
        self.0 |= u32::try_from(request + 1).unwrap() << (4 * place);
    }

    pub(super) fn requests(self) -> impl Iterator<Item = usize> {
        let slots = (0..8).map(move |place| self.0 >> (4 * place) & 0xf);
        slots.take_while(|slot| *slot != 0).map(|slot| usize::try_from(slot).unwrap() - 1)
    }
}
