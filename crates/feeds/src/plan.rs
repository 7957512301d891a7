//! From a file's rows to the counts that reservation gets: which SKU a row is about, how many units it adds, and what
//! becomes of rows that add none.
//!
//! A SKU's count is the sum of what its vendor's codes said last. Usually that is one code. A vendor who sells a SKU
//! singly and by the dozen has two, with pack sizes 1 and 12, and 5 singles and 2 dozens are 29 units: adding is right
//! because the codes differ (the same code on two rows is guard R7's business and never added). So that a PARTIAL file
//! with one of the two does not wipe out the other, and so that one unreadable row does not either, what each code said
//! last is kept and counted in, with a note on the row.
//!
//! A number that a row guard stops waits for a person. Until then its code adds the lower of the old and the new number;
//! if nothing else was said of the SKU, an increase gives it no count at all, and a decrease a limit of what is offered,
//! which raises no shortfall (PROTOCOL.md rule 18).

mod facts;
mod words;

pub use facts::facts;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    UNITS_MAX,
    formats::ParsedFile,
    guards::jump::{RowLimits, Rule},
    observation::{Mode, Observation},
};
use words::{Sum, Word, Words};

/// A vendor's code for a SKU, as catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The SKU.
    pub sku: String,
    /// How many units of the SKU one of the vendor's units is, 1 or more.
    pub pack_size: u64,
}

/// What a vendor's code said in the files accepted so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// The vendor's code.
    pub vendor_sku: String,
    /// The SKU that it counted for; `None` if no offer mapped it.
    pub sku: Option<String>,
    /// The units of the SKU that it said; `None` if it never said a readable number.
    pub units: Option<u64>,
    /// The same in the vendor's own units; `None` if that was not kept.
    pub quantity: Option<u64>,
    /// A lower number of units that waits for a person, and limits what is offered meanwhile.
    pub waiting: Option<u64>,
}

/// What a file is planned beside.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// What absence means.
    pub mode: Mode,
    /// What the codes are. A code without an entry is mapped by no offer.
    pub offers: &'a HashMap<String, Offer>,
    /// What the codes said before.
    pub known: &'a [KnownKey],
    /// What the guards compare with instead of what a code said before: units on hand of SKUs for which one code speaks
    /// [`alone`], where that code said nothing yet, or where somebody else counted since.
    pub on_hand: &'a HashMap<String, u64>,
    /// Units of SKUs for which one code speaks [`alone`] that were sold and that this file's count reflects, if the count
    /// is what it seems: so many fewer than before are expected (PROTOCOL.md rule 18). A SKU without an entry has none.
    pub reflectable: &'a HashMap<String, u64>,
    /// The row guards' numbers.
    pub limits: &'a RowLimits,
    /// Whether this is the connection's first file: nothing of it can be known, so R3 looks away.
    pub is_first: bool,
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is part of its SKU's count.
    Counted,
    /// It can be read, and the whole file is older than one that was applied.
    Stale,
    /// No offer maps the vendor's code.
    Unmapped,
    /// It cannot be read, or its number is not a number of units.
    Rejected,
    /// A guard stopped it: it waits for a person.
    Quarantined,
}

/// A row of the report before anything was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRow {
    /// The line in the file, the first being 1; 0 for a code that the file does not have.
    pub line: u64,
    /// The vendor's code, or what stands in its place.
    pub vendor_sku: String,
    /// The quantity as the file has it.
    pub raw_quantity: String,
    /// The SKU, if an offer maps the code.
    pub sku: Option<String>,
    /// The units of the SKU that the code says, pack size multiplied in; only for counted rows, and for quarantined ones
    /// that can be read.
    pub units: Option<u64>,
    /// The code's number in the vendor's units, of whichever of its rows counts; only for rows that can be read.
    pub quantity: Option<u64>,
    /// What becomes of it.
    pub fate: Fate,
    /// Why, or what is to know about it; may be empty.
    pub note: String,
}

/// The number that a SKU gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkuCount {
    /// The SKU.
    pub sku: String,
    /// Units, at most [`UNITS_MAX`].
    pub units: u64,
    /// What the number does.
    pub effect: Effect,
}

/// What a count does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// So many are there.
    Set,
    /// No more than so many are to be offered while a lower number waits for a person; what is there stays as it was.
    Limit,
}

