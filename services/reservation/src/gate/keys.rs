//! Builds every Redis key, field and member that Holdfast uses; no other file spells one.
//!
//! | what | name | holds |
//! |---|---|---|
//! | availability | `hf:a:{<sku>}`, a hash | `l:<location>` → units available as last published; `at` → when they were read, in microseconds since 1970 by Postgres's clock; `taken` → the units of all takes together, absent for none |
//! | takes | `hf:t:{<sku>}`, a sorted set | member `<reservation id, 32 hexadecimal digits>:<units>`, score = when the take lapses, in milliseconds since 1970 by Redis's clock |
//!
//! `taken` is the sum of the set's members, kept beside it so that asking for a take costs the same whether ten or ten
//! thousand takes are there. An empty set means 0 whatever the field says, and a missing field is added up anew.
//!
//! **The hash tag.** Redis Cluster hashes only what stands between the first `{` and the next `}`, so that both keys of
//! a SKU lie in one slot. `{`, `}` and `%` within a SKU are therefore written `%7B`, `%7D` and `%25`: no SKU can end the
//! tag early or pass for another.
//!
//! **The prefix** `hf:` is what the Redis user may touch and nothing else (`redis.acl`).

use super::slots;
use holdfast_stock::{Location, ReservationId, Sku};
use std::borrow::Cow;

/// The keys that a probe of Redis names, availability and takes. There are many, for each node of a cluster must be asked for a slot that it has. No SKU escapes to `%:` and
/// a number, so nothing is ever in them.
pub(super) fn probe(number: u32) -> (String, String) {
    let tag = probe_tag(number);
    (format!("{AVAILABILITY}{tag}}}"), format!("{TAKES}{tag}}}"))
}

/// The slot of that probe's keys.
pub(super) fn probe_slot(number: u32) -> u16 {
    slots::slot_of(&probe_tag(number))
}

fn probe_tag(number: u32) -> String {
    format!("%:{number}")
}

/// When the availability was read.
pub(super) const FIELD_AT: &str = "at";

const LOCATION_PREFIX: &str = "l:";
const AVAILABILITY: &str = "hf:a:{";
const TAKES: &str = "hf:t:{";

/// The availability hash of a SKU.
pub(super) fn availability(sku: &Sku) -> String {
    tagged(AVAILABILITY, sku)
}

/// The sorted set of a SKU's takes.
pub(super) fn takes(sku: &Sku) -> String {
    tagged(TAKES, sku)
}

/// The slot of a SKU's keys in a cluster.
pub(super) fn slot(sku: &Sku) -> u16 {
    slots::slot_of(&escaped(sku))
}

/// The field of a location in the availability hash.
pub(super) fn field(location: &Location) -> String {
    format!("{LOCATION_PREFIX}{location}")
}

/// The location that a field of the availability hash names; none for any other field.
pub(super) fn location_of(field: &str) -> Option<&str> {
    field.strip_prefix(LOCATION_PREFIX)
}

/// A reservation as takes name it.
pub(super) fn id(id: ReservationId) -> String {
    format!("{:032x}", u128::from_be_bytes(id.to_bytes()))
}

/// A take in the sorted set.
pub(super) fn member(reservation: ReservationId, units: i64) -> String {
    format!("{}:{units}", id(reservation))
}

fn tagged(prefix: &str, sku: &Sku) -> String {
    let tag = escaped(sku);
    let mut key = String::with_capacity(prefix.len() + tag.len() + 1);
    key.push_str(prefix);
    key.push_str(&tag);
    key.push('}');
    key
}

fn escaped(sku: &Sku) -> Cow<'_, str> {
    let text = sku.as_str();
    if !text.contains(['{', '}', '%']) {
        return Cow::Borrowed(text);
    }
    let mut tag = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '{' => tag.push_str("%7B"),
            '}' => tag.push_str("%7D"),
            '%' => tag.push_str("%25"),
            other => tag.push(other),
        }
    }
    Cow::Owned(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sku(text: &str) -> Sku {
        Sku::new(text).unwrap()
    }

    /// What Redis Cluster hashes, by its specification.
    fn hash_tag(key: &str) -> &str {
        let start = key.find('{').unwrap() + 1;
        let length = key[start..].find('}').unwrap();
        &key[start..start + length]
    }

    #[test]
    fn a_plain_sku_stands_in_its_keys_as_it_is() {
        assert_eq!(availability(&sku("CHAIR-ERGO-BLK")), "hf:a:{CHAIR-ERGO-BLK}");
        assert_eq!(takes(&sku("CHAIR-ERGO-BLK")), "hf:t:{CHAIR-ERGO-BLK}");
    }

    #[test]
    fn both_keys_of_a_sku_hash_to_one_slot_whatever_is_in_it() {
        for text in ["A", "}", "{", "{}", "A}B", "a{b}c", "%7D", "日本 椅子", "%"] {
            let (a, t) = (availability(&sku(text)), takes(&sku(text)));
            assert_eq!(hash_tag(&a), hash_tag(&t));
            assert_eq!(slots::slot_of(hash_tag(&a)), slot(&sku(text)));
            assert!(!hash_tag(&a).is_empty());
            assert!(a.ends_with('}') && a.len() == hash_tag(&a).len() + "hf:a:{}".len(), "the tag is the rest of {a}");
        }
    }

    #[test]
    fn no_two_skus_share_a_key_and_none_has_the_probes() {
        let texts = ["}", "%7D", "%257D", "{", "%7B", "%", "%25", "a}", "a%7D", "%:1", "%25:1"];
        let mut keys: Vec<_> = texts.iter().map(|text| availability(&sku(text))).collect();
        keys.push(probe(1).0);
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), texts.len() + 1);
    }

    #[test]
    fn a_probe_lies_in_the_slot_that_is_told() {
        let (a, t) = probe(17);
        assert_eq!((a.as_str(), t.as_str()), ("hf:a:{%:17}", "hf:t:{%:17}"));
        assert_eq!(slots::slot_of(hash_tag(&a)), probe_slot(17));
    }

    #[test]
    fn a_take_names_the_reservation_and_its_units() {
        let id = ReservationId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(member(id, 3), "000102030405060708090a0b0c0d0eff:3");
    }

    #[test]
    fn only_a_locations_field_names_one() {
        let location = Location::new("WH-1").unwrap();
        assert_eq!(location_of(&field(&location)), Some("WH-1"));
        assert_eq!(location_of(FIELD_AT), None);
        assert_eq!(location_of("taken"), None);
    }
}
