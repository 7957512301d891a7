//! What an operator sees of a service: its numbers, whether it is ready, its configuration, its migrations and who may call what.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use holdfast_client::{Line, RequestKey, ReservationKey, Reserve};
use holdfast_stack::http;
use holdfast_stack::process::{Process, Spec};
use holdfast_stack::services::{Service, ServiceProcess};
use holdfast_testkit::eventually;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::world::{Cluster, Options, VENDOR_SYNC_TOKEN, scenario};

#[test]
fn the_numbers_of_a_service_say_what_it_did() {
    scenario(Options::whole(), async |cluster| {
        cluster.count(&[("DESK", 10)]).await;
        let reservations = cluster.reservations();
        for _ in 0..3 {
            let key = ReservationKey::new();
            let cart = Reserve::new(key, "cart", [Line::anywhere("DESK", 1)]);
            reservations.reserve(&cart).await.expect("there are ten");
            reservations.confirm(RequestKey::new(), key).await.expect("it is held");
        }
        let cart = Reserve::new(ReservationKey::new(), "cart", [Line::anywhere("DESK", 8)]);
        reservations.reserve(&cart).await.expect_err("there are seven");

        let metrics = metrics(cluster.reservation[0].admin()).await;
        let requests = |method: &str, code: &str, reason: &str| {
            let service = "/holdfast.reservation.v1.ReservationService";
            let labels = format!(r#"method="{service}/{method}",code="{code}",reason="{reason}""#);
            value(&metrics, &format!("holdfast_rpc_server_requests_total{{{labels}}}"))
        };
        assert_eq!(requests("Reserve", "OK", ""), Some(3.0), "{metrics}");
        assert_eq!(requests("Reserve", "FAILED_PRECONDITION", "INSUFFICIENT_STOCK"), Some(1.0));
        assert_eq!(requests("Confirm", "OK", ""), Some(3.0));
        assert_eq!(value(&metrics, "holdfast_gate_up"), Some(1.0), "{metrics}");
        for process in all(cluster) {
            health(process, "").await;
            well_formed(&self::metrics(process.admin()).await);
        }
    });
}

#[test]
fn a_service_is_ready_and_healthy_once_it_has_started_and_says_when_redis_is_away() {
    scenario(Options::whole(), async |cluster| {
        for process in all(cluster) {
            assert_eq!(get(process.admin(), "/livez").await, (200, "alive\n".to_owned()));
            assert_eq!(get(process.admin(), "/readyz").await, (200, "ready\n".to_owned()), "{}", process.name());
            let mut served = own_services(process.service());
            served.extend([process.service().binary(), ""]);
            for name in served {
                assert_eq!(health(process, name).await, ServingStatus::Serving, "{name:?} of {}", process.name());
            }
        }
        cluster.redis.stop().await.expect("Redis stops");
        let admin = cluster.reservation[0].admin();
        // Somebody has to ask for something before the gate can notice.
        let said = eventually("reservation says that Redis is away", Duration::from_secs(10), || async {
            let (status, said) = get(admin, "/readyz").await;
            assert_eq!(status, 200, "it serves all the same");
            (said != "ready\n").then_some(said)
        })
        .await;
        assert!(said.starts_with("degraded: ") && said.contains("Redis"), "{said}");
        assert_eq!(health(&cluster.reservation[0], "").await, ServingStatus::Serving);
        cluster.redis.start_again().await.expect("Redis starts");
        eventually("reservation is ready again", Duration::from_secs(10), || async {
            (get(admin, "/readyz").await == (200, "ready\n".to_owned())).then_some(())
        })
        .await;
    });
}

#[test]
fn a_printed_configuration_is_whole_commented_and_without_secrets() {
    scenario(Options::whole(), async |cluster| {
        for process in all(cluster) {
            let printed = said(process, &["config"], cluster).await;
            let table: toml::Table = printed.parse().unwrap_or_else(|error| panic!("no TOML: {error}\n{printed}"));
            for section in ["server", "postgres", "telemetry", "callers"] {
                assert!(table.contains_key(section), "no [{section}] in\n{printed}");
            }
            assert_eq!(table["server"]["drain_seconds_max"].as_integer(), Some(10), "what the file says");
            assert!(printed.lines().filter(|line| line.starts_with('#')).count() > 20, "few comments in\n{printed}");
            for secret in [cluster.database.password(), VENDOR_SYNC_TOKEN, &redis_password(cluster)] {
                assert!(!printed.contains(secret), "{} prints a secret", process.name());
            }
            assert!(printed.contains("********"), "{printed}");
        }
    });
}

#[test]
fn every_method_that_a_service_lists_is_one_of_its_protos_and_the_other_way_round() {
    scenario(Options::whole(), async |cluster| {
        for process in all(cluster) {
            let printed = said(process, &["methods"], cluster).await;
            let mut listed = BTreeSet::new();
            for line in printed.lines() {
                let [path, priority, roles] = line.split(' ').collect::<Vec<_>>().try_into().expect("three words");
                assert!(["Read", "Begin", "Undo", "Finish"].contains(&priority), "{line}");
                assert!(roles.split(',').all(|role| !role.is_empty()), "nobody may call {path}");
                listed.insert(path.to_owned());
            }
            let own = own_services(process.service());
            let protos = holdfast_api::METHODS.iter().map(|path| (*path).to_owned());
            let protos = protos.filter(|path| own.iter().any(|service| path.starts_with(&format!("/{service}/"))));
            assert_eq!(listed, protos.collect());
        }
    });
}

#[test]
fn migrating_again_changes_nothing() {
    scenario(Options::whole(), async |cluster| {
        for process in all(cluster) {
            let printed = said(process, &["migrate"], cluster).await;
            assert!(printed.contains("applied 0 migrations, the schema is at version"), "{printed}");
        }
    });
}

fn all(cluster: &Cluster) -> Vec<&ServiceProcess> {
    cluster.reservation.iter().chain(&cluster.catalog).chain(&cluster.vendor_sync).collect()
}

fn own_services(service: Service) -> Vec<&'static str> {
    match service {
        Service::Catalog => vec!["holdfast.catalog.v1.CatalogService"],
        Service::Reservation => {
            vec![
                "holdfast.reservation.v1.AuditService",
                "holdfast.reservation.v1.ReservationService",
                "holdfast.reservation.v1.StockService",
            ]
        }
        Service::VendorSync => vec![
            "holdfast.vendorsync.v1.HouseService",
            "holdfast.vendorsync.v1.QuarantineService",
            "holdfast.vendorsync.v1.VendorSyncService",
        ],
    }
}

