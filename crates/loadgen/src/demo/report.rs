//! The report at the end: what was there, what became of it, what was broken, and how to do it again by hand.

use std::path::Path;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use holdfast_client::api::reservation::v1::{Reservation, ReservationState};

use super::Options;
use super::evidence::Read;
use super::goods::Goods;
use super::sale::Sold;
use super::say::{Say, count};
use super::setup::Shelf;
use crate::check::Findings;
use crate::history::{Answer, Verb};

/// What is reported on.
pub(super) struct Report<'a> {
    pub(super) sold: &'a Sold,
    pub(super) shelf: &'a Shelf,
    pub(super) findings: &'a Findings,
    pub(super) read: &'a Read,
    pub(super) broken: &'a [String],
}

/// How the reservations of one kind of customer ended, by the record.
#[derive(Default)]
struct Ends {
    granted: usize,
    confirmed: usize,
    released: usize,
    expired: usize,
    other: usize,
}

impl Ends {
    fn of<'a>(records: impl Iterator<Item = &'a Reservation>) -> Self {
        let mut ends = Self::default();
        for record in records {
            // A key that was closed before anything landed never held units.
            let held = record.expire_time.is_some();
            ends.granted += usize::from(held);
            match record.state() {
                ReservationState::Confirmed | ReservationState::Fulfilled => ends.confirmed += 1,
                ReservationState::Released if held => ends.released += 1,
                ReservationState::Expired => ends.expired += 1,
                ReservationState::Held | ReservationState::Cancelled => ends.other += 1,
                ReservationState::Released | ReservationState::Refused | ReservationState::Unspecified => {}
            }
        }
        ends
    }
}

/// Prints the report.
pub(super) fn print(say: &Say, report: &Report<'_>) {
    let Report { sold, shelf, read, broken, .. } = report;
    let of_buyers = |record: &&Reservation| record.lines.iter().any(|line| line.sku == shelf.wanted);
    let buyers = Ends::of(read.records.values().filter(of_buyers));
    let carts = Ends::of(read.records.values().filter(|record| !of_buyers(record)));
    let history = &sold.history;
    let refusals = |wanted: bool| {
        let about = |call: &&crate::history::Call| call.lines.iter().any(|line| line.sku == shelf.wanted) == wanted;
        history.calls.iter().filter(|call| matches!(call.answer, Answer::SoldOut(_))).filter(about).count()
    };

    say.title("The result");
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut row = |name: &str, wanted: String, others: String| {
        table.add_row([format!("  {name}"), wanted, others]);
    };
    row("", format!("{} (1 each)", shelf.wanted), "carts of other SKUs".into());
    row(
        "asked by",
        format!("{} buyers", count(sold.options.buyers)),
        format!("{} shoppers", count(asked_carts(report))),
    );
    row("units", count(sold.options.units), String::new());
    row("granted", count(buyers.granted), count(carts.granted));
    row("  confirmed", count(buyers.confirmed), count(carts.confirmed));
    row("  released", count(buyers.released), count(carts.released));
    row("  expired", count(buyers.expired), count(carts.expired));
    if buyers.other + carts.other > 0 {
        row("  still held", count(buyers.other), count(carts.other));
    }
    row("refused, answers", count(refusals(true)), count(refusals(false)));
    row("left over", count(sold.left_over), String::new());
    say.line(&table.trim_fmt());

    say.title("The invariants");
    print_invariants(say, report);
    print_speed(say, report);
    if broken.is_empty() {
        say.title("Every invariant held.");
    } else {
        say.title(&format!("BROKEN: {} findings", broken.len()));
        broken.iter().for_each(|what| say.line(&format!("  ✗ {what}")));
    }
}

fn asked_carts(report: &Report<'_>) -> usize {
    if report.shelf.others.is_empty() { 0 } else { report.sold.options.carts }
}