/// A code whose number a guard stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The line of its first row.
    pub line: u64,
    /// The vendor's code.
    pub vendor_sku: String,
    /// The SKU.
    pub sku: String,
    /// The quantity as the file has it, on that line.
    pub raw_quantity: String,
    /// How many units of the SKU one of the vendor's units is.
    pub pack_size: u64,
    /// Units of the SKU before; `None` if nothing is known.
    pub old: Option<u64>,
    /// Units of the SKU that were expected: those before without the sold ones that the count reflects. `None` like `old`.
    pub expected: Option<u64>,
    /// Units of the SKU that the number says; `None` if it cannot be read as one number.
    pub new: Option<u64>,
    /// The rules that stopped it, the most telling first.
    pub rules: Vec<Rule>,
    /// What looks wrong, in words.
    pub explanation: String,
    /// Whether it is a decrease: it is believed by itself after a while.
    pub is_decrease: bool,
    /// Whether its SKU gets a limit on its account, which goes when the number is not believed.
    pub is_limited: bool,
}

impl Stopped {
    /// Units that could be sold without being there, if the number is wrong and is believed: believing it takes the sold ones
    /// that it reflects off what is committed, so what counts is how many more there are than expected.
    #[must_use]
    pub fn exposure(&self) -> u64 {
        self.new.map_or(0, |new| new.saturating_sub(self.expected.unwrap_or(0)))
    }
}

/// What a file leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Every row of the file in its order, then one of line 0 for each known code that counts nothing any more.
    pub rows: Vec<PlannedRow>,
    /// One count for each SKU that a counted row is about, or whose offer is limited, in the order of their codes.
    pub counts: Vec<SkuCount>,
    /// The codes whose numbers wait for a person, in the order of the file.
    pub stopped: Vec<Stopped>,
}

/// Decides what becomes of every row and which number every SKU gets.
#[must_use]
pub fn plan(file: &ParsedFile, beside: &Beside<'_>) -> Plan {
    let words = Words::of(file, beside);
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    for (key, word) in &words.by_key {
        let sum = sums.entry(word.offer.sku.as_str()).or_default();
        sum.add(word, words.known(key, word.offer));
    }
    let silent = silent_keys(file, beside, &mut sums);

    let mut rows = in_order(file, |observation| planned(observation, &words, &sums));
    rows.extend(silent.into_iter().map(|row| row.finish(&sums)));
    let counts = sums.iter().filter_map(|(sku, sum)| {
        let (units, effect) = sum.count()?;
        Some(SkuCount { sku: (*sku).to_owned(), units, effect })
    });
    Plan { counts: counts.collect(), stopped: words.stopped(file, &sums), rows }
}

/// The SKUs for which one code of the file speaks alone, in the order of their codes, and whether that code has said a
/// number before.
#[must_use]
pub fn alone(
    mode: Mode,
    file: &ParsedFile,
    offers: &HashMap<String, Offer>,
    known: &[KnownKey],
) -> BTreeMap<String, bool> {
    words::alone(mode, file, offers, known)
}

/// The report of a FULL file that is older than one that was applied. What the newer one left out is gone, so nothing of
/// the older one may come back; without a look at offers, its readable rows are all stale.
#[must_use]
pub fn stale(file: &ParsedFile) -> Vec<PlannedRow> {
    in_order(file, |observation| uncounted(observation, Fate::Stale, "a newer file was applied before".to_owned()))
}

/// The report of a file that is held or refused: the rows that speak against it.
#[must_use]
pub fn unreadable(file: &ParsedFile) -> Vec<PlannedRow> {
    let mut rows = in_order(file, |observation| uncounted(observation, Fate::Stale, String::new()));
    rows.retain(|row| row.fate == Fate::Rejected);
    rows
}

/// All rows of the file in its order.
fn in_order(file: &ParsedFile, planned: impl Fn(&Observation) -> PlannedRow) -> Vec<PlannedRow> {
    let bad = file.bad_rows.iter().map(|row| PlannedRow {
        quantity: None,
        line: row.line,
        vendor_sku: row.vendor_sku.clone(),
        raw_quantity: row.raw_quantity.clone(),
        sku: None,
        units: None,
        fate: Fate::Rejected,
        note: row.reason.clone(),
    });
    let mut rows: Vec<PlannedRow> = file.observations.iter().map(planned).chain(bad).collect();
    rows.sort_by_key(|row| row.line);
    rows
}

/// A row that is not counted: rejected if it cannot be read, else of the fate given.
fn uncounted(observation: &Observation, fate: Fate, note: String) -> PlannedRow {
    let (fate, note) = match observation.reading.quantity() {
        Ok(_) => (fate, note),
        Err(reason) => (Fate::Rejected, reason),
    };
    PlannedRow {
        line: observation.line,
        vendor_sku: observation.key.value().to_owned(),
        raw_quantity: observation.raw_quantity.clone(),
        sku: None,
        units: None,
        quantity: None,
        fate,
        note,
    }
}

