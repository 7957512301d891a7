//! One program, every role: what it says, how it ends, and that each role serves.

use holdfast_stack::configuration::Inputs;
use holdfast_stack::http;
use holdfast_stack::ports::Port;
use holdfast_stack::services::Service;

use crate::world::{Role, ends, holdfast};

#[tokio::test]
async fn who_names_no_role_or_a_wrong_one_is_shown_all_of_them() {
    for words in [&[][..], &["reserve"], &["--serve"], &["", "serve"], &["Reservation"]] {
        let (out, error, code) = ends(holdfast(words)).await;
        assert_eq!((out.as_str(), code), ("", 2), "{words:?}: {error}");
        for role in ["reservation", "catalog", "vendor-sync", "ctl"] {
            assert!(error.contains(&format!("\n  {role} ")), "{words:?}: {error}");
        }
    }
    let (_, error, _) = ends(holdfast(&["reserve"])).await;
    assert!(error.starts_with("holdfast: there is no role reserve\n"), "{error}");
    let (out, error, code) = ends(holdfast(&["--help"])).await;
    assert!(out.starts_with("Usage: holdfast ROLE") && error.is_empty() && code == 0, "{out}{error}");
}

#[tokio::test]
async fn every_role_says_which_build_it_is() {
    for role in [&[][..], &["reservation"], &["catalog"], &["vendor-sync"]] {
        let (out, _, code) = ends(holdfast(&[role, &["--version"]].concat())).await;
        let name = [&["holdfast"], role].concat().join(" ");
        let version = env!("CARGO_PKG_VERSION");
        assert!(out.starts_with(&format!("{name} {version} (")) && code == 0, "{out}");
    }
}

#[tokio::test]
async fn a_role_names_itself_as_it_was_called() {
    for role in ["reservation", "catalog", "vendor-sync", "ctl"] {
        let (out, _, code) = ends(holdfast(&[role, "--help"])).await;
        assert!(out.contains(&format!("Usage: holdfast {role} ")) && code == 0, "{out}");
        let (_, error, code) = ends(holdfast(&[role, "--nonsense"])).await;
        assert!(error.contains("--nonsense") && error.contains(&format!("Usage: holdfast {role} ")), "{error}");
        assert_eq!(code, 2, "{role}");
    }
    // Refused for its configuration, and for the want of a database.
    let (_, error, code) = ends(holdfast(&["catalog", "serve"])).await;
    assert!(error.starts_with("holdfast catalog: ") && code == 2, "{code} {error}");
    let mut away = holdfast(&["reservation", "migrate"]);
    away.env("HOLDFAST_RESERVATION__POSTGRES__URL", "postgres://nobody:x@127.0.0.1:1/none");
    away.env("HOLDFAST_RESERVATION__GATE__URL", "redis://127.0.0.1:1");
    away.env("HOLDFAST_RESERVATION__POSTGRES__CONNECT_SECONDS_MAX", "0");
    let (_, error, code) = ends(away).await;
    assert!(error.contains("holdfast reservation: ") && code == 3, "{code} {error}");
    // holdctl, with a service that is away: nothing happened, code 1.
    let key = "01890000-0000-7000-8000-000000000000";
    let mut release = holdfast(&["ctl", "--timeout", "1s", "release", key]);
    release.env("HOLDFAST_RESERVATION_ENDPOINT", "http://127.0.0.1:1");
    let (_, error, code) = ends(release).await;
    assert!(error.starts_with("holdfast ctl: ") && code == 1, "{code} {error}");
}

#[tokio::test]
async fn every_role_migrates_serves_and_ends_in_order() {
    let redis = holdfast_testkit::redis().await;
    for service in Service::ALL {
        let nowhere = || "http://127.0.0.1:1".to_owned();
        let others = Inputs {
            gate_url: redis.gate_url(),
            reservation_url: nowhere(),
            catalog_url: nowhere(),
            vendor_sync_url: nowhere(),
            ..Inputs::default()
        };
        let role = Role::new(service, Port::Free, others).await;
        // Without its schema it refuses to start, and says what to type.
        let (_, error, code) = ends(role.command(&["serve"])).await;
        let advice = format!("run `holdfast {} migrate`", service.name());
        assert!(error.contains(&advice) && code == 3, "{code} {error}");
        for applied in ["applied ", "applied 0 migrations"] {
            let (out, error, code) = ends(role.command(&["migrate"])).await;
            let begins = format!("holdfast {}: {applied}", service.name());
            assert!(out.starts_with(&begins) && code == 0, "{code} {out}{error}");
        }
        let serving = role.serve().await;
        let (status, metrics) = http::get(serving.admin, "/metrics").await.expect("it answers");
        assert!(status == 200 && metrics.contains("# TYPE holdfast_"), "{metrics}");
        let (log, code) = serving.ends_in_order().await;
        assert!(code == 0 && log.contains("ended in order"), "{}: {log}", service.name());
    }
}
