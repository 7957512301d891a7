//! What the client does when calls fail: against a real server that fails as scripted.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use std::time::{Duration, Instant};

use holdfast_client::api::reservation::v1 as pb;
use holdfast_client::{
    Connection, Error, Line, Outcome, RequestKey, ReservationClient, ReservationKey, Reserve, RetryPolicy, Settings,
};
use support::{Server, Step, holdfast};
use tonic::{Code, Status};

fn client(server: &Server) -> ReservationClient {
    ReservationClient::new(&Connection::builder(server.endpoint()).build().unwrap())
}

fn one_chair() -> Reserve {
    Reserve::new(ReservationKey::new(), "cart-17", [Line::anywhere("CHAIR", 1)])
}

fn store_unavailable() -> Step {
    holdfast(Code::Unavailable, "STORE_UNAVAILABLE", Some(Duration::from_millis(5)))
}

fn overloaded(retry_after: Duration) -> Step {
    holdfast(Code::ResourceExhausted, "OVERLOADED", Some(retry_after))
}

#[tokio::test]
async fn a_retry_after_an_unknown_outcome_has_the_same_key_and_a_higher_attempt() {
    let server = Server::start([store_unavailable(), store_unavailable()]).await;
    let reserve = one_chair();
    client(&server).reserve(&reserve).await.unwrap();

    let seen = server.seen();
    assert_eq!(seen.iter().map(|call| call.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(seen.iter().all(|call| call.id == reserve.key().to_string()));
    let previous: Vec<_> = seen.iter().map(|call| call.header("grpc-previous-rpc-attempts")).collect();
    assert_eq!(previous, [None, Some("1"), Some("2")]);
}

#[tokio::test]
async fn carts_of_a_batch_and_replacements_are_marked_as_retries_too() {
    let server = Server::start([store_unavailable(), Step::Answer, store_unavailable()]).await;
    let reserve = one_chair();
    client(&server).batch_reserve(std::slice::from_ref(&reserve)).await.unwrap();
    client(&server).replace(ReservationKey::new(), &reserve).await.unwrap();
    assert_eq!(server.seen().iter().map(|call| call.attempt).collect::<Vec<_>>(), [1, 2, 1, 2]);
    assert!(server.seen().iter().all(|call| call.id == reserve.key().to_string()));
}

#[tokio::test]
async fn what_follows_a_sale_is_sent_again_with_the_key_that_was_given() {
    let server =
        Server::start((0..10).map(|call| if call % 2 == 0 { store_unavailable() } else { Step::Answer })).await;
    let (client, key) = (client(&server), RequestKey::new());
    let request_id = "what stands here is replaced".to_owned();
    client.confirm_as(key, pb::ConfirmRequest { request_id: request_id.clone(), ..Default::default() }).await.unwrap();
    client.fulfil(key, pb::FulfilRequest { request_id: request_id.clone(), ..Default::default() }).await.unwrap();
    client.cancel(key, pb::CancelRequest { request_id: request_id.clone(), ..Default::default() }).await.unwrap();
    client.take_back(key, pb::ReturnRequest { request_id: request_id.clone(), ..Default::default() }).await.unwrap();
    client.record_evidence(key, pb::RecordEvidenceRequest { request_id, ..Default::default() }).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 10);
    assert!(seen.iter().all(|call| call.id == key.to_string()));
}

#[tokio::test]
async fn a_callers_own_retry_begins_at_the_attempt_that_it_says() {
    let server = Server::start([store_unavailable()]).await;
    client(&server).reserve(&one_chair().retry_of(3)).await.unwrap();
    assert_eq!(server.seen().iter().map(|call| call.attempt).collect::<Vec<_>>(), [4, 5]);
}

#[tokio::test]
async fn overload_is_waited_out_and_does_not_mark_the_retry() {
    let wish = Duration::from_millis(60);
    let server = Server::start([overloaded(wish)]).await;
    let begun = Instant::now();
    client(&server).reserve(&one_chair()).await.unwrap();

    assert!(begun.elapsed() >= wish, "the server asked for {wish:?}, the retry came after {:?}", begun.elapsed());
    // Nothing was done the first time, so a refusal of the second attempt need not close the key.
    assert_eq!(server.seen().iter().map(|call| call.attempt).collect::<Vec<_>>(), [1, 1]);
}

#[tokio::test]
async fn overload_without_a_time_is_not_tried_again() {
    let server = Server::start([holdfast(Code::ResourceExhausted, "OVERLOADED", None)]).await;
    let error = client(&server).reserve(&one_chair()).await.unwrap_err();
    assert!(matches!(error, Error::Overloaded { retry_after: None, .. }), "{error:?}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_refusal_is_never_tried_again() {
    let refusals = [
        (Code::FailedPrecondition, "INSUFFICIENT_STOCK"),
        (Code::InvalidArgument, "INVALID_FIELD"),
        (Code::AlreadyExists, "KEY_REUSED"),
        (Code::Unauthenticated, "UNAUTHENTICATED"),
        (Code::PermissionDenied, "METHOD_NOT_ALLOWED"),
        (Code::Unimplemented, "UNKNOWN_METHOD"),
    ];
    for (code, reason) in refusals {
        let server = Server::start([holdfast(code, reason, None)]).await;
        let error = client(&server).reserve(&one_chair()).await.unwrap_err();
        assert_eq!(error.reason(), Some(reason));
        assert_eq!(error.outcome(), Outcome::Certain);
        assert_eq!(server.seen().len(), 1, "{reason}");
    }
}

#[tokio::test]
async fn a_defect_of_the_servers_is_unknown_and_not_tried_again() {
    let server = Server::start([holdfast(Code::Internal, "INTERNAL", None)]).await;
    let error = client(&server).reserve(&one_chair()).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_attempt_without_an_answer_is_made_again_within_the_deadline() {
    let server = Server::start([Step::Hang]).await;
    let settings = Settings { attempt_timeout: Duration::from_millis(100), ..Settings::default() };
    let connection = Connection::builder_with([server.endpoint()], settings).build().unwrap();
    ReservationClient::new(&connection).reserve(&one_chair()).await.unwrap();
    assert_eq!(server.seen().iter().map(|call| call.attempt).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn the_deadline_ends_the_call_and_is_told_to_the_server() {
    let server = Server::start([Step::Hang, Step::Hang, Step::Hang, Step::Hang, Step::Hang]).await;
    let begun = Instant::now();
    let short = client(&server).with_deadline(Duration::from_millis(200));
    let error = short.reserve(&one_chair()).await.unwrap_err();

    assert_eq!(error.outcome(), Outcome::Unknown);
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
    let told = server.seen()[0].header("grpc-timeout").unwrap().to_owned();
    let micros: u64 = told.trim_end_matches(['u', 'm', 'n', 'S']).parse().unwrap();
    assert!(told.ends_with('u') && micros <= 200_000 || told.ends_with('m') && micros <= 200, "{told}");
}

#[tokio::test]
async fn a_cut_connection_is_an_open_attempt_and_the_retry_goes_over_a_new_one() {
    let server = Server::start([Step::Cut]).await;
    let reserve = one_chair();
    client(&server).reserve(&reserve).await.unwrap();
    assert_eq!(server.seen().iter().map(|call| call.attempt).collect::<Vec<_>>(), [1, 2]);

    let server = Server::start([Step::Cut]).await;
    let once = client(&server).with_retry(RetryPolicy::NEVER);
    let error = once.reserve(&reserve).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_certain_no() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let connection = Connection::builder(format!("http://{gone}")).build().unwrap();
    let error = ReservationClient::new(&connection).reserve(&one_chair()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::Certain);
}

#[tokio::test]
async fn an_overload_after_an_open_attempt_leaves_the_outcome_unknown() {
    let no_time = holdfast(Code::ResourceExhausted, "OVERLOADED", None);
    let server = Server::start([store_unavailable(), no_time]).await;
    let error = client(&server).reserve(&one_chair()).await.unwrap_err();
    assert!(matches!(error, Error::Unknown { attempts: 2, .. }), "{error:?}");
}

#[tokio::test]
async fn a_refusal_of_a_marked_retry_is_certain() {
    let short = holdfast(Code::FailedPrecondition, "INSUFFICIENT_STOCK", None);
    let server = Server::start([store_unavailable(), short]).await;
    let error = client(&server).reserve(&one_chair()).await.unwrap_err();
    assert!(matches!(error, Error::Insufficient { .. }), "{error:?}");
    assert_eq!(server.seen()[1].attempt, 2);
}

#[tokio::test]
async fn attempts_have_a_limit() {
    let server = Server::start((0..50).map(|_| store_unavailable())).await;
    let error = client(&server).reserve(&one_chair()).await.unwrap_err();
    assert!(matches!(error, Error::Unknown { attempts: 5, .. }), "{error:?}");
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn an_empty_budget_ends_retries_for_all_who_share_the_connection() {
    let server = Server::start((0..50).map(|_| store_unavailable())).await;
    let retry = RetryPolicy { attempts_max: 3, budget: 3, ..RetryPolicy::default() };
    let connection = Connection::builder(server.endpoint()).retry(retry).build().unwrap();
    for _ in 0..4 {
        let error = ReservationClient::new(&connection).reserve(&one_chair()).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown);
    }
    assert_eq!(server.seen().len(), 4 + 3, "four first attempts, three retries");
}

#[tokio::test]
async fn a_retried_confirm_keeps_its_key() {
    let server = Server::start([store_unavailable()]).await;
    let key = RequestKey::new();
    client(&server).confirm(key, ReservationKey::new()).await.unwrap();
    assert!(server.seen().iter().all(|call| call.id == key.to_string()));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn calls_are_spread_over_several_endpoints_and_go_round_a_dead_one() {
    let (first, second) = (Server::start([]).await, Server::start([]).await);
    let dead = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let connection = Connection::builder(first.endpoint()).endpoint(second.endpoint()).endpoint(dead).build().unwrap();
    let client = ReservationClient::new(&connection);
    for _ in 0..60 {
        client.reserve(&one_chair()).await.unwrap();
    }
    assert!(!first.seen().is_empty() && !second.seen().is_empty());
    assert_eq!(first.seen().len() + second.seen().len(), 60, "a call that never left is not counted twice");
}

#[tokio::test]
async fn the_token_goes_out_with_every_attempt() {
    let server = Server::start([store_unavailable()]).await;
    let connection = Connection::builder(server.endpoint()).token("s3cret").build().unwrap();
    ReservationClient::new(&connection).reserve(&one_chair()).await.unwrap();
    assert!(server.seen().iter().all(|call| call.header("authorization") == Some("Bearer s3cret")));
}

#[tokio::test]
async fn a_proxys_error_without_details_is_read_by_its_code() {
    let server = Server::start([Step::Fail(Status::permission_denied("by the mesh"))]).await;
    let error = client(&server).reserve(&one_chair()).await.unwrap_err();
    assert!(matches!(error, Error::NotAllowed { .. }), "{error:?}");
}

#[tokio::test]
async fn a_call_carries_the_callers_trace() {
    use opentelemetry::trace::TracerProvider as _;
    use tracing::Instrument as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    opentelemetry::global::set_text_map_propagator(opentelemetry_sdk::propagation::TraceContextPropagator::new());
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));

    let server = Server::start([]).await;
    let checkout = tracing::info_span!("checkout");
    client(&server).reserve(&one_chair()).instrument(checkout.clone()).await.unwrap();

    let sent = server.seen()[0].header("traceparent").expect("a trace context is sent").to_owned();
    use opentelemetry::trace::TraceContextExt as _;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;
    let trace_id = checkout.context().span().span_context().trace_id();
    assert!(sent.contains(&trace_id.to_string()), "{sent} does not name trace {trace_id}");
}
