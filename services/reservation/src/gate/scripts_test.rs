use super::super::keys;
use super::*;
use std::collections::{BTreeMap, BTreeSet};

const SCRIPTS: [(&str, &str); 3] = [
    ("take", include_str!("../../lua/take.lua")),
    ("publish", include_str!("../../lua/publish.lua")),
    ("reconcile", include_str!("../../lua/reconcile.lua")),
];
const ACL: &str = include_str!("../../redis.acl");

/// A script's header by section (`KEYS[1]`, `Returns` …), continuation lines joined, and its body without comments.
fn parts(code: &str) -> (BTreeMap<String, String>, String) {
    let header_lines = code.lines().take_while(|line| line.starts_with("--")).count();
    let mut sections: BTreeMap<String, String> = BTreeMap::new();
    let mut current = "purpose".to_owned();
    for line in code.lines().take(header_lines) {
        let line = line.trim_start_matches("--");
        let word = line.trim_start().split(' ').next().unwrap();
        let is_name = line.starts_with(' ') && !line.starts_with("  ") && word.starts_with(|c: char| c.is_uppercase());
        let is_section = is_name && (word.contains('[') || SECTIONS.contains(&word));
        if is_section {
            current = word.to_owned();
        }
        let text = if is_section { line.trim_start().trim_start_matches(word) } else { line };
        sections.entry(current.clone()).or_default().push_str(&format!(" {}", text.trim()));
    }
    let body = code.lines().skip(header_lines).map(|line| line.split("--").next().unwrap());
    (sections, body.collect::<Vec<_>>().join("\n"))
}

const SECTIONS: [&str; 4] = ["Commands", "Returns", "Cost", "Atomic"];

/// All that stands between `open` and the next `close`, wherever it occurs.
fn between<'a>(text: &'a str, open: &str, close: char) -> BTreeSet<&'a str> {
    text.split(open).skip(1).map(|rest| rest.split(close).next().unwrap()).collect()
}

fn commands_in(body: &str) -> BTreeSet<&str> {
    let called = between(body, "redis.call('", '\'');
    called.union(&between(body, "redis.pcall('", '\'')).copied().collect()
}

/// `local A, B = 0, 1` at the top of a body.
fn codes_in(body: &str) -> Vec<(String, i64)> {
    let line = body.lines().find(|line| line.starts_with("local ") && line.contains("= 0, 1")).unwrap();
    let (names, numbers) = line.trim_start_matches("local ").split_once('=').unwrap();
    let numbers = numbers.split(',').map(|number| number.trim().parse().unwrap());
    names.split(',').map(|name| name.trim().to_owned()).zip(numbers).collect()
}

