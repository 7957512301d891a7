//! Who has which hash slot of a Redis Cluster, as its nodes tell it: pure.

use super::access::Node;
use redis::{ServerError, Value};

/// How many slots there are.
pub(super) const SLOTS: usize = 16_384;

/// The slot of a key whose hash tag this is.
pub(super) fn slot_of(tag: &str) -> u16 {
    // CRC-16/XMODEM, as the specification of Redis Cluster has it.
    let crc = tag.bytes().fold(0_u16, |crc, byte| {
        (0..8)
            .fold(crc ^ (u16::from(byte) << 8), |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 })
    });
    crc & 0x3fff
}

/// What a node answers that does not have what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Redirect {
    /// The slot is another node's for good.
    Moved(Option<Node>),
    /// The slot is on its way to another node, which has these keys already, or would.
    Ask(Option<Node>),
    /// The slot is on its way and so are these keys: some are here, some there.
    TryAgain,
    /// Nobody has the slot, as far as this node knows.
    Unserved,
}

impl Redirect {
    /// As metrics name it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Moved(_) => "moved",
            Self::Ask(_) => "ask",
            Self::TryAgain => "try_again",
            Self::Unserved => "unserved",
        }
    }
}

/// Reads an error of a node; none for any error that is not about who has a slot. `asked` is who said it: a node that does not know its own name leaves it out.
pub(super) fn redirect(error: &ServerError, asked: Option<&Node>) -> Option<Redirect> {
    match error.code() {
        "MOVED" => Some(Redirect::Moved(target(error, asked))),
        "ASK" => Some(Redirect::Ask(target(error, asked))),
        "TRYAGAIN" => Some(Redirect::TryAgain),
        "CLUSTERDOWN" if error.details().is_some_and(|text| text.starts_with("Hash slot not served")) => {
            Some(Redirect::Unserved)
        }
        _ => None,
    }
}

/// `3999 127.0.0.1:6381`, where the host may be missing.
fn target(error: &ServerError, asked: Option<&Node>) -> Option<Node> {
    let (_slot, address) = error.details()?.split_once(' ')?;
    let (host, port) = address.trim().rsplit_once(':')?;
    node(host, port.parse().ok()?, asked)
}

fn node(host: &str, port: u16, asked: Option<&Node>) -> Option<Node> {
    match host {
        "?" => None,
        "" => Some(Node { host: asked?.host.clone(), port }),
        host => Some(Node { host: host.to_owned(), port }),
    }
}

/// The masters and their slots: ranges ascending, each with its first and last slot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct View {
    pub(super) ranges: Vec<(u16, u16, Node)>,
}

impl View {
    /// Reads the answer to `CLUSTER SLOTS`; none if it makes no sense. Ranges whose master nobody can name are left out, replicas too.
    pub(super) fn read(answer: &Value, asked: &Node) -> Option<Self> {
        let Value::Array(entries) = answer else { return None };
        let mut ranges = Vec::with_capacity(entries.len());
        for entry in entries {
            let Value::Array(entry) = entry else { return None };
            let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = entry.as_slice() else { return None };
            let (first, last) = (slot(*first)?, slot(*last)?);
            let [host, Value::Int(port), ..] = master.as_slice() else { return None };
            let host = match host {
                Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?,
                Value::Nil => "",
                _ => return None,
            };
            if first > last {
                return None;
            }
            if let Some(node) = node(host, u16::try_from(*port).ok()?, Some(asked)) {
                ranges.push((first, last, node));
            }
        }
        ranges.sort();
        Some(Self { ranges })
    }

    /// What most of them say; the first of those that are said equally often.
    pub(super) fn of_most(views: Vec<Self>) -> Option<Self> {
        let votes = |view: &Self| views.iter().filter(|other| *other == view).count();
        let best = views.iter().map(votes).max()?;
        let position = views.iter().position(|view| votes(view) == best)?;
        views.into_iter().nth(position)
    }

    /// The masters, each once.
    pub(super) fn nodes(&self) -> Vec<Node> {
        let mut nodes: Vec<Node> = self.ranges.iter().map(|(_, _, node)| node.clone()).collect();
        nodes.sort();
        nodes.dedup();
        nodes
    }
}