fn print_invariants(say: &Say, report: &Report<'_>) {
    let Report { sold, findings, read, .. } = report;
    let doubt = Duration::from_micros(sold.clock.uncertainty_micros.unsigned_abs());
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut row = |good: bool, name: &str, number: String, note: String| {
        table.add_row([format!("  {} {name}", if good { "✓" } else { "✗" }), number, note]);
    };
    let zero = |number: usize| number == 0;
    row(
        findings.oversold_units == 0,
        "oversold",
        count(findings.oversold_units),
        "units, at the worst instant of the ledger".into(),
    );
    row(
        zero(findings.falsely_refused) && sold.turned_away(report.shelf).is_none(),
        "falsely refused",
        count(findings.falsely_refused),
        format!(
            "of {} refusals, each held against the ledger (clocks within {:.1} ms)",
            count(findings.refusals_checked),
            doubt.as_secs_f64() * 1e3
        ),
    );
    row(
        zero(findings.lost),
        "lost",
        count(findings.lost),
        "acknowledged reservations that Postgres does not have so".into(),
    );
    row(
        zero(findings.held_in_secret),
        "held in secret",
        count(findings.held_in_secret),
        "reservations that were denied and hold units".into(),
    );
    row(
        zero(findings.charged_twice) && sold.charged_twice(&read.records).is_none(),
        "charged twice",
        count(findings.charged_twice),
        "reservations with two entries of a kind in the ledger".into(),
    );
    row(
        zero(findings.replays_different),
        "retries identical",
        format!(
            "{} of {}",
            count(findings.replays_identical),
            count(findings.replays_identical + findings.replays_different)
        ),
        "the same key, the first answer again".into(),
    );
    row(
        true,
        "unknown, resolved",
        count(findings.unknown_landed + findings.unknown_not_landed),
        format!("{} had landed, {} had not", count(findings.unknown_landed), count(findings.unknown_not_landed)),
    );
    if let Some(after) = sold.wiped_after {
        row(true, "Redis wiped", "once".into(), format!("after {:.1} s of the sale", after.as_secs_f64()));
    }
    right(&mut table, &[1]);
    say.line(&table.trim_fmt());
}

fn print_speed(say: &Say, report: &Report<'_>) {
    let history = &report.sold.history;
    say.title(&format!(
        "The speed: {} calls in {:.1} s, {:.0} a second (on this machine, with the stores and the buyers on it)",
        count(history.calls.len()),
        history.elapsed.as_secs_f64(),
        history.throughput()
    ));
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.add_row(["  call", "calls", "p50", "p99", "slowest", "gave up"].map(ToOwned::to_owned));
    let milliseconds = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    for verb in Verb::ALL {
        let Some(latency) = history.latency(verb) else { continue };
        let unknown = history.count(verb, |answer| matches!(answer, Answer::Unknown(_)));
        let times = [latency.p50, latency.p99, latency.max].map(milliseconds);
        let [p50, p99, max] = times;
        table.add_row([format!("  {}", verb.name()), count(latency.calls), p50, p99, max, count(unknown)]);
    }
    right(&mut table, &[1, 2, 3, 4, 5]);
    say.line(&table.trim_fmt());
}

fn right(table: &mut Table, columns: &[usize]) {
    table.discover_columns();
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// Prints what to go on with, where a Holdfast runs.
pub(super) fn print_commands(say: &Say, goods: &Goods, shelf: &Shelf, options: &Options) {
    let sku = quoted(&shelf.wanted);
    let [feed, offers] = [&goods.feed, &goods.offers_file].map(|file| quoted(&near(&file.path)));
    let whose = "--vendor MY-VENDOR --location MY-HALL";
    let lines = [
        "quarantine list        # what still waits for a person; then: quarantine get ID".to_owned(),
        "run list --state held        # files that wait for one".to_owned(),
        "stock feeds        # how fresh each vendor's numbers are".to_owned(),
        format!("stock ledger {sku}        # every change of it, and its cause"),
        format!("reserve --owner me {sku}=1        # prints the reservation's id; then: confirm ID, or: release ID"),
        "vendor create MY-VENDOR".to_owned(),
        "location create MY-HALL --vendor MY-VENDOR".to_owned(),
        format!("offer import {offers} {whose}"),
        format!("connection create MY-FEED {whose} --mode full --cadence 1d --like {feed}"),
        format!("feed upload {feed} --connection MY-FEED --as-of now"),
    ];
    say.title("To go on with, beside a Holdfast that stays (./dev up in another terminal, then ./dev demo uses it)");
    lines.iter().for_each(|line| say.line(&format!("  {} {line}", options.ctl)));
}

/// A path as it is written from here.
pub(super) fn near(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

/// A word as a shell needs it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:@,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