fn present_keys(file: &ParsedFile) -> HashSet<&str> {
    let good = file.observations.iter().map(|observation| observation.key.value());
    good.chain(file.bad_rows.iter().map(|row| row.vendor_sku.as_str())).collect()
}

fn planned(observation: &Observation, words: &Words<'_>, sums: &BTreeMap<&str, Sum>) -> PlannedRow {
    let key = observation.key.value();
    let word = words.by_key.get(key);
    let row = |fate, units, note| PlannedRow {
        sku: word.map(|word| word.offer.sku.clone()),
        units,
        ..uncounted(observation, fate, note)
    };
    let Some(word) = word else { return row(Fate::Unmapped, None, unmapped_note(key)) };
    let is_ambiguous = observation.reading.is_ambiguous();
    match &word.said {
        // A number that could be two waits for a person, unless another row of the code says one.
        Word::Stopped(stopped) if stopped.new.is_none() && is_ambiguous => PlannedRow {
            fate: Fate::Quarantined,
            note: stopped.explanation.clone(),
            ..row(Fate::Quarantined, None, String::new())
        },
        _ if observation.reading.quantity().is_err() => row(Fate::Rejected, None, String::new()),
        Word::Nothing => {
            let pack_size = word.offer.pack_size;
            row(Fate::Rejected, None, format!("more than {UNITS_MAX} units, {pack_size} in each pack"))
        }
        Word::Stopped(stopped) => {
            let note = join([word.note.clone(), format!("{}: {}", stopped.names(), stopped.explanation)]);
            PlannedRow { quantity: word.quantity, ..row(Fate::Quarantined, stopped.new, note) }
        }
        Word::Units(units) => {
            let sum = sums.get(word.offer.sku.as_str());
            if sum.is_some_and(|sum| sum.count().is_none()) {
                let note = format!("the codes of this SKU say more than {UNITS_MAX} units together");
                return row(Fate::Rejected, None, note);
            }
            let note = join([word.note.clone(), sum.and_then(Sum::note).unwrap_or_default()]);
            PlannedRow { quantity: word.quantity, ..row(Fate::Counted, Some(*units), note) }
        }
    }
}

/// Notes with `; ` between them.
fn join<const N: usize>(notes: [String; N]) -> String {
    notes.into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>().join("; ")
}

/// What to tell about a code without an offer. It is not guessed what a spreadsheet made of a code, only said.
fn unmapped_note(key: &str) -> String {
    let float = key.strip_suffix(".0").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let note = if float { "no offer maps this code, which looks like a spreadsheet's number" } else { "" };
    note.to_owned()
}

/// A known code that counts nothing for its SKU any more.
struct Silent<'a> {
    key: &'a str,
    sku: &'a str,
    why: String,
}

impl Silent<'_> {
    fn finish(self, sums: &BTreeMap<&str, Sum>) -> PlannedRow {
        let sum = sums.get(self.sku);
        let counted = sum.is_some_and(|sum| sum.count().is_some());
        let note = match sum.and_then(Sum::note) {
            Some(note) => format!("{}; {note}", self.why),
            None => self.why,
        };
        PlannedRow {
            line: 0,
            vendor_sku: self.key.to_owned(),
            raw_quantity: String::new(),
            sku: Some(self.sku.to_owned()),
            units: counted.then_some(0),
            quantity: counted.then_some(0),
            fate: if counted { Fate::Counted } else { Fate::Rejected },
            note,
        }
    }
}

/// Looks at the codes known from earlier files: those that a FULL file does not have, and those that became another
/// SKU's, count nothing; those that a PARTIAL file does not have count on as they were.
fn silent_keys<'a>(file: &ParsedFile, beside: &Beside<'a>, sums: &mut BTreeMap<&'a str, Sum>) -> Vec<Silent<'a>> {
    let present = present_keys(file);
    let mut silent = Vec::new();
    for key in beside.known {
        let Some(sku) = key.sku.as_deref() else { continue };
        let here = present.contains(key.vendor_sku.as_str());
        let why = match beside.offers.get(&key.vendor_sku) {
            Some(offer) if here && offer.sku != sku => format!("the code became SKU {}", offer.sku),
            Some(_) | None if here => continue,
            Some(_) | None if beside.mode == Mode::Partial => {
                if let Some(sum) = sums.get_mut(sku) {
                    sum.add_remembered(Some(key));
                }
                continue;
            }
            Some(_) | None => "absent from a FULL file: gone".to_owned(),
        };
        sums.entry(sku).or_default().add_said(0);
        silent.push(Silent { key: &key.vendor_sku, sku, why });
    }
    silent.sort_by_key(|row| row.key);
    silent
}

#[cfg(test)]
mod tests;
