//! What each code of a file says, as far as the guards believe it, and what the codes of a SKU say together.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Beside, Effect, KnownKey, Offer, Stopped};
use crate::{
    UNITS_MAX,
    formats::ParsedFile,
    guards::{
        jump::{self, Change, Rule},
        row::{KeyReading, by_key},
    },
    observation::Mode,
};

/// The codes of a file that offers map, with their words.
pub(super) struct Words<'a> {
    pub(super) by_key: HashMap<&'a str, KeyWord<'a>>,
    known: HashMap<&'a str, &'a KnownKey>,
}

/// What a code says.
pub(super) struct KeyWord<'a> {
    pub(super) offer: &'a Offer,
    /// The vendor's units, of whichever row counts.
    pub(super) quantity: Option<u64>,
    pub(super) said: Word,
    /// What is to be told on its rows.
    pub(super) note: String,
}

/// What a code says, in units of the SKU.
pub(super) enum Word {
    /// So many.
    Units(u64),
    /// A number that a guard stopped.
    Stopped(StoppedWord),
    /// No number that could count.
    Nothing,
}

/// A number that a guard stopped.
pub(super) struct StoppedWord {
    /// What was counted before: a limit says no more than a count did.
    pub(super) old: Option<u64>,
    /// The same without the sold units that the new number reflects: what the guards compared with.
    pub(super) expected: Option<u64>,
    pub(super) new: Option<u64>,
    pub(super) rules: Vec<Rule>,
    pub(super) explanation: String,
    pub(super) is_decrease: bool,
}

impl StoppedWord {
    /// The rules' names.
    pub(super) fn names(&self) -> String {
        self.rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// What the code adds while the number waits: the lower of the old and the new one.
    fn meanwhile(&self) -> u64 {
        match (self.old, self.new) {
            (Some(old), Some(new)) => old.min(new),
            (Some(old), None) => old,
            (None, _) => 0,
        }
    }
}

impl<'a> Words<'a> {
    /// Reads every code that an offer maps.
    pub(super) fn of(file: &'a ParsedFile, beside: &Beside<'a>) -> Self {
        let keys = by_key(&file.observations);
        let known: HashMap<&str, &KnownKey> = beside.known.iter().map(|key| (key.vendor_sku.as_str(), key)).collect();
        let ambiguous: HashSet<&str> = ambiguous_keys(file);
        let codes = codes_by_sku(beside.mode, file, beside.offers, beside.known);
        let word = |(key, reading): (&'a str, KeyReading)| {
            let offer = beside.offers.get(key)?;
            let prior = known.get(key).filter(|known| known.sku.as_ref() == Some(&offer.sku)).and_then(|key| key.units);
            let alone = codes.get(offer.sku.as_str()) == Some(&1);
            // Of several codes nobody can say which one the other's count was about.
            let old = beside.on_hand.get(&offer.sku).copied().filter(|_| alone).or(prior);
            let reflected = beside.reflectable.get(&offer.sku).copied().filter(|_| alone).unwrap_or(0);
            let said = match units_of(&reading, offer) {
                Some(new) => judged(old, reflected, new, offer, beside),
                None if reading.quantity.is_none() && ambiguous.contains(key) => Word::Stopped(StoppedWord {
                    old,
                    expected: old.map(|old| old.saturating_sub(reflected)),
                    new: None,
                    rules: vec![Rule::R1],
                    explanation: "R1: the number can be read in two ways".to_owned(),
                    is_decrease: false,
                }),
                None => Word::Nothing,
            };
            Some((key, KeyWord { offer, quantity: reading.quantity, said, note: reading.note }))
        };
        Self { by_key: keys.into_iter().filter_map(word).collect(), known }
    }

    /// What a code said before, if it was about the same SKU.
    pub(super) fn known(&self, key: &str, offer: &Offer) -> Option<&'a KnownKey> {
        self.known.get(key).copied().filter(|known| known.sku.as_ref() == Some(&offer.sku))
    }

