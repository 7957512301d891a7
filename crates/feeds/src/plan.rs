//! From a file's rows to the counts that reservation gets: which SKU a row is about, how many units it adds, and what
//! becomes of rows that add none.
//!
//! A SKU's count is the sum of what its vendor's codes said last. Usually that is one code. A vendor who sells a SKU
//! singly and by the dozen has two, with pack sizes 1 and 12, and 5 singles and 2 dozens are 29 units: adding is right
//! because the codes differ (the same code on two rows is guard R7's business and never added). So that a PARTIAL file
//! with one of the two does not wipe out the other, and so that one unreadable row does not either, what each code said
//! last is kept and counted in, with a note on the row.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    UNITS_MAX,
    formats::ParsedFile,
    guards::{
        file::FileFacts,
        row::{KeyReading, by_key},
    },
    observation::{Mode, Observation},
};

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
    /// The units of the SKU that the code says, pack size multiplied in; only for counted rows.
    pub units: Option<u64>,
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
}

/// What a file leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Every row of the file in its order, then one of line 0 for each known code that counts nothing any more.
    pub rows: Vec<PlannedRow>,
    /// One count for each SKU that a counted row is about, in the order of their codes.
    pub counts: Vec<SkuCount>,
}

/// What the file gate looks at: the file beside the codes known before it.
#[must_use]
pub fn facts(mode: Mode, file: &ParsedFile, known: &[KnownKey]) -> FileFacts {
    let present = present_keys(file);
    let gone = known.iter().filter(|key| !present.contains(key.vendor_sku.as_str())).count();
    FileFacts {
        mode,
        rows: file.rows(),
        rows_unreadable: file.rows_unreadable(),
        keys_known: known.len() as u64,
        keys_gone: gone as u64,
    }
}

/// Decides what becomes of every row and which number every SKU gets.
#[must_use]
pub fn plan(mode: Mode, file: &ParsedFile, offers: &HashMap<String, Offer>, known: &[KnownKey]) -> Plan {
    let keys = by_key(&file.observations);
    let known_by_key: HashMap<&str, &KnownKey> = known.iter().map(|key| (key.vendor_sku.as_str(), key)).collect();
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    for (key, reading) in &keys {
        let Some(offer) = offers.get(*key) else { continue };
        let sum = sums.entry(&offer.sku).or_default();
        match units_of(reading, offer) {
            Some(units) => sum.add_said(units),
            None => sum.add_remembered(known_by_key.get(key).filter(|known| known.sku.as_ref() == Some(&offer.sku))),
        }
    }
    let silent = silent_keys(mode, file, offers, known, &mut sums);

    let mut rows = in_order(file, |observation| planned(observation, &keys, offers, &sums));
    rows.extend(silent.into_iter().map(|row| row.finish(&sums)));
    let counts =
        sums.iter().filter_map(|(sku, sum)| sum.count().map(|units| SkuCount { sku: (*sku).to_owned(), units }));
    Plan { counts: counts.collect(), rows }
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
        fate,
        note,
    }
}

/// What a SKU's codes say together.
#[derive(Default)]
struct Sum {
    /// Units; wide, because many codes of a billion units each may be added before the sum is judged.
    units: u128,
    /// How many codes said a number in this file, or are gone from it. Without any, the SKU gets no count.
    said: u32,
    /// How many codes were counted in with what they said in an earlier file.
    remembered: u32,
}

impl Sum {
    fn add_said(&mut self, units: u64) {
        self.units += u128::from(units);
        self.said += 1;
    }

    fn add_remembered(&mut self, known: Option<&&KnownKey>) {
        if let Some(units) = known.and_then(|known| known.units) {
            self.units += u128::from(units);
            self.remembered += 1;
        }
    }

    /// The SKU's count; `None` if nothing was said of it or the sum is more than a count may say.
    fn count(&self) -> Option<u64> {
        u64::try_from(self.units).ok().filter(|units| self.said > 0 && *units <= UNITS_MAX)
    }

    /// What a row of the SKU tells about the others.
    fn note(&self) -> Option<String> {
        let earlier = match self.remembered {
            0 => String::new(),
            1 => ", 1 of them as it said in an earlier file".to_owned(),
            many => format!(", {many} of them as they said in an earlier file"),
        };
        let codes = self.said + self.remembered;
        (codes > 1).then(|| format!("{codes} codes are this SKU, {} units together{earlier}", self.units))
    }
}

/// The SKU's units that a code says; `None` if it says no number or one above [`UNITS_MAX`].
fn units_of(reading: &KeyReading, offer: &Offer) -> Option<u64> {
    reading.quantity?.checked_mul(offer.pack_size).filter(|units| *units <= UNITS_MAX)
}

fn present_keys(file: &ParsedFile) -> HashSet<&str> {
    let good = file.observations.iter().map(|observation| observation.key.value());
    good.chain(file.bad_rows.iter().map(|row| row.vendor_sku.as_str())).collect()
}

fn planned(
    observation: &Observation,
    keys: &HashMap<&str, KeyReading>,
    offers: &HashMap<String, Offer>,
    sums: &BTreeMap<&str, Sum>,
) -> PlannedRow {
    let key = observation.key.value();
    let offer = offers.get(key);
    let row = |fate, units, note| PlannedRow {
        sku: offer.map(|offer| offer.sku.clone()),
        units,
        ..uncounted(observation, fate, note)
    };
    if observation.reading.quantity().is_err() {
        return row(Fate::Rejected, None, String::new());
    }
    let (Some(offer), Some(reading)) = (offer, keys.get(key)) else {
        return row(Fate::Unmapped, None, unmapped_note(key));
    };
    let Some(units) = units_of(reading, offer) else {
        return row(Fate::Rejected, None, format!("more than {UNITS_MAX} units, {} in each pack", offer.pack_size));
    };
    let sum = sums.get(offer.sku.as_str());
    if sum.is_some_and(|sum| sum.count().is_none()) {
        return row(Fate::Rejected, None, format!("the codes of this SKU say more than {UNITS_MAX} units together"));
    }
    let notes = [Some(reading.note.clone()).filter(|note| !note.is_empty()), sum.and_then(Sum::note)];
    row(Fate::Counted, Some(units), notes.into_iter().flatten().collect::<Vec<_>>().join("; "))
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
            fate: if counted { Fate::Counted } else { Fate::Rejected },
            note,
        }
    }
}

/// Looks at the codes known from earlier files: those that a FULL file does not have, and those that became another
/// SKU's, count nothing; those that a PARTIAL file does not have count on as they were.
fn silent_keys<'a>(
    mode: Mode,
    file: &ParsedFile,
    offers: &HashMap<String, Offer>,
    known: &'a [KnownKey],
    sums: &mut BTreeMap<&'a str, Sum>,
) -> Vec<Silent<'a>> {
    let present = present_keys(file);
    let mut silent = Vec::new();
    for key in known {
        let Some(sku) = key.sku.as_deref() else { continue };
        let here = present.contains(key.vendor_sku.as_str());
        let why = match offers.get(&key.vendor_sku) {
            Some(offer) if here && offer.sku != sku => format!("the code became SKU {}", offer.sku),
            Some(_) | None if here => continue,
            Some(_) | None if mode == Mode::Partial => {
                if let Some(sum) = sums.get_mut(sku) {
                    sum.add_remembered(Some(&key));
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
