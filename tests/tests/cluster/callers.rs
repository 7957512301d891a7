//! Who may call what, on running services that know their callers by tokens.

use holdfast_api::reservation::v1 as pb;
use holdfast_client::{
    CatalogClient, Connection, Error, Line, RequestKey, ReservationClient, ReservationKey, Reserve, StockClient,
};
use holdfast_stack::services::ServiceProcess;
use tokio_stream::StreamExt as _;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient as Reflection;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient as ReflectionAlpha;

use crate::world::{Options, VENDOR_SYNC_TOKEN, scenario};

const CHECKOUT: &str = "the-token-of-the-shop";
const OPERATOR: &str = "the-token-of-an-operator";

/// Nobody without a token may do anything.
fn guarded(options: Options) -> Options {
    let caller = |name: &str, role: &str, token: &str| {
        toml::Table::from_iter([
            ("name".to_owned(), toml::Value::from(name)),
            ("roles".to_owned(), toml::Value::from(vec![role])),
            ("token".to_owned(), toml::Value::from(token)),
        ])
    };
    let callers = vec![
        caller("shop", "checkout", CHECKOUT),
        caller("ann", "operator", OPERATOR),
        caller("vendor-sync", "vendor-sync", VENDOR_SYNC_TOKEN),
    ];
    options.set("callers.unauthenticated_roles", Vec::<String>::new()).set("callers.list", callers)
}

#[test]
fn a_caller_may_do_what_its_role_may_and_nothing_else() {
    scenario(guarded(Options::reservation(1)), async |cluster| {
        let process = &cluster.reservation[0];
        let denied = stock(process, Some(CHECKOUT)).apply_counts(RequestKey::new(), count()).await;
        assert_eq!(reason(denied), "METHOD_NOT_ALLOWED");
        assert_eq!(cluster.number("SELECT count(*) FROM stock").await, 0, "what is denied changes nothing");

        stock(process, Some(VENDOR_SYNC_TOKEN)).apply_counts(RequestKey::new(), count()).await.expect("it may count");
        let buys = reserve(process, Some(VENDOR_SYNC_TOKEN)).await;
        assert_eq!(reason(buys), "METHOD_NOT_ALLOWED");

        reserve(process, Some(CHECKOUT)).await.expect("a shop may reserve");
        let adjusts = stock(process, Some(CHECKOUT)).adjust_stock(RequestKey::new(), vec![found()], "shop", "").await;
        assert_eq!(reason(adjusts), "METHOD_NOT_ALLOWED");
        // What people type goes through vendor-sync's guards.
        let adjusts = stock(process, Some(OPERATOR)).adjust_stock(RequestKey::new(), vec![found()], "ann", "").await;
        assert_eq!(reason(adjusts), "METHOD_NOT_ALLOWED");
        let guarded = stock(process, Some(VENDOR_SYNC_TOKEN));
        let adjusts = guarded.adjust_stock(RequestKey::new(), vec![found()], "ann", "").await;
        assert_eq!(adjusts.expect("vendor-sync may adjust").levels[0].on_hand, 11);
        let actors = sqlx::query_scalar("SELECT cause || ' by ' || actor FROM ledger ORDER BY version");
        let actors: Vec<String> = actors.fetch_all(&cluster.record).await.expect("the ledger");
        assert_eq!(actors, ["COUNT by house", "RESERVE by shop", "ADJUST by ann"]);
    });
}

#[test]
fn a_caller_without_a_known_token_may_do_nothing() {
    scenario(guarded(Options::whole()), async |cluster| {
        let process = &cluster.reservation[0];
        for token in [None, Some("a-token-that-nobody-has"), Some("")] {
            assert_eq!(reason(reserve(process, token).await), "UNAUTHENTICATED", "{token:?}");
            let counts = stock(process, token).apply_counts(RequestKey::new(), count()).await;
            assert_eq!(reason(counts), "UNAUTHENTICATED");
            let catalog = cluster.catalog.as_ref().expect("a whole cluster");
            let skus = CatalogClient::new(&connection(catalog, token)).get_sku("DESK").await;
            assert_eq!(reason(skus), "UNAUTHENTICATED");
        }
        assert_eq!(cluster.number("SELECT count(*) FROM stock").await, 0);
    });
}

#[test]
fn health_and_reflection_are_open_to_everybody() {
    scenario(guarded(Options::whole()), async |cluster| {
        for process in cluster.reservation.iter().chain(&cluster.catalog).chain(&cluster.vendor_sync) {
            let channel = channel(process);
            let healthy = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
            assert_eq!(healthy.expect("health is open").into_inner().status(), ServingStatus::Serving);
            let services = services(channel).await;
            assert!(services.iter().any(|name| name.starts_with("holdfast.")), "{services:?}");
            assert!(services.contains(&"grpc.health.v1.Health".to_owned()), "{services:?}");
        }
    });
}

/// The services that both versions of reflection list.
async fn services(channel: Channel) -> Vec<String> {
    let ask = || tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = Reflection::new(channel.clone())
        .server_reflection_info(tokio_stream::once(ask()))
        .await
        .expect("reflection is open")
        .into_inner();
    let answer = answers.next().await.expect("an answer").expect("reflection is open");
    let Some(MessageResponse::ListServicesResponse(listed)) = answer.message_response else { panic!("{answer:?}") };
    let services: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();

    let ask = tonic_reflection::pb::v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let alpha = ReflectionAlpha::new(channel).server_reflection_info(tokio_stream::once(ask)).await;
    let mut answers = alpha.expect("the older version is open too").into_inner();
    let answer = answers.next().await.expect("an answer").expect("the older version is open too");
    let listed = format!("{:?}", answer.message_response);
    assert!(services.iter().all(|service| listed.contains(service.as_str())), "{listed}");
    services
}

fn channel(process: &ServiceProcess) -> Channel {
    Endpoint::from_shared(process.url()).expect("an endpoint").connect_lazy()
}

fn connection(process: &ServiceProcess, token: Option<&str>) -> Connection {
    let builder = Connection::builder(process.url());
    let builder = token.into_iter().fold(builder, |builder, token| builder.token(token));
    builder.build().expect("an endpoint")
}

fn stock(process: &ServiceProcess, token: Option<&str>) -> StockClient {
    StockClient::new(&connection(process, token))
}

async fn reserve(process: &ServiceProcess, token: Option<&str>) -> Result<pb::ReserveResponse, Error> {
    let cart = Reserve::new(ReservationKey::new(), "cart", [Line::anywhere("DESK", 1)]);
    ReservationClient::new(&connection(process, token)).reserve(&cart).await
}

fn count() -> pb::ApplyCountsRequest {
    pb::ApplyCountsRequest {
        connection: "house".to_owned(),
        run: "run".to_owned(),
        as_of_time: Some(std::time::SystemTime::now().into()),
        meaning: pb::CountMeaning::OnHand.into(),
        counts: vec![pb::Count {
            sku: "DESK".to_owned(),
            location: "main".to_owned(),
            quantity: 10,
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn found() -> pb::Adjustment {
    pb::Adjustment {
        sku: "DESK".to_owned(),
        location: "main".to_owned(),
        condition: pb::Condition::Sellable.into(),
        delta: 1,
        reason: pb::AdjustmentReason::Found.into(),
    }
}

#[track_caller]
fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    let error = result.expect_err("a refusal");
    error.reason().unwrap_or_else(|| panic!("no reason in {error:?}"))
}