async fn get(admin: SocketAddr, path: &str) -> (u16, String) {
    http::get(admin, path).await.expect("the admin port answers")
}

pub(crate) async fn metrics(admin: SocketAddr) -> String {
    let (status, text) = get(admin, "/metrics").await;
    assert_eq!(status, 200);
    text
}

/// The value of a sample by its name and labels.
pub(crate) fn value(metrics: &str, sample: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.split(' ').next()?.parse().ok())
}

/// OpenMetrics: every family is ours, typed and explained, and the text has its end.
fn well_formed(metrics: &str) {
    assert!(metrics.ends_with("# EOF\n"), "cut off:\n{metrics}");
    let named = |kind: &str| -> BTreeSet<&str> {
        metrics.lines().filter_map(|line| line.strip_prefix(kind)?.split(' ').next()).collect()
    };
    let (helped, typed) = (named("# HELP "), named("# TYPE "));
    assert_eq!(helped, typed);
    assert!(helped.len() >= 4, "{metrics}");
    for name in helped {
        assert!(name.starts_with("holdfast_"), "{name} could be anybody's");
    }
}

async fn health(process: &ServiceProcess, service: &str) -> ServingStatus {
    let channel = Endpoint::from_shared(process.url()).expect("an endpoint").connect().await.expect("it listens");
    let mut client = HealthClient::new(channel);
    let asked = client.check(HealthCheckRequest { service: service.to_owned() }).await;
    asked.unwrap_or_else(|status| panic!("{service:?}: {status}")).into_inner().status()
}

/// What a service's binary prints with the configuration of a running one.
async fn said(process: &ServiceProcess, words: &[&str], cluster: &Cluster) -> String {
    let configuration = cluster.folder.0.join(format!("{}.toml", process.name()));
    let binary = holdfast_stack::stack::binary(process.service()).expect("it runs already");
    let spec = Spec::new(process.name(), binary).args(words.iter().copied()).arg("--config").arg(configuration);
    let (status, printed) = Process::answer(&spec).await.expect("it can be run");
    assert!(status.success(), "{words:?} of {} ended with {status}", process.name());
    printed
}

fn redis_password(cluster: &Cluster) -> String {
    let url = cluster.redis.gate_url();
    let (_user, rest) = url.trim_start_matches("redis://").split_once(':').expect("a password");
    rest.split_once('@').expect("a host").0.to_owned()
}
