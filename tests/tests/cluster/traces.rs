//! One trace across all hops: what the services send to a collector fits together.

use std::sync::{Arc, Mutex};

use holdfast_api::reservation::v1::reservation_service_client::ReservationServiceClient;
use holdfast_api::reservation::v1::{ReserveLine, ReserveRequest};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Endpoint;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::world::{Cluster, Options, end_in_order, scenario};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A service's span.
#[derive(Debug, Clone)]
struct Sent {
    service: String,
    span: Span,
}

/// Keeps the spans that it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Sent>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
            let service = text(&attributes, "service.name").unwrap_or_default();
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let sent = spans.map(|span| Sent { service: service.clone(), span });
            self.0.lock().expect("nobody panics with it").extend(sent);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Runs a scenario whose services send their spans to a collector; gives them all.
fn traced(options: Options, body: impl AsyncFnOnce(&mut Cluster)) -> Vec<Sent> {
    let collector = Collector::default();
    // The collector must be there before the services and after them.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let service = TraceServiceServer::new(collector.clone());
    let server = tonic::transport::Server::builder().add_service(service);
    runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    scenario(options.set("telemetry.otlp_endpoint", endpoint), async |cluster| {
        body(cluster).await;
        // Each sends its last spans before it ends.
        for process in cluster.vendor_sync.iter_mut().chain(&mut cluster.catalog).chain(&mut cluster.reservation) {
            assert!(end_in_order(process).await.success());
        }
    });
    runtime.shutdown_background();
    let sent = collector.0.lock().expect("nobody panics with it").clone();
    assert!(!sent.is_empty(), "the collector was sent nothing");
    sent
}

#[test]
fn a_batchs_commit_and_its_requests_find_each_other() {
    let sent = traced(Options::reservation(1), async |cluster| {
        cluster.count(&[("DESK", 10)]).await;
        let channel = Endpoint::from_shared(cluster.reservation[0].url()).expect("an endpoint").connect_lazy();
        let request = ReserveRequest {
            reservation_id: Uuid::now_v7().to_string(),
            owner: "cart".to_owned(),
            lines: vec![ReserveLine { sku: "DESK".to_owned(), quantity: 1, ..Default::default() }],
            ..Default::default()
        };
        ReservationServiceClient::new(channel).reserve(with_trace(request)).await.expect("there are ten");
    });
    let ours: Vec<_> = of_trace(&sent);
    let request = named(&ours, "holdfast.reservation.v1.ReservationService/Reserve");
    assert_eq!((request.service.as_str(), hex(&request.span.parent_span_id)), ("holdfast-reservation", PARENT.into()));
    assert_eq!(text(&request.span.attributes, "rpc.response.status_code").as_deref(), Some("OK"));

    let is_linked = |sent: &&Sent| {
        let to_request = |trace: &[u8], span: &[u8]| trace == request.span.trace_id && span == request.span.span_id;
        sent.span.links.iter().any(|link| to_request(&link.trace_id, &link.span_id))
    };
    let commits: Vec<_> = sent.iter().filter(|sent| sent.span.name == "commit").filter(is_linked).collect();
    let [commit] = commits[..] else { panic!("{} commits are linked to the request: {sent:#?}", commits.len()) };
    assert_eq!(text(&commit.span.attributes, "holdfast.lane").as_deref(), Some("checkout"));
    let noted = text(&request.span.attributes, "holdfast.batch.span_id");
    assert_eq!(noted, Some(hex(&commit.span.span_id)), "and the request names the batch");
}

fn with_trace<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let parent = format!("00-{TRACE}-{PARENT}-01").parse().expect("a header");
    request.metadata_mut().insert("traceparent", parent);
    request
}

/// The spans of the caller's trace.
fn of_trace(sent: &[Sent]) -> Vec<Sent> {
    sent.iter().filter(|sent| hex(&sent.span.trace_id) == TRACE).cloned().collect()
}

fn named<'a>(spans: &'a [Sent], name: &str) -> &'a Sent {
    spans.iter().find(|sent| sent.span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        other => Some(format!("{other:?}")),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
