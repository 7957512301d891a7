//! The list of metrics by which alerts and dashboards are checked is what the services say: a metric that is renamed fails here, and then there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use holdfast_client::{Line, RequestKey, ReservationKey, Reserve};
use holdfast_stack::http;
use holdfast_testkit::eventually;

use crate::world::{Cluster, Options, scenario};

/// What stands above the list.
const HEAD: &str = "\
# Every metric of the services: name, type, labels (-: none, ?: not seen by the test yet), services. Alerts, runbooks and dashboards are checked against it.
# Written by a test from /metrics of running services:
#   HOLDFAST_WRITE=1 cargo nextest run -p holdfast-tests alerts_and_dashboards_know_every_metric
";

/// A family: its type, its labels if a sample of it was seen, and who says it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Family {
    kind: String,
    labels: Option<BTreeSet<String>>,
    services: BTreeSet<String>,
}

type Families = BTreeMap<String, Family>;

#[test]
fn alerts_and_dashboards_know_every_metric() {
    scenario(Options::whole(), async |cluster| {
        some_of_everything(cluster).await;
        let seen = eventually("the slowest looks have been taken", Duration::from_secs(60), || async {
            let seen = families(cluster).await;
            let slow = ["holdfast_holds", "holdfast_vendor_sync_quarantine_waiting", "holdfast_strayed_rows"];
            slow.iter().all(|name| seen.get(*name).is_some_and(|family| family.labels.is_some())).then_some(seen)
        })
        .await;
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../k8s/holdfast/metrics.txt");
        let listed = read(&std::fs::read_to_string(&file).unwrap_or_default());
        if std::env::var_os("HOLDFAST_WRITE").is_some() {
            std::fs::write(&file, written(&merged(seen, &listed))).expect("it can be written");
            return;
        }
        let problems = differences(&seen, &listed);
        assert!(problems.is_empty(), "{}\nif that is meant:\n{HEAD}", problems.join("\n"));
    });
}

#[test]
fn a_metric_that_is_renamed_or_loses_a_label_is_told_and_one_that_was_not_seen_is_not() {
    let listed = read("holdfast_a counter x,y reservation\nholdfast_b gauge - catalog\nholdfast_c gauge z catalog\n");
    let text = "# TYPE holdfast_a counter\nholdfast_a_total{y=\"}\",x=\"\\\"{\"} 1 # {trace_id=\"1\"} 2\n# TYPE holdfast_b gauge\n\
                holdfast_b 1\n# TYPE holdfast_c gauge\n";
    let said = |reservation: &str, catalog: &str| {
        let mut seen = Families::new();
        note(&mut seen, "reservation", reservation);
        note(&mut seen, "catalog", catalog);
        seen
    };
    let (a, rest) = text.split_at(text.find("# TYPE holdfast_b").expect("it is there"));
    assert_eq!(differences(&said(a, rest), &listed), Vec::<String>::new());
    for (wrong, told) in [
        (said(&a.replace("_a", "_d"), rest), "holdfast_a is said by nobody; holdfast_d is not listed"),
        (said(&a.replace("y=\"}\",", ""), rest), "holdfast_a has the labels x, not x,y"),
        (said(a, &rest.replace("holdfast_b gauge", "holdfast_b counter")), "holdfast_b is a counter, not a gauge"),
        (said(&format!("{a}{rest}"), ""), "holdfast_b is said by reservation, not by catalog"),
    ] {
        let problems = differences(&wrong, &listed).join("; ");
        assert!(problems.starts_with(told), "{problems}");
    }
    let again = read(&written(&merged(said(a, rest), &listed)));
    assert_eq!(again, listed, "what is written is read again, and what was not seen keeps its labels");
}

/// Lets most metrics have something to say.
async fn some_of_everything(cluster: &Cluster) {
    cluster.count(&[("DESK", 5)]).await;
    let reservations = cluster.reservations();
    let key = ReservationKey::new();
    reservations.reserve(&Reserve::new(key, "cart", [Line::anywhere("DESK", 1)])).await.expect("there are five");
    reservations.confirm(RequestKey::new(), key).await.expect("it is held");
    let much = Reserve::new(ReservationKey::new(), "cart", [Line::anywhere("DESK", 9)]);
    reservations.reserve(&much).await.expect_err("there are four");
}