fn slot(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|slot| usize::from(*slot) < SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Node {
        Node { host: host.to_owned(), port }
    }

    fn error(line: &str) -> ServerError {
        let parsed = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("RESP");
        let Value::ServerError(error) = parsed else { panic!("{parsed:?}") };
        error
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(slot_of("123456789"), 0x31c3);
        assert_eq!(slot_of("foo"), 12_182);
        assert_eq!(slot_of("somekey"), 11_058);
        assert_eq!(slot_of(""), 0);
    }

    #[test]
    fn redirections_name_who_has_the_slot() {
        let asked = at("10.0.0.1", 6379);
        let read = |line: &str| redirect(&error(line), Some(&asked));
        assert_eq!(read("MOVED 3999 127.0.0.1:6381"), Some(Redirect::Moved(Some(at("127.0.0.1", 6381)))));
        assert_eq!(read("ASK 3999 ::1:6381"), Some(Redirect::Ask(Some(at("::1", 6381)))));
        assert_eq!(read("MOVED 3999 :6381"), Some(Redirect::Moved(Some(at("10.0.0.1", 6381)))));
        assert_eq!(read("MOVED 3999 ?:6381"), Some(Redirect::Moved(None)));
        assert_eq!(read("MOVED nonsense"), Some(Redirect::Moved(None)));
        assert_eq!(read("TRYAGAIN Multiple keys request during rehashing of slot"), Some(Redirect::TryAgain));
        assert_eq!(read("CLUSTERDOWN Hash slot not served"), Some(Redirect::Unserved));
        assert_eq!(read("CLUSTERDOWN The cluster is down"), None, "this one is the node's trouble");
        assert_eq!(read("OOM command not allowed"), None);
    }

    fn entry(first: i64, last: i64, host: Value, port: i64) -> Value {
        let replica = Value::Array(vec![Value::BulkString(b"10.9.9.9".to_vec()), Value::Int(1)]);
        Value::Array(vec![Value::Int(first), Value::Int(last), Value::Array(vec![host, Value::Int(port)]), replica])
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_view_has_the_masters_and_no_replica() {
        let asked = at("10.0.0.1", 7000);
        let answer = Value::Array(vec![
            entry(8192, 16_383, text("10.0.0.2"), 7001),
            entry(0, 8000, Value::Nil, 7000),
            entry(8001, 8001, text(""), 7000),
            entry(8002, 8002, text("?"), 7003),
        ]);
        let view = View::read(&answer, &asked).expect("a view");
        let expected = [(0, 8000, at("10.0.0.1", 7000)), (8001, 8001, at("10.0.0.1", 7000))];
        assert_eq!(view.ranges[..2], expected);
        assert_eq!(view.ranges[2..], [(8192, 16_383, at("10.0.0.2", 7001))]);
        assert_eq!(view.nodes(), [at("10.0.0.1", 7000), at("10.0.0.2", 7001)]);
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_no_view() {
        let asked = at("a", 1);
        for answer in [
            Value::Nil,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![entry(-1, 5, text("a"), 1)]),
            Value::Array(vec![entry(0, 16_384, text("a"), 1)]),
            Value::Array(vec![entry(6, 5, text("a"), 1)]),
            Value::Array(vec![entry(0, 5, text("a"), 70_000)]),
            Value::Array(vec![entry(0, 5, Value::Int(7), 1)]),
        ] {
            assert_eq!(View::read(&answer, &asked), None, "{answer:?}");
        }
        assert_eq!(View::read(&Value::Array(Vec::new()), &asked), Some(View::default()));
    }

    #[test]
    fn one_node_that_is_cut_off_does_not_outvote_the_others() {
        let view = |host: &str| View { ranges: vec![(0, 16_383, at(host, 1))] };
        assert_eq!(View::of_most(vec![view("old"), view("new"), view("new")]), Some(view("new")));
        assert_eq!(View::of_most(vec![view("a"), view("b")]), Some(view("a")));
        assert_eq!(View::of_most(Vec::new()), None);
    }
}
