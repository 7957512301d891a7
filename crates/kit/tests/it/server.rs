//! What the stack does to requests and answers.

use std::time::{Duration, Instant};

use holdfast_api::catalog::v1::GetSkuRequest;
use holdfast_api::catalog::v1::catalog_service_client::CatalogServiceClient;
use holdfast_api::reservation::v1::{ConfirmRequest, ExtendRequest, GetReservationRequest, ReleaseRequest};
use holdfast_kit::ErrorReason;
use tokio_stream::StreamExt as _;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::raw;
use crate::world::{CHECKOUT, MONITOR, assert_reason, wish, with_token, world, world_with};

#[tokio::test]
async fn an_answer_comes_through_the_stack() {
    assert_eq!(world().await.reserve("ada").await.unwrap(), "ada");
}

#[tokio::test]
async fn a_deadline_that_passes_is_answered_as_such() {
    // The server's own limit: tonic's client would end a shorter timeout by itself, and say CANCELLED.
    let world = world_with(|common| {
        common.server.deadline_default_ms = 50;
        common.server.deadline_max_ms = 50;
    })
    .await;
    for timeout in [None, Some("1H")] {
        let mut request = Request::new(wish("wait for ever"));
        timeout.map(|timeout| request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap()));
        let started = Instant::now();
        assert_reason(&world.reserve_with(request).await.unwrap_err(), ErrorReason::DeadlineExceeded);
        assert!(started.elapsed() >= Duration::from_millis(50));
    }
    world.in_flight(0).await;
}

#[tokio::test]
async fn a_request_without_a_deadline_gets_the_default_and_a_longer_one_is_cut() {
    let world = world_with(|common| {
        common.server.deadline_default_ms = 3_000;
        common.server.deadline_max_ms = 7_000;
    })
    .await;
    let left = async |timeout: Option<&str>| {
        let mut request = Request::new(wish("deadline"));
        timeout.map(|timeout| request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap()));
        world.reserve_with(request).await.unwrap().parse::<u64>().unwrap()
    };
    assert!((1..=3_000).contains(&left(None).await));
    assert!((3_001..=7_000).contains(&left(Some("1H")).await));
    assert!((1..=1_000).contains(&left(Some("1000000u")).await));
}

#[tokio::test]
async fn a_malformed_timeout_is_an_invalid_field() {
    let world = world().await;
    for timeout in ["soon", "123456789S", "-1S", "5", "S"] {
        let mut request = Request::new(wish("ada"));
        request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
        assert_reason(&world.reserve_with(request).await.unwrap_err(), ErrorReason::InvalidField);
    }
}

#[tokio::test]
async fn a_caller_is_known_by_his_token() {
    let world = world().await;
    let who = world.reserve_with(with_token(wish("who"), CHECKOUT)).await.unwrap();
    assert_eq!(who, "shop [Checkout]");
    assert_eq!(world.reserve("who").await.unwrap(), "anonymous [Checkout]");
}

#[tokio::test]
async fn a_caller_without_the_role_may_not_call() {
    let world = world().await;
    let refused = world.reserve_with(with_token(wish("ada"), MONITOR)).await.unwrap_err();
    assert_reason(&refused, ErrorReason::MethodNotAllowed);
    // The same caller may read.
    world.client().get_reservation(with_token(GetReservationRequest::default(), MONITOR)).await.unwrap();
}

#[tokio::test]
async fn a_wrong_token_is_refused_even_where_strangers_may_call() {
    let world = world().await;
    let refused = world.reserve_with(with_token(wish("ada"), "no-such-token-0123456789")).await.unwrap_err();
    assert_reason(&refused, ErrorReason::Unauthenticated);
    for value in ["Basic YWRhOmFkYQ==".to_owned(), format!("Digest {CHECKOUT}"), CHECKOUT.to_owned(), String::new()] {
        let mut request = Request::new(wish("ada"));
        request.metadata_mut().insert("authorization", value.parse().unwrap());
        assert_reason(&world.reserve_with(request).await.unwrap_err(), ErrorReason::Unauthenticated);
    }
}

#[tokio::test]
async fn a_stranger_may_do_nothing_by_default() {
    let world = world_with(|common| common.callers.unauthenticated_roles.clear()).await;
    assert_reason(&world.reserve("ada").await.unwrap_err(), ErrorReason::Unauthenticated);
}

#[tokio::test]
async fn a_row_without_roles_lets_nobody_in() {
    let world = world().await;
    let refused = world.client().extend(with_token(ExtendRequest::default(), CHECKOUT)).await.unwrap_err();
    assert_reason(&refused, ErrorReason::MethodNotAllowed);
}