    /// The codes that were stopped, in the order of the file.
    pub(super) fn stopped(&self, file: &ParsedFile, sums: &BTreeMap<&str, Sum>) -> Vec<Stopped> {
        let mut seen = HashSet::new();
        let mut all = Vec::new();
        for observation in &file.observations {
            let key = observation.key.value();
            let Some(word) = self.by_key.get(key) else { continue };
            let Word::Stopped(stopped) = &word.said else { continue };
            // The row that is shown is one that was stopped: not an unreadable twin of it.
            let is_it = match stopped.new {
                Some(_) => observation.reading.quantity().ok() == word.quantity,
                None => observation.reading.is_ambiguous(),
            };
            if !is_it || !seen.insert(key) {
                continue;
            }
            let had_limit = self.known(key, word.offer).is_some_and(|known| known.waiting.is_some());
            let is_limited = sums
                .get(word.offer.sku.as_str())
                .and_then(Sum::count)
                .is_some_and(|(_, effect)| effect == Effect::Limit && (stopped.is_decrease || had_limit));
            all.push(Stopped {
                line: observation.line,
                vendor_sku: key.to_owned(),
                sku: word.offer.sku.clone(),
                raw_quantity: observation.raw_quantity.clone(),
                pack_size: word.offer.pack_size,
                old: stopped.old,
                expected: stopped.expected,
                new: stopped.new,
                rules: stopped.rules.clone(),
                explanation: stopped.explanation.clone(),
                is_decrease: stopped.is_decrease,
                is_limited,
            });
        }
        all
    }
}

/// What the row guards make of a number, beside what was there without the sold units that it reflects.
fn judged(old: Option<u64>, reflected: u64, new: u64, offer: &Offer, beside: &Beside<'_>) -> Word {
    let expected = old.map(|old| old.saturating_sub(reflected));
    let change = Change { old: expected, new, pack_size: offer.pack_size, judge_unknown: !beside.is_first };
    match jump::check(beside.limits, &change) {
        None => Word::Units(new),
        Some(stop) => Word::Stopped(StoppedWord {
            old,
            expected,
            new: Some(new),
            rules: stop.rules,
            explanation: match old {
                Some(old) if reflected > 0 => {
                    format!("{}; there were {old}, and {reflected} sold since are off them", stop.explanation)
                }
                Some(_) | None => stop.explanation,
            },
            is_decrease: stop.is_decrease,
        }),
    }
}

/// What a SKU's codes say together.
#[derive(Default)]
pub(super) struct Sum {
    /// Units; wide, because many codes of a billion units each may be added before the sum is judged.
    units: u128,
    /// How many codes said a number in this file, or are gone from it.
    said: u32,
    /// How many codes were counted in with what they said in an earlier file.
    remembered: u32,
    /// How many codes wait for a person with what they say in this file.
    stopped: u32,
    /// Whether a lower number waits, of this file or an earlier one: the sum is a limit then.
    is_limited: bool,
    /// Whether there is a limit to be set even if nothing else was said: a new one, or one in an older one's place.
    sets_limit: bool,
}

impl Sum {
    /// Adds what a code says; of one that says nothing, what it said before.
    pub(super) fn add(&mut self, word: &KeyWord<'_>, known: Option<&KnownKey>) {
        match &word.said {
            Word::Units(units) => self.add_said(*units),
            Word::Nothing => self.add_remembered(known),
            Word::Stopped(stopped) => {
                self.units += u128::from(stopped.meanwhile());
                self.stopped += 1;
                self.is_limited |= stopped.is_decrease;
                self.sets_limit |= stopped.is_decrease || known.is_some_and(|known| known.waiting.is_some());
            }
        }
    }

    pub(super) fn add_said(&mut self, units: u64) {
        self.units += u128::from(units);
        self.said += 1;
    }

