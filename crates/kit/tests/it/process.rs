//! A service as a process: its commands, its exit codes, its start and its end.

use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_testkit::eventually;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::Span;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

fn minimal(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-minimal"));
    command
        .args(arguments)
        .env("HOLDFAST_MINIMAL__POSTGRES__URL", "postgres://nobody:sesame@127.0.0.1:1/nothing")
        .env("HOLDFAST_MINIMAL__POSTGRES__CONNECT_SECONDS_MAX", "0")
        .env("HOLDFAST_MINIMAL__SERVER__DRAIN_SECONDS_MAX", "3")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(mut command: Command) -> Output {
    let output = command.output();
    tokio::time::timeout(Duration::from_secs(30), output).await.expect("it ends").unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A serving process and the addresses that it announced.
struct Serving {
    child: Child,
    announced: serde_json::Value,
    _folder: TempDir,
}

async fn serve(variables: &[(&str, &str)]) -> Serving {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("addresses.json");
    let mut command = minimal(&["serve", "--announce", file.to_str().unwrap()]);
    command.envs(variables.iter().copied());
    let child = command.spawn().unwrap();
    // Written beside and renamed: there whole, or not at all.
    let read = || async { std::fs::read_to_string(&file).ok() };
    let text = eventually("the announced addresses", Duration::from_secs(30), read).await;
    Serving { child, announced: serde_json::from_str(&text).unwrap(), _folder: folder }
}

impl Serving {
    fn address(&self, which: &str) -> String {
        self.announced[which].as_str().unwrap().to_owned()
    }

    async fn health(&self) -> HealthClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address("grpc"))).unwrap();
        HealthClient::new(endpoint.connect().await.unwrap())
    }

    async fn ends_by(self, signal: Signal) -> Output {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        tokio::time::timeout(Duration::from_secs(30), self.child.wait_with_output()).await.expect("it ends").unwrap()
    }
}

#[tokio::test]
async fn it_announces_its_ports_serves_and_ends_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let serving = serve(&[]).await;
        assert_eq!(serving.announced["service"], "holdfast-minimal");
        assert_eq!(serving.announced["pid"], serving.child.id().unwrap());
        serving.health().await.check(HealthCheckRequest::default()).await.unwrap();
        let output = serving.ends_by(signal).await;
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stderr(&output).contains("ended in order"), "{}", stderr(&output));
    }
}

#[tokio::test]
async fn an_open_stream_does_not_keep_it_from_ending() {
    let serving = serve(&[]).await;
    let mut client = serving.health().await;
    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    let output = serving.ends_by(Signal::TERM).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[tokio::test]
async fn a_port_in_use_is_said_with_the_next_step() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = minimal(&[]);
    command.env("HOLDFAST_MINIMAL__SERVER__GRPC_LISTEN", &address);
    let output = run(command).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let said = stderr(&output);
    for part in [address.as_str(), "server.grpc_listen", "Another process has this port", "ss -ltnp"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_ends_with_2_and_all_reasons() {
    let mut command = minimal(&["serve"]);
    command.env("HOLDFAST_MINIMAL__GREETING__TIMES", "0").env("HOLDFAST_MINIMAL__SERVER__DRAIN_SECONDS_MAX", "0");
    let output = run(command).await;
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("greeting.times") && said.contains("drain_seconds_max"), "{said}");
    assert_eq!(run(minimal(&["serv"])).await.status.code(), Some(2), "a misspelt command");
}

#[tokio::test]
async fn config_prints_what_holds_without_secrets_even_if_it_cannot_be_used() {
    let mut command = minimal(&["config"]);
    command.env("HOLDFAST_MINIMAL__GREETING__TIMES", "0");
    let output = run(command).await;
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(text.contains("times = 0\n") && text.contains("nobody:********@"), "{text}");
    assert!(!text.contains("sesame"), "{text}");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("greeting.times"));
}

#[tokio::test]
async fn the_environment_names_the_file_unless_the_command_line_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, times: u32| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("[greeting]\ntimes = {times}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (named, given) = (file("named.toml", 3), file("given.toml", 4));
    for (arguments, expected) in [(&["config"][..], "times = 3\n"), (&["config", "--config", &given], "times = 4\n")] {
        let mut command = minimal(arguments);
        command.env("HOLDFAST_MINIMAL_CONFIG", &named);
        let output = run(command).await;
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(String::from_utf8(output.stdout).unwrap().contains(expected), "{arguments:?}");
    }
}