fn arguments(command: &Cmd) -> Vec<String> {
    let all = command.args_iter().map(|argument| match argument {
        redis::Arg::Simple(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    });
    all.collect()
}

fn sku(text: &str) -> Sku {
    Sku::new(text).unwrap()
}

fn location(text: &str) -> Location {
    Location::new(text).unwrap()
}

fn bulk(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

fn id() -> ReservationId {
    ReservationId::from_bytes([7; 16])
}

#[test]
fn every_header_has_every_section() {
    for (name, code) in SCRIPTS {
        let (sections, _) = parts(code);
        assert!(sections["purpose"].starts_with(&format!(" {name}: ")), "{name} opens with its name and purpose");
        for section in ["KEYS[", "ARGV[", "Commands", "Returns", "Cost", "Atomic"] {
            let texts: Vec<_> = sections.iter().filter(|(key, _)| key.starts_with(section)).collect();
            assert!(!texts.is_empty(), "{name} has no {section}");
            assert!(texts.iter().all(|(_, text)| text.trim().len() > 5), "{name}: {texts:?}");
        }
    }
}

#[test]
fn every_header_names_the_commands_of_its_body() {
    for (name, code) in SCRIPTS {
        let (sections, body) = parts(code);
        let declared: BTreeSet<&str> = sections["Commands"].split_whitespace().collect();
        assert_eq!(declared, commands_in(&body), "{name}");
    }
}

#[test]
fn every_header_names_the_keys_and_arguments_of_its_body() {
    for (name, code) in SCRIPTS {
        let (sections, body) = parts(code);
        let body = body.replace(' ', "");
        for array in ["KEYS[", "ARGV["] {
            let declared: BTreeSet<&str> =
                sections.keys().filter_map(|key| key.strip_prefix(array)?.strip_suffix(']')).collect();
            let open_ended = declared.iter().any(|index| index.ends_with('…'));
            let used = between(&body, array, ']');
            for index in &used {
                let in_a_loop = index.starts_with('i') && open_ended;
                assert!(declared.contains(index) || in_a_loop, "{name}: {array}{index}] is not in the header");
            }
            for index in &declared {
                assert!(used.contains(index) || index.ends_with('…'), "{name}: {array}{index}] is not in the body");
            }
        }
    }
}

#[test]
fn every_code_means_the_same_in_header_body_and_here() {
    let here: [(&str, Vec<(String, i64)>); 3] = [
        ("take", TakeCode::ALL.map(|(_, number, name)| (name.to_owned(), number)).to_vec()),
        ("publish", PUBLISH_CODES.map(|(number, name)| (name.to_owned(), number)).to_vec()),
        ("reconcile", Found::ALL.map(|(_, number, name)| (name.to_owned(), number)).to_vec()),
    ];
    for ((name, code), (also, codes)) in SCRIPTS.into_iter().zip(here) {
        let (sections, body) = parts(code);
        assert_eq!(name, also);
        assert_eq!(codes, codes_in(&body), "{name}");
        // In the header a code is followed by its name: `{0} REFUSED: …`, `0 MISSING: …`.
        let returns: String = sections["Returns"].replace(|c: char| !c.is_alphanumeric(), " ");
        let words: Vec<&str> = returns.split_whitespace().filter(|word| !word.starts_with('a')).collect();
        for (code_name, number) in codes {
            let number = number.to_string();
            assert!(words.windows(2).any(|pair| pair == [number.as_str(), &code_name]), "{name}: {number} {code_name}");
        }
    }
}

#[test]
fn the_numbers_of_a_headers_cost_are_those_of_the_body() {
    for (name, code) in SCRIPTS {
        let (sections, body) = parts(code);
        for number in sections["Cost"].split(|c: char| !c.is_ascii_digit()).filter(|digits| digits.len() > 2) {
            assert!(body.contains(&format!("= {number}")), "{name}: {number}");
        }
    }
}

#[test]
fn the_redis_user_may_do_what_the_gate_does_and_no_more() {
    let rules: Vec<&str> = ACL.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect();
    let granted: BTreeSet<String> =
        rules.iter().filter_map(|rule| rule.strip_prefix('+')).map(str::to_uppercase).collect();
    let bodies: Vec<String> = SCRIPTS.iter().map(|(_, code)| parts(code).1).collect();
    let mut needed: BTreeSet<String> = bodies.iter().flat_map(|body| commands_in(body)).map(str::to_owned).collect();
    let cluster = arguments(&topology()).join("|");
    let direct = ["EVALSHA", "SCRIPT|LOAD", &arguments(&read(&sku("A")))[0], &arguments(&asking())[0], &cluster];
    needed.extend(direct.map(str::to_owned));
    assert_eq!(granted, needed);
    let others: Vec<&str> = rules.into_iter().filter(|rule| !rule.starts_with('+')).collect();
    assert_eq!(others, ["resetchannels", "~hf:*", "-@all"]);
}

#[test]
fn a_take_is_called_as_its_header_says() {
    let (a, b) = (sku("A"), sku("B"));
    let command = arguments(&take(id(), 1000, &[(&a, 2), (&b, 3)]));
    let expected = ["4", "hf:a:{A}", "hf:t:{A}", "hf:a:{B}", "hf:t:{B}", &keys::id(id()), "1000", "2", "3"];
    assert_eq!(command[0], "EVALSHA");
    assert_eq!(command[2..], expected);
}

#[test]
fn a_publish_is_called_as_its_header_says() {
    let update = Publish {
        sku: sku("A"),
        read_at: UnixMicros(17),
        scope: Scope::Touched,
        locations: vec![(location("W"), 5), (location("V"), -1)],
        taken_back: vec![(id(), 4)],
    };
    let command = arguments(&publish(&update));
    let take = keys::member(id(), 4);
    assert_eq!(command[2..], ["2", "hf:a:{A}", "hf:t:{A}", "17", "touched", "2", "l:W", "5", "l:V", "0", &take]);
}

#[test]
fn a_reconciliation_is_called_as_its_header_says() {
    let record = Published { sku: sku("A"), locations: vec![(location("W"), i64::MAX)], at: UnixMicros(17) };
    let command = arguments(&reconcile(&record));
    assert_eq!(command[2..], ["2", "hf:a:{A}", "hf:t:{A}", "17", "l:W", "999999999999999999"]);
}

#[test]
fn an_answer_that_makes_no_sense_is_none() {
    let hash = || Value::Array(vec![bulk("l:W"), bulk("5"), bulk("at"), bulk("17")]);
    assert!(decode_take(&Value::Array(vec![Value::Int(1), hash()]), 1).is_some());
    let nonsense = [
        Value::Nil,
        Value::Int(1),
        Value::Array(Vec::new()),
        Value::Array(vec![Value::Int(3)]),
        Value::Array(vec![bulk("1"), hash()]),
        Value::Array(vec![Value::Int(1)]),
        Value::Array(vec![Value::Int(1), hash(), hash()]),
        Value::Array(vec![Value::Int(0), hash()]),
        Value::Array(vec![Value::Int(1), Value::Int(5)]),
    ];
    for answer in nonsense {
        assert_eq!(decode_take(&answer, 1), None, "{answer:?}");
    }
    assert!(!is_publish_reply(&Value::Int(2)) && is_publish_reply(&Value::Int(0)));
    assert_eq!(decode_reconcile(&Value::Array(vec![Value::Int(3), Value::Int(0), Value::Int(0), Value::Int(0)])), None);
}

#[test]
fn a_hash_that_is_not_ours_is_none() {
    let decode = |pairs: &[&str]| decode_hash(&Value::Array(pairs.iter().map(|text| bulk(text)).collect()));
    assert_eq!(
        decode(&["l:W", "5", "at", "17", "taken", "2", "stray", "x"]),
        Some((vec![(location("W"), 5)], UnixMicros(17)))
    );
    for pairs in [&["l:W", "5"][..], &["at", "x"], &["at", "1", "l:W", "-1"], &["at", "1", "l:W", "x"], &["at"], &[]] {
        assert_eq!(decode(pairs), None, "{pairs:?}");
    }
    assert_eq!(decode(&["at", "1", "l:", "5"]), None, "no location is empty");
    assert_eq!(decode_hash(&Value::Array(vec![Value::BulkString(vec![0xff]), bulk("1")])), None, "not UTF-8");
}