#[tokio::test]
async fn an_unknown_method_is_said_to_be_unknown() {
    let world = world().await;
    let unknown = raw::call(&world.channel, "/holdfast.reservation.v1.ReservationService/Nothing", b"").await;
    assert_reason(&unknown.unwrap_err(), ErrorReason::UnknownMethod);
    // A method that exists, of a service that lives elsewhere.
    let mut catalog = CatalogServiceClient::new(world.channel.clone());
    let elsewhere = catalog.get_sku(GetSkuRequest::default()).await.unwrap_err();
    assert_reason(&elsewhere, ErrorReason::UnknownMethod);
}

#[tokio::test]
async fn a_full_server_sheds_new_work_first_and_confirmations_last() {
    let world = world_with(|common| common.server.requests_in_flight_max = 10).await;
    let mut waiting = Vec::new();
    for _ in 0..9 {
        let mut client = world.client();
        waiting.push(tokio::spawn(async move { client.reserve(wish("wait at the gate")).await }));
    }
    world.in_flight(9).await;
    assert!(world.metrics.encode().contains("\nholdfast_saturation_ratio 1.0\n"), "{}", world.metrics.encode());

    let shed = world.reserve("ada").await.unwrap_err();
    assert_reason(&shed, ErrorReason::Overloaded);
    let delay = shed.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!((125..=375).contains(&delay.as_millis()), "{delay:?}");
    // Reads may fill 8 of 10 places, new work and releases 9, confirmations all.
    let read = world.client().get_reservation(GetReservationRequest::default()).await.unwrap_err();
    assert_reason(&read, ErrorReason::Overloaded);
    let release = world.client().release(ReleaseRequest::default()).await.unwrap_err();
    assert_reason(&release, ErrorReason::Overloaded);
    world.client().confirm(ConfirmRequest::default()).await.unwrap();
    // Probes see that it lives.
    HealthClient::new(world.channel.clone()).check(HealthCheckRequest::default()).await.unwrap();

    world.gate.add_permits(9);
    for answered in waiting {
        answered.await.unwrap().unwrap();
    }
    world.in_flight(0).await;
    let text = world.metrics.encode();
    assert!(text.contains("\nholdfast_saturation_ratio 0.0\n"), "{text}");
    assert!(text.contains("holdfast_saturation_part_ratio{part=\"requests\"} 0.0"), "{text}");
    world.reserve("ada").await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_gives_his_place_back() {
    let world = world_with(|common| common.server.requests_in_flight_max = 1).await;
    let mut client = world.client();
    let waiting = tokio::spawn(async move { client.reserve(wish("wait for ever")).await });
    world.in_flight(1).await;
    waiting.abort();
    world.in_flight(0).await;
    world.reserve("ada").await.unwrap();
    assert!(world.metrics.encode().contains(r#"code="CANCELLED",reason="""#), "{}", world.metrics.encode());
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_and_one_at_it_is_not() {
    let world = world_with(|common| common.server.message_bytes_max = 2048).await;
    // The field's tag and length take three bytes.
    assert_eq!(world.reserve(&"x".repeat(2045)).await.unwrap().len(), 2045);
    let refused = world.reserve(&"x".repeat(2046)).await.unwrap_err();
    assert_reason(&refused, ErrorReason::MessageTooLarge);
    assert_eq!(refused.get_details_error_info().unwrap().metadata["bytes_max"], "2048");
}

#[tokio::test]
async fn bytes_that_are_no_message_are_an_invalid_field() {
    let world = world().await;
    let path = "/holdfast.reservation.v1.ReservationService/Reserve";
    for bytes in [&b"\xff\xff\xff\xff"[..], b"\x12\xff", b"\x12\x02\xff\xfe"] {
        let refused = raw::call(&world.channel, path, bytes).await.unwrap_err();
        assert_reason(&refused, ErrorReason::InvalidField);
        assert!(!refused.message().contains("Protobuf"), "{refused:?}");
    }
    // No message at all.
    assert_reason(&raw::call_without_message(&world.channel, path).await.unwrap_err(), ErrorReason::InvalidField);
}

#[tokio::test]
async fn a_panic_is_internal_and_its_neighbours_live() {
    let world = world().await;
    let mut client = world.client();
    let neighbour = tokio::spawn(async move { client.reserve(wish("wait at the gate")).await });
    world.in_flight(1).await;
    let panicked = world.reserve("panic").await.unwrap_err();
    assert_reason(&panicked, ErrorReason::Internal);
    assert!(!panicked.message().contains("told to"), "{panicked:?}");
    world.gate.add_permits(1);
    neighbour.await.unwrap().unwrap();
    world.in_flight(0).await;
}

#[tokio::test]
async fn internal_text_never_leaves() {
    let world = world().await;
    let leaked = world.reserve("leak").await.unwrap_err();
    assert_reason(&leaked, ErrorReason::Internal);
    assert!(!format!("{leaked:?}").contains("hunter2"));
    let leaked = world.reserve("leak unavailable").await.unwrap_err();
    assert_reason(&leaked, ErrorReason::StoreUnavailable);
    assert!(!format!("{leaked:?}").contains("hunter2"));
    assert!(leaked.get_details_retry_info().is_some());
}

#[tokio::test]
async fn a_problem_of_a_handlers_arrives_as_it_was_made() {
    let status = world().await.reserve("sold out").await.unwrap_err();
    assert_reason(&status, ErrorReason::InsufficientStock);
    assert_eq!(status.message(), "1 line is short");
    let violations = status.get_details_precondition_failure().unwrap().violations;
    assert_eq!((violations[0].r#type.as_str(), violations[0].subject.as_str()), ("STOCK", "sku/A"));
    assert_eq!(status.get_error_details_vec().len(), 2, "one ErrorInfo, one PreconditionFailure");
}

#[tokio::test]
async fn retries_of_the_transport_are_counted() {
    let world = world().await;
    assert_eq!(world.reserve("attempt").await.unwrap(), "1");
    let mut retried = Request::new(wish("attempt"));
    retried.metadata_mut().insert("grpc-previous-rpc-attempts", "2".parse().unwrap());
    assert_eq!(world.reserve_with(retried).await.unwrap(), "3");
}

#[tokio::test]
async fn every_method_is_counted_with_code_and_reason() {
    let world = world().await;
    world.reserve("ada").await.unwrap();
    world.reserve("sold out").await.unwrap_err();
    raw::call(&world.channel, "/holdfast.reservation.v1.ReservationService/Nothing", b"").await.unwrap_err();
    let (status, text) = world.admin("/metrics").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    let reserve = "method=\"/holdfast.reservation.v1.ReservationService/Reserve\"";
    for line in [
        format!("holdfast_rpc_server_requests_total{{{reserve},code=\"OK\",reason=\"\"}} 1"),
        format!(
            "holdfast_rpc_server_requests_total{{{reserve},code=\"FAILED_PRECONDITION\",reason=\"INSUFFICIENT_STOCK\"}} 1"
        ),
        String::from(
            "holdfast_rpc_server_requests_total{method=\"unknown\",code=\"UNIMPLEMENTED\",reason=\"UNKNOWN_METHOD\"} 1",
        ),
        format!("holdfast_rpc_server_duration_seconds_count{{{reserve}}} 2"),
        String::from("# EOF"),
    ] {
        assert!(text.contains(&line), "no {line} in\n{text}");
    }
}

#[tokio::test]
async fn failures_are_counted_from_none_on_so_that_the_first_one_shows() {
    let world = world().await;
    let (_, text) = world.admin("/metrics").await;
    let reserve = "method=\"/holdfast.reservation.v1.ReservationService/Reserve\"";
    for answer in [
        "code=\"OK\",reason=\"\"",
        "code=\"RESOURCE_EXHAUSTED\",reason=\"OVERLOADED\"",
        "code=\"UNAVAILABLE\",reason=\"STORE_UNAVAILABLE\"",
        "code=\"DEADLINE_EXCEEDED\",reason=\"DEADLINE_EXCEEDED\"",
        "code=\"INTERNAL\",reason=\"INTERNAL\"",
    ] {
        let line = format!("\nholdfast_rpc_server_requests_total{{{reserve},{answer}}} 0\n");
        assert!(text.contains(&line), "no {line} in\n{text}");
    }
}

#[tokio::test]
async fn a_process_says_since_when_it_runs() {
    let world = world().await;
    let (_, text) = world.admin("/metrics").await;
    let started = text.lines().find_map(|line| line.strip_prefix("holdfast_process_start_time_seconds "));
    let started: f64 = started.expect("it is said").parse().expect("a number");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 60.0..=now).contains(&started), "{started}, and now is {now}");
}

#[test]
fn a_metric_without_a_value_is_named_and_explained() {
    let metrics = holdfast_kit::Metrics::new();
    let family: prometheus_client::metrics::family::Family<
        Vec<(&str, &str)>,
        prometheus_client::metrics::counter::Counter,
    > = metrics.register("holdfast_never", "What never happens", Default::default());
    let _gauge = metrics.gauge("holdfast_always", "What is there");
    let named = "# HELP holdfast_never What never happens.\n# TYPE holdfast_never counter\n# EOF\n";
    assert!(metrics.encode().ends_with(named), "{}", metrics.encode());
    family.get_or_create(&vec![("label", "x")]).inc();
    let text = metrics.encode();
    assert_eq!(text.matches("# TYPE holdfast_never counter\n").count(), 1, "{text}");
    assert!(text.contains("holdfast_never_total{label=\"x\"} 1\n") && text.ends_with("# EOF\n"), "{text}");
}

#[tokio::test]
async fn a_trace_context_comes_in_and_goes_out() {
    static TELEMETRY: std::sync::Once = std::sync::Once::new();
    TELEMETRY.call_once(|| {
        let common = holdfast_kit::Common::default();
        std::mem::forget(holdfast_kit::telemetry::init(&common.telemetry, "holdfast-obedient").unwrap());
    });
    let world = world().await;
    let mut request = Request::new(wish("trace"));
    let sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", sent.parse().unwrap());
    let seen = world.reserve_with(request).await.unwrap();
    let (trace, span) = (&seen[3..35], &seen[36..52]);
    assert_eq!(trace, "0af7651916cd43dd8448eb211c80319c");
    assert_ne!(span, "b7ad6b7169203331", "the next hop's parent is our span, not our caller's");
    assert!(seen.ends_with("-01"), "{seen}");
    // A recorded trace stands beside the duration.
    assert!(world.metrics.encode().contains("trace_id=\"0af7651916cd43dd8448eb211c80319c\""));
}

#[tokio::test]
async fn probes_say_what_they_should() {
    let world = world().await;
    assert_eq!(world.admin("/livez").await, ("HTTP/1.1 200 OK".into(), "alive\n".into()));
    assert_eq!(world.admin("/readyz").await, ("HTTP/1.1 200 OK".into(), "ready\n".into()));
    let mut health = HealthClient::new(world.channel.clone());
    for service in ["", "holdfast-obedient", "holdfast.reservation.v1.ReservationService"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap();
        assert_eq!(answer.into_inner().status, 1, "{service:?} is serving");
    }
    let unknown = health.check(HealthCheckRequest { service: "nothing".into() }).await.unwrap_err();
    assert_reason(&unknown, ErrorReason::NotFound);
}

#[tokio::test]
async fn both_versions_of_reflection_know_our_services() {
    use tonic_reflection::pb::{v1, v1alpha};
    let world = world().await;
    let asked = v1::ServerReflectionRequest {
        message_request: Some(v1::server_reflection_request::MessageRequest::FileContainingSymbol(
            "holdfast.reservation.v1.ReservationService".into(),
        )),
        ..Default::default()
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(world.channel.clone());
    let answer = client.server_reflection_info(tokio_stream::iter([asked])).await.unwrap();
    let answer = answer.into_inner().next().await.unwrap().unwrap().message_response.unwrap();
    assert!(matches!(answer, v1::server_reflection_response::MessageResponse::FileDescriptorResponse(_)), "{answer:?}");

    let asked = v1alpha::ServerReflectionRequest {
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(world.channel.clone());
    let answer = client.server_reflection_info(tokio_stream::iter([asked])).await.unwrap();
    let answer = answer.into_inner().next().await.unwrap().unwrap().message_response.unwrap();
    let v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(listed) = answer else {
        panic!("{answer:?}")
    };
    let names: Vec<_> = listed.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"holdfast.reservation.v1.ReservationService"), "{names:?}");
    assert!(!names.contains(&"holdfast.catalog.v1.CatalogService"), "only what is served here: {names:?}");
}

#[tokio::test]
async fn shutdown_lets_requests_end_and_ends_open_streams() {
    let world = world_with(|common| common.server.drain_seconds_max = 9).await;
    // A stream that would never end by itself.
    let mut health = HealthClient::new(world.channel.clone());
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watch.next().await.unwrap().unwrap();
    let mut client = world.client();
    let in_flight = tokio::spawn(async move { client.reserve(wish("wait at the gate")).await });
    world.in_flight(1).await;

    let started = Instant::now();
    world.shutdown.cancel();
    let not_serving = watch.next().await.unwrap().unwrap();
    assert_eq!(not_serving.status, 2);
    assert!(world.admin("/readyz").await.0.contains("503"));
    world.gate.add_permits(1);
    in_flight.await.unwrap().expect("a request in flight ends in peace");
    assert_reason(&watch.next().await.unwrap().unwrap_err(), ErrorReason::ShuttingDown);
    world.served.await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_off_when_the_drain_is_over() {
    let world = world_with(|common| common.server.drain_seconds_max = 1).await;
    let mut client = world.client();
    let stuck = tokio::spawn(async move { client.reserve(wish("wait for ever")).await });
    world.in_flight(1).await;
    let started = Instant::now();
    world.shutdown.cancel();
    world.served.await.unwrap().unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    stuck.abort();
}

#[tokio::test]
async fn headers_above_the_limit_are_refused() {
    let world = world_with(|common| common.server.header_list_bytes_max = 2048).await;
    let mut request = Request::new(wish("ada"));
    request.metadata_mut().insert("x-large", "x".repeat(4096).parse().unwrap());
    let refused = world.reserve_with(request).await.unwrap_err();
    assert_ne!(refused.code(), Code::Ok);
    world.reserve("ada").await.unwrap();
}