#[tokio::test]
async fn it_says_which_build_it_is() {
    let output = run(minimal(&["--version"])).await;
    let text = String::from_utf8(output.stdout).unwrap();
    use holdfast_kit::build::{REVISION, VERSION};
    assert_eq!(text, format!("holdfast-minimal {VERSION} ({REVISION})\n"));
    assert!(!REVISION.is_empty());
    let shown = holdfast_kit::Metrics::new().encode();
    let line = format!("holdfast_build_info{{version=\"{VERSION}\",revision=\"{REVISION}\"}} 1\n");
    assert!(shown.contains(&line), "{shown}");
}

#[tokio::test]
async fn wait_schema_says_what_it_waited_for_and_ends_with_3() {
    let output = run(minimal(&["wait-schema", "--seconds", "1"])).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("waited for 1 s") && said.contains("127.0.0.1:1"), "{said}");
    let waiting = said.lines().filter(|line| line.contains("does not serve this program yet")).count();
    assert_eq!(waiting, 1, "one line a change: {said}");
    assert!(!said.contains("sesame"), "{said}");
    assert_eq!(run(minimal(&["wait-schema", "--seconds", "many"])).await.status.code(), Some(2));
}

#[tokio::test]
async fn migrate_says_where_postgres_is_not() {
    let output = run(minimal(&["migrate"])).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("127.0.0.1:1") && said.contains("postgres.url"), "{said}");
    assert!(!said.contains("sesame"), "{said}");
}

#[tokio::test]
async fn every_log_line_is_an_object_and_one_of_a_request_names_its_trace() {
    let serving = serve(&[("HOLDFAST_MINIMAL__TELEMETRY__LOG_FILTER", "info,holdfast_kit=debug")]).await;
    let mut request = Request::new(HealthCheckRequest::default());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    serving.health().await.check(request).await.unwrap();
    let output = serving.ends_by(Signal::TERM).await;
    let lines = stderr(&output);
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(lines.iter().all(|line| line["time"].is_string() && line["message"].is_string()), "{lines:#?}");
    let hello = lines.iter().find(|line| line["message"] == "hello").unwrap();
    assert_eq!((&hello["level"], hello.get("trace_id")), (&"INFO".into(), None));
    let answered = lines.iter().find(|line| line["message"] == "answered").unwrap();
    assert_eq!(answered["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!((&answered["code"], &answered["caller"]), (&"OK".into(), &"anonymous".into()), "{answered}");
}

/// Keeps the spans that it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let of_scopes = request.into_inner().resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        self.0.lock().unwrap().extend(of_scopes.flat_map(|scope| scope.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test]
async fn spans_reach_the_collector_before_the_process_ends() {
    let collector = Collector::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let collecting = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(collector.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let collecting = tokio::spawn(collecting);

    let serving = serve(&[("HOLDFAST_MINIMAL__TELEMETRY__OTLP_ENDPOINT", &endpoint)]).await;
    let mut request = Request::new(HealthCheckRequest { service: "nothing".into() });
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    serving.health().await.check(request).await.unwrap_err();
    let output = serving.ends_by(Signal::TERM).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    collecting.abort();

    let spans = collector.0.lock().unwrap();
    let span = spans.iter().find(|span| span.name == "grpc.health.v1.Health/Check").expect("the call's span");
    assert_eq!(hex(&span.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&span.parent_span_id), "b7ad6b7169203331");
    assert_eq!(span.kind, 2, "a server's span");
    let attribute = |name: &str| {
        let found = span.attributes.iter().find(|attribute| attribute.key == name)?;
        Some(format!("{:?}", found.value.as_ref()?.value.as_ref()?))
    };
    use holdfast_kit::telemetry::names;
    assert!(attribute(names::RPC_SYSTEM_NAME).unwrap().contains("grpc"));
    assert!(attribute(names::RPC_METHOD).unwrap().contains("grpc.health.v1.Health/Check"));
    assert!(attribute(names::RPC_RESPONSE_STATUS_CODE).unwrap().contains("NOT_FOUND"));
    assert_eq!(attribute(names::ERROR_TYPE), None, "NOT_FOUND is no error of the server's");
}

#[tokio::test]
async fn a_collector_that_does_not_listen_does_not_keep_it_from_ending() {
    let serving = serve(&[("HOLDFAST_MINIMAL__TELEMETRY__OTLP_ENDPOINT", "http://127.0.0.1:1")]).await;
    serving.health().await.check(HealthCheckRequest::default()).await.unwrap();
    let output = serving.ends_by(Signal::TERM).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
