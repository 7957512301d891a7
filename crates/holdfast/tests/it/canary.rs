//! The canary, against the three roles as processes: again and again, several at once, after one that was cut off, and where it cannot be had.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::world::{Shop, ends};

const SKU: &str = "HOLDFAST-CANARY";

#[tokio::test]
async fn a_canary_makes_its_unit_uses_it_and_leaves_one() {
    let shop = Shop::open().await;
    let first = shop.json(&["canary"]).await;
    assert_eq!(steps(&first), ["make", "reserve", "record", "refuse", "counters", "release", "back"]);
    let again = shop.json(&["canary"]).await;
    assert_eq!(steps(&again), ["reserve", "record", "refuse", "counters", "release", "back"]);
    assert_ne!(first["reservation_id"], again["reservation_id"]);
    left_as_it_was(&shop).await;

    // As a table it reads alone.
    let (out, error, code) = ends(shop.ctl(&["canary"])).await;
    assert!(code == 0 && out.contains("1 requested, 0 available"), "{out}{error}");
    shop.close().await;
}

#[tokio::test]
async fn canaries_that_run_at_once_wait_for_each_other_and_none_fails() {
    let shop = Shop::open().await;
    // The first ones meet while there is nothing yet.
    let runs: Vec<_> = (0..4)
        .map(|_| {
            let mut command = shop.ctl(&["canary", "--output", "json"]);
            tokio::spawn(async move { command.output().await.unwrap() })
        })
        .collect();
    for run in runs {
        let output = run.await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    left_as_it_was(&shop).await;
    shop.close().await;
}

#[tokio::test]
async fn a_canary_that_was_cut_off_holds_up_the_next_one_only_until_its_hold_ends() {
    let shop = Shop::open().await;
    shop.json(&["canary"]).await;
    // Killed in the middle, as far as anybody can tell: its hold stands, and nobody gives it back.
    let hold = ["reserve", "--owner", "holdfast-canary", "--hold", "3s", "HOLDFAST-CANARY=1"];
    shop.json(&hold).await;
    let next = shop.json(&["canary"]).await;
    assert_eq!(steps(&next)[0], "wait");
    left_as_it_was(&shop).await;

    // Who does not want to wait is told why.
    shop.json(&hold).await;
    let (_, error, code) = ends(shop.ctl(&["canary", "--wait", "1s"])).await;
    assert!(code == 1 && error.contains("others hold it"), "{code} {error}");
    shop.close().await;
}

#[tokio::test]
async fn a_canary_killed_in_the_middle_leaves_a_hold_that_ends() {
    let shop = Shop::open().await;
    let mut command = shop.ctl(&["canary"]);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    // It says which reservation it makes before it makes it.
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = said.next_line().await.unwrap().unwrap_or_default();
    let reservation = line.strip_prefix("reservation ").unwrap_or_else(|| panic!("{line}")).to_owned();
    child.kill().await.unwrap();
    // Whether it landed or not: releasing it is always right.
    let released = shop.json(&["release", &reservation]).await;
    assert_eq!(released["current_state"], "RELEASED", "{released}");
    shop.json(&["canary"]).await;
    left_as_it_was(&shop).await;
    shop.close().await;
}

#[tokio::test]
async fn what_keeps_the_canary_from_its_unit_is_said_and_too_many_become_one() {
    let shop = Shop::open().await;
    shop.json(&["canary"]).await;
    let at = ["stock", "adjust", SKU, "holdfast-canary"];
    // Somebody added units: the canary never leaves more than one.
    shop.json(&[&at[..], &["6", "--reason", "found"]].concat()).await;
    let next = shop.json(&["canary"]).await;
    assert_eq!(steps(&next)[0], "count");
    left_as_it_was(&shop).await;
    // Somebody took it away.
    shop.json(&[&at[..], &["--reason", "lost", "--", "-1"]].concat()).await;
    assert_eq!(steps(&shop.json(&["canary"]).await)[0], "count");
    left_as_it_was(&shop).await;
    // Somebody sold it: a person's affair.
    let hold = shop.json(&["reserve", "--owner", "somebody", "HOLDFAST-CANARY=1"]).await;
    let reservation = hold["reservation_id"].as_str().unwrap().to_owned();
    shop.json(&["confirm", &reservation]).await;
    let (_, error, code) = ends(shop.ctl(&["canary"])).await;
    assert!(code == 1 && error.contains("somebody confirmed"), "{code} {error}");
    shop.json(&["reservation", "cancel", &reservation]).await;
    shop.json(&["canary"]).await;
    // Units elsewhere are somebody's stock: that SKU is no canary.
    shop.json(&["location", "create", "hall"]).await;
    shop.json(&["stock", "adjust", SKU, "hall", "1", "--reason", "found"]).await;
    let (_, error, code) = ends(shop.ctl(&["canary"])).await;
    assert!(code == 1 && error.contains("at hall too"), "{code} {error}");
    shop.close().await;
}

#[tokio::test]
async fn a_service_that_is_away_is_no_success_and_no_wrong_answer() {
    let (_, error, code) = {
        let mut command = crate::world::holdfast(&["ctl", "canary", "--timeout", "1s"]);
        command.env("HOLDFAST_RESERVATION_ENDPOINT", "http://127.0.0.1:1");
        ends(command).await
    };
    assert!(
        code == 3 && error.starts_with("holdfast ctl: ") && error.contains("Nothing can be told"),
        "{code} {error}"
    );
}

fn steps(report: &Value) -> Vec<&str> {
    report["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect()
}

/// One unit at one location, nothing held, nothing sold; and the auditor agrees.
async fn left_as_it_was(shop: &Shop) {
    let rows = shop.json(&["stock", "get", SKU]).await;
    let rows = rows.as_array().unwrap_or_else(|| panic!("{rows}"));
    let numbers: Vec<_> = ["on_hand", "held", "committed", "available"].map(|name| rows[0][name].as_i64()).into();
    assert_eq!((rows.len(), numbers), (1, vec![Some(1), Some(0), Some(0), Some(1)]), "{rows:?}");
    shop.json(&["audit", "run"]).await;
}