    pub(super) fn add_remembered(&mut self, known: Option<&KnownKey>) {
        let Some(known) = known else { return };
        if let Some(units) = known.units {
            self.units += u128::from(known.waiting.map_or(units, |waiting| waiting.min(units)));
            self.remembered += 1;
        }
        self.is_limited |= known.waiting.is_some();
    }

    /// The SKU's count; `None` if nothing was said of it or the sum is more than a count may say.
    pub(super) fn count(&self) -> Option<(u64, Effect)> {
        let units = u64::try_from(self.units).ok().filter(|units| *units <= UNITS_MAX)?;
        match (self.said > 0, self.is_limited, self.sets_limit) {
            (true, false, _) => Some((units, Effect::Set)),
            (true, true, _) | (false, _, true) => Some((units, Effect::Limit)),
            (false, _, false) => None,
        }
    }

    /// What a row of the SKU tells about the others.
    pub(super) fn note(&self) -> Option<String> {
        let earlier = match self.remembered {
            0 => String::new(),
            1 => ", 1 of them as it said in an earlier file".to_owned(),
            many => format!(", {many} of them as they said in an earlier file"),
        };
        let waiting = match (self.stopped, self.is_limited) {
            (0, false) => "",
            (0, true) => ", no more than that is offered while a lower number waits for a person",
            (_, _) => ", with the lower of the old and the new number of what waits for a person",
        };
        let codes = self.said + self.remembered + self.stopped;
        (codes > 1).then(|| format!("{codes} codes are this SKU, {} units together{earlier}{waiting}", self.units))
    }
}

/// The SKU's units that a code says; `None` if it says no number or one above [`UNITS_MAX`].
fn units_of(reading: &KeyReading, offer: &Offer) -> Option<u64> {
    reading.quantity?.checked_mul(offer.pack_size).filter(|units| *units <= UNITS_MAX)
}

/// Codes of which a row has a number that could be two.
fn ambiguous_keys(file: &ParsedFile) -> HashSet<&str> {
    let ambiguous = file.observations.iter().filter(|observation| observation.reading.is_ambiguous());
    ambiguous.map(|observation| observation.key.value()).collect()
}

/// How many codes speak for each SKU: those of the file, and the known ones that a PARTIAL file leaves out.
fn codes_by_sku<'a>(
    mode: Mode,
    file: &'a ParsedFile,
    offers: &'a HashMap<String, Offer>,
    known: &'a [KnownKey],
) -> HashMap<&'a str, u32> {
    let here: HashSet<&str> = file.observations.iter().map(|observation| observation.key.value()).collect();
    let mut codes = HashMap::new();
    for offer in here.iter().filter_map(|key| offers.get(*key)) {
        *codes.entry(offer.sku.as_str()).or_insert(0) += 1;
    }
    if mode == Mode::Partial {
        let silent = known.iter().filter(|key| !here.contains(key.vendor_sku.as_str()));
        for sku in silent.filter_map(|key| key.sku.as_deref()) {
            *codes.entry(sku).or_insert(0) += 1;
        }
    }
    codes
}

/// See [`super::alone`].
pub(super) fn alone(
    mode: Mode,
    file: &ParsedFile,
    offers: &HashMap<String, Offer>,
    known: &[KnownKey],
) -> BTreeMap<String, bool> {
    let codes = codes_by_sku(mode, file, offers, known);
    let with_history: HashSet<(&str, &str)> = known
        .iter()
        .filter(|key| key.units.is_some())
        .filter_map(|key| Some((key.vendor_sku.as_str(), key.sku.as_deref()?)))
        .collect();
    file.observations
        .iter()
        .map(|observation| observation.key.value())
        .filter_map(|key| Some((key, offers.get(key)?)))
        .filter(|(_, offer)| codes.get(offer.sku.as_str()) == Some(&1))
        .map(|(key, offer)| (offer.sku.clone(), with_history.contains(&(key, offer.sku.as_str()))))
        .collect()
}