async fn families(cluster: &Cluster) -> Families {
    let mut seen = Families::new();
    for process in cluster.reservation.iter().chain(&cluster.catalog).chain(&cluster.vendor_sync) {
        let (status, text) = http::get(process.admin(), "/metrics").await.expect("the admin port answers");
        assert_eq!(status, 200);
        note(&mut seen, process.service().binary().trim_start_matches("holdfast-"), &text);
    }
    seen
}

/// Notes what a service says.
fn note(seen: &mut Families, service: &str, text: &str) {
    let mut now = String::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            now = name.to_owned();
            let family = Family { kind: kind.to_owned(), labels: None, services: BTreeSet::new() };
            seen.entry(now.clone()).or_insert(family).services.insert(service.to_owned());
        } else if !line.starts_with('#')
            && let Some(family) = seen.get_mut(&now)
        {
            family.labels = Some(labels(line));
        }
    }
}

/// The names of a sample's labels, without a histogram's bounds.
fn labels(sample: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    // The name ends where labels begin, or at the space before the value.
    let Some(mut rest) = sample.find(['{', ' ']).and_then(|at| sample[at..].strip_prefix('{')) else { return names };
    while let Some((name, after)) = rest.split_once("=\"") {
        names.insert(name.trim_start_matches(',').to_owned());
        let mut escaped = false;
        let end = after.find(|character| {
            let ends = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        });
        rest = &after[end.expect("a value ends") + 1..];
        if rest.starts_with('}') {
            break;
        }
    }
    names.remove("le");
    names
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

fn read(text: &str) -> Families {
    let names = |text: &str| text.split(',').filter(|name| *name != "-").map(str::to_owned).collect();
    let family = |line: &str| {
        let [name, kind, labels, services] = line.split(' ').collect::<Vec<_>>().try_into().expect("four words");
        let labels = (labels != "?").then(|| names(labels));
        (name.to_owned(), Family { kind: kind.to_owned(), labels, services: names(services) })
    };
    text.lines().filter(|line| !line.starts_with('#')).map(family).collect()
}

fn written(families: &Families) -> String {
    let line = |(name, family): (&String, &Family)| {
        let labels = match &family.labels {
            None => "?".to_owned(),
            Some(labels) if labels.is_empty() => "-".to_owned(),
            Some(labels) => list(labels),
        };
        format!("{name} {} {labels} {}\n", family.kind, list(&family.services))
    };
    HEAD.to_owned() + &families.iter().map(line).collect::<String>()
}

/// What was seen; labels that were not seen this time are as they were.
fn merged(mut seen: Families, listed: &Families) -> Families {
    for (name, family) in &mut seen {
        if family.labels.is_none() {
            family.labels = listed.get(name).and_then(|listed| listed.labels.clone());
        }
    }
    seen
}

fn differences(seen: &Families, listed: &Families) -> Vec<String> {
    let gone = listed.keys().filter(|name| !seen.contains_key(*name)).map(|name| format!("{name} is said by nobody"));
    let mut problems: Vec<String> = gone.collect();
    for (name, family) in seen {
        let Some(listed) = listed.get(name) else {
            problems.push(format!("{name} is not listed"));
            continue;
        };
        if family.kind != listed.kind {
            problems.push(format!("{name} is a {}, not a {}", family.kind, listed.kind));
        }
        if family.services != listed.services {
            let (now, before) = (list(&family.services), list(&listed.services));
            problems.push(format!("{name} is said by {now}, not by {before}"));
        }
        if let (Some(now), Some(before)) = (&family.labels, &listed.labels)
            && now != before
        {
            problems.push(format!("{name} has the labels {}, not {}", list(now), list(before)));
        }
    }
    problems
}
