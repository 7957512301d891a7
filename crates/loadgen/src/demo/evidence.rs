//! What the record says of a run, read over the API: reservations, ledgers, and Postgres's clock.

use std::collections::{HashMap, HashSet};

use anyhow::Context as _;
use holdfast_client::ReservationKey;
use holdfast_client::api::reservation::v1::{
    LedgerEntry, ListLedgerEntriesRequest, ListReservationsRequest, ReadSource, Reservation, ReservationState,
};
use tokio::task::JoinSet;

use super::Services;
use crate::check::ClockReading;
use crate::history::{Answer, History, Recorder};

/// Reservations on a page: the most that is given.
const RESERVATIONS: i32 = 500;

/// Ledger entries on a page: the most that is given.
const ENTRIES: i32 = 1_000;

/// SKUs whose ledgers are read at once.
const LEDGERS_AT_ONCE: usize = 8;

/// SKUs of refused carts that are looked at; with more, a sample is.
const LEDGERS_MAX: usize = 2_000;

/// How often the clock is asked: the quickest answer counts.
const CLOCK_READINGS: usize = 15;

/// What is left to doubt after the quickest answer: how the clocks drift during a run, and the rounding to microseconds.
const DRIFT_MICROS: i64 = 500;

/// What the record has of a run.
pub(super) struct Read {
    pub(super) records: HashMap<ReservationKey, Reservation>,
    pub(super) ledgers: HashMap<String, Vec<LedgerEntry>>,
}

impl Read {
    pub(super) fn entries(&self) -> usize {
        self.ledgers.values().map(Vec::len).sum()
    }
}

/// Reads the reservations of a history, and the ledgers of the wanted SKU and of those of which carts were refused.
///
/// # Errors
/// Reservation cannot be reached.
pub(super) async fn read(services: &Services, history: &History, wanted: &str) -> anyhow::Result<Read> {
    let records = reservations(services, history).await?;
    let refused = history.calls.iter().filter(|call| matches!(call.answer, Answer::SoldOut(_)));
    let others: HashSet<&str> = refused.flat_map(|call| &call.lines).map(|line| line.sku.as_str()).collect();
    let others = others.into_iter().filter(|sku| *sku != wanted).take(LEDGERS_MAX);
    let mut left: Vec<String> = others.map(ToOwned::to_owned).collect();
    left.push(wanted.to_owned());

    let mut ledgers = HashMap::new();
    let mut reading = JoinSet::new();
    loop {
        while reading.len() < LEDGERS_AT_ONCE
            && let Some(sku) = left.pop()
        {
            let stock = services.stock.clone();
            reading.spawn(async move {
                let entries = ledger(&stock, &sku).await;
                (sku, entries)
            });
        }
        match reading.join_next().await {
            None => return Ok(Read { records, ledgers }),
            Some(read) => {
                let (sku, entries) = read.context("reading a ledger panicked")?;
                ledgers.insert(sku, entries?);
            }
        }
    }
}

/// Reads pages, newest first, until all reservations of the history have come by or are older than its first.
async fn reservations(services: &Services, history: &History) -> anyhow::Result<HashMap<ReservationKey, Reservation>> {
    let ours: HashSet<ReservationKey> = history.calls.iter().map(|call| call.reservation).collect();
    let Some(first) = ours.iter().min() else { return Ok(HashMap::new()) };
    let (mut records, mut page_token) = (HashMap::new(), String::new());
    loop {
        let request = ListReservationsRequest { page_size: RESERVATIONS, page_token, ..Default::default() };
        let page = services.reservations.list_reservations(request).await.context("reservations cannot be listed")?;
        let mut older = false;
        for reservation in page.reservations {
            let key: ReservationKey = reservation.reservation_id.parse().context("the record has a malformed id")?;
            older = key < *first;
            if ours.contains(&key) {
                records.insert(key, reservation);
            }
        }
        page_token = page.next_page_token;
        if older || page_token.is_empty() {
            return Ok(records);
        }
    }
}

/// How many of these reservations are holds that can still be confirmed; of the newest 500 holds that there are.
///
/// # Errors
/// Reservation cannot be reached.
pub(super) async fn held(services: &Services, ours: &HashSet<ReservationKey>) -> anyhow::Result<usize> {
    let request =
        ListReservationsRequest { page_size: RESERVATIONS, state: ReservationState::Held.into(), ..Default::default() };
    let page = services.reservations.list_reservations(request).await.context("reservations cannot be listed")?;
    let is_ours = |held: &&Reservation| held.reservation_id.parse().is_ok_and(|key| ours.contains(&key));
    Ok(page.reservations.iter().filter(is_ours).count())
}

async fn ledger(stock: &holdfast_client::StockClient, sku: &str) -> anyhow::Result<Vec<LedgerEntry>> {
    let (mut entries, mut page_token) = (Vec::new(), String::new());
    loop {
        let request =
            ListLedgerEntriesRequest { sku: sku.to_owned(), page_size: ENTRIES, page_token, ..Default::default() };
        let page =
            stock.list_ledger_entries(request).await.with_context(|| format!("the ledger of {sku} cannot be read"))?;
        entries.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(entries);
        }
    }
}

/// Reads Postgres's clock beside the history's: the quickest of several answers, wrong by half of the time it took at most.
///
/// # Errors
/// Reservation cannot be reached, or does not say when it read.
pub(super) async fn clock(services: &Services, recorder: &Recorder, sku: &str) -> anyhow::Result<ClockReading> {
    let mut best: Option<ClockReading> = None;
    for _ in 0..CLOCK_READINGS {
        let asked = recorder.now_micros();
        let answer = services.stock.batch_get_availability(vec![sku.to_owned()], ReadSource::Record).await;
        let answered = recorder.now_micros();
        let read = answer
            .context("Postgres's clock cannot be read")?
            .results
            .into_iter()
            .next()
            .and_then(|result| result.read_time);
        let read = read.context("the answer does not say when it was read")?;
        let read = read.seconds * 1_000_000 + i64::from(read.nanos) / 1_000;
        let middle = i64::midpoint(asked, answered);
        let reading =
            ClockReading { offset_micros: read - middle, uncertainty_micros: (answered - asked) / 2 + DRIFT_MICROS };
        best = Some(best.map_or(reading, |best| better(best, reading)));
    }
    best.context("the clock was not asked")
}

/// The one that is wrong by less.
pub(super) fn better(one: ClockReading, other: ClockReading) -> ClockReading {
    if other.uncertainty_micros < one.uncertainty_micros { other } else { one }
}
