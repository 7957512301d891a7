//! Fetching over HTTP: from a real server on loopback that does what servers do.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::{FeedMode, RunOrigin, RunState};
use holdfast_testkit::eventually;
use http::{HeaderMap, StatusCode, header};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::world::{FEED, World, connection, file};

const LAST_MODIFIED: &str = "Thu, 01 Jan 2026 12:00:00 GMT";
const LAST_MODIFIED_SECONDS: i64 = 1_767_268_800;

/// What the server answers next, and what it was asked.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<Mutex<Vec<(String, HeaderMap)>>>,
    calls: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: Vec<(header::HeaderName, String)>,
    body: Vec<u8>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answer = Answer { status: StatusCode::OK, headers: Vec::new(), body: Vec::new() };
        let server = Self {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(answer)),
            asked: Arc::default(),
            calls: Arc::default(),
        };
        let router = Router::new().fallback(any(Self::serve)).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    async fn serve(State(server): State<Self>, request: Request) -> Response {
        server.calls.fetch_add(1, Ordering::SeqCst);
        server.asked.lock().unwrap().push((request.uri().to_string(), request.headers().clone()));
        let Answer { status, headers, body } = server.answer.lock().unwrap().clone();
        let builder = headers
            .iter()
            .fold(Response::builder().status(status), |builder, (name, value)| builder.header(name, value));
        builder.body(Body::from(body)).unwrap()
    }

    fn answers(&self, status: u16, headers: &[(header::HeaderName, &str)], body: impl Into<Vec<u8>>) {
        let headers = headers.iter().map(|(name, value)| (name.clone(), (*value).to_owned())).collect();
        let status = StatusCode::from_u16(status).unwrap();
        *self.answer.lock().unwrap() = Answer { status, headers, body: body.into() };
    }

    fn url(&self) -> String {
        format!("http://{}/acme/stock.csv?full=1", self.address)
    }

    fn asked(&self) -> (String, HeaderMap) {
        self.asked.lock().unwrap().last().unwrap().clone()
    }
}

fn pulled(url: String, credential: &str) -> wire::Connection {
    let interval = Some(prost_types::Duration { seconds: 86_400, nanos: 0 });
    let pull = wire::HttpPull { url, interval, credential: credential.to_owned() };
    wire::Connection { http_pull: Some(pull), ..connection(FeedMode::Partial) }
}

/// A world whose connection fetches from a URL, and only when it is asked to: its first look of its own is over.
async fn world(url: String, keys: &[(&'static str, &str)]) -> World {
    let mut all = vec![("PULL__ALLOW_PRIVATE_ADDRESSES", "true"), ("FETCH__POLL_MS", "20")];
    all.extend(keys);
    let world = World::with(&all).await;
    world.offers("a:CHAIR");
    world.create(pulled(url, "")).await.unwrap();
    looked(&world, 1).await;
    world
}

/// Waits until the connection was looked at and is free.
async fn looked(world: &World, times: i64) {
    eventually("the connection was looked at", Duration::from_secs(60), || async {
        let free = "SELECT count(*) FROM connection WHERE fetch_time IS NOT NULL AND fetch_holder IS NULL";
        (world.number(free).await == times).then_some(())
    })
    .await;
}

async fn look(world: &World) -> wire::FetchNowResponse {
    let request = wire::FetchNowRequest { code: FEED.to_owned() };
    world.client.clone().fetch_now(request).await.unwrap().into_inner()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A server of few words: answers each connection with the same bytes, and closes it or falls silent.
async fn raw(answer: &'static [u8], closes: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            drop(stream.read(&mut request).await);
            drop(stream.write_all(answer).await);
            if !closes {
                open.push(stream);
            }
        }
    });
    format!("http://{address}/stock.csv")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_fetched_by_itself_and_again_only_when_it_is_new() {
    let server = Server::start().await;
    server.answers(200, &[(header::ETAG, "\"v1\""), (header::LAST_MODIFIED, LAST_MODIFIED)], file("a=3"));
    let world = world(server.url(), &[]).await;
    eventually("the file is applied", Duration::from_secs(60), || async { (world.stock() == "CHAIR=3").then_some(()) })
        .await;
    assert_eq!(server.asked().0, "/acme/stock.csv?full=1");
    assert!(
        !server.asked().1.contains_key(header::IF_NONE_MATCH) && !server.asked().1.contains_key(header::AUTHORIZATION)
    );

    server.answers(304, &[], "");
    let looked = look(&world).await;
    assert_eq!((looked.fetch_status.as_str(), looked.runs.len()), ("nothing new", 0));
    let (_, headers) = server.asked();
    assert_eq!(
        (&headers[header::IF_NONE_MATCH], &headers[header::IF_MODIFIED_SINCE]),
        (&"\"v1\"".parse().unwrap(), &LAST_MODIFIED.parse().unwrap())
    );

    server.answers(200, &[(header::LAST_MODIFIED, LAST_MODIFIED)], file("a=3"));
    let known = look(&world).await;
    assert_eq!(known.fetch_status, "31 bytes, known already".replace("31", &file("a=3").len().to_string()));
    let run = &known.runs[0];
    assert_eq!(
        (run.origin(), run.file_name.as_str(), run.state()),
        (RunOrigin::HttpPull, "stock.csv", RunState::Applied)
    );
    assert_eq!(run.as_of_time.unwrap().seconds, LAST_MODIFIED_SECONDS);
    look(&world).await;
    assert!(!server.asked().1.contains_key(header::IF_NONE_MATCH), "the newest answer had none");
    assert_eq!(world.number("SELECT count(*) FROM run").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_last_modified_the_servers_clock_says_when() {
    let server = Server::start().await;
    server.answers(200, &[(header::DATE, "Thu, 01 Jan 2026 13:00:00 GMT")], file("a=3"));
    let world = world(server.url(), &[]).await;
    let looked = look(&world).await;
    assert_eq!(looked.runs[0].as_of_time.unwrap().seconds, LAST_MODIFIED_SECONDS + 3600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_refuses_is_told_and_tried_again_later() {
    let server = Server::start().await;
    server.answers(503, &[], "busy");
    let world = world(server.url(), &[("FETCH__PAUSE_SECONDS_MAX", "200000")]).await;
    for status in [404, 401, 500, 204, 206, 304, 418] {
        server.answers(status, &[], "");
        let looked = look(&world).await;
        assert!(looked.fetch_status.starts_with(&format!("127.0.0.1 answered {status}")), "{}", looked.fetch_status);
    }
    assert_eq!(world.number("SELECT fetch_failures::bigint FROM connection WHERE code = 'acme-berlin'").await, 8);
    let days = world.number("SELECT round(extract(epoch FROM fetch_due - fetch_time) / 86400)::bigint FROM connection WHERE code = 'acme-berlin'").await;
    assert_eq!(days, 2, "the pause grew up to its limit");
    server.answers(200, &[], file("a=3"));
    assert_eq!(look(&world).await.runs.len(), 1);
    assert_eq!(world.number("SELECT fetch_failures::bigint FROM connection WHERE code = 'acme-berlin'").await, 0);
    assert_eq!(world.stock(), "CHAIR=3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packed_files_are_unpacked_and_bombs_are_not() {
    let server = Server::start().await;
    let modified = (header::LAST_MODIFIED, LAST_MODIFIED);
    server.answers(200, &[(header::CONTENT_ENCODING, "gzip"), modified.clone()], gzip(file("a=3").as_bytes()));
    let world = world(server.url(), &[("UPLOADS__FILE_BYTES_MAX", "100000")]).await;
    assert_eq!(look(&world).await.runs[0].content_sha256.len(), 64);
    assert_eq!(server.asked().1[header::ACCEPT_ENCODING], "gzip");
    server.answers(200, std::slice::from_ref(&modified), gzip(file("a=3").as_bytes()));
    look(&world).await;
    server.answers(200, &[modified], file("a=3"));
    look(&world).await;
    assert_eq!(world.number("SELECT count(*) FROM run").await, 1, "the same file in three wrappings");

    server.answers(200, &[(header::CONTENT_ENCODING, "gzip")], gzip(&vec![b'0'; 20_000_000]));
    assert_eq!(look(&world).await.fetch_status, "the file has more than the 100000 bytes that are taken");
    server.answers(200, &[], vec![b'0'; 100_001]);
    assert_eq!(look(&world).await.fetch_status, "the file has more than the 100000 bytes that are taken");
    server.answers(200, &[(header::CONTENT_ENCODING, "gzip")], &gzip(file("a=9").as_bytes())[..30]);
    assert!(look(&world).await.fetch_status.contains("gzip"));
    server.answers(200, &[(header::CONTENT_ENCODING, "br")], file("a=9"));
    assert!(look(&world).await.fetch_status.contains("packed as \"br\""));
    assert_eq!((world.number("SELECT count(*) FROM run").await, world.stock().as_str()), (1, "CHAIR=3"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_breaks_off_or_never_ends_is_no_file() {
    let cut: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncode,stock,name\na,3,x\n";
    let chunked: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\ncode,stock,name\n\r\n";
    let keys = [("PULL__IDLE_TIMEOUT_MS", "300")];
    for (answer, closes, problem) in [
        (cut, true, "the answer broke off"),
        (chunked, true, "the answer broke off"),
        (cut, false, "nothing came for 0.3 s in the middle of the file"),
        (b"", false, "127.0.0.1 was silent for 0.3 s"),
        (b"", true, "127.0.0.1 cannot be reached"),
        (b"HTTP/1.1 200 OK\r\n", false, "was silent"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", true, "127.0.0.1 cannot be reached"),
    ] {
        let world = world(raw(answer, closes).await, &keys).await;
        let status = look(&world).await.fetch_status;
        assert!(status.contains(problem), "{problem}: {status}");
        assert_eq!(world.number("SELECT count(*) FROM run").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_drips_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // An answer before the request is there would be no answer to it.
                drop(stream.read(&mut [0; 4096]).await);
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await);
                let mut ticks = tokio::time::interval(Duration::from_millis(50));
                while stream.write_all(b"x").await.is_ok() {
                    ticks.tick().await;
                }
            });
        }
    });
    let world = world(url, &[("PULL__TOTAL_TIMEOUT_MS", "1000")]).await;
    assert_eq!(look(&world).await.fetch_status, "the fetch took longer than 1 s in all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_are_followed_and_loops_are_not() {
    let (first, second) = (Server::start().await, Server::start().await);
    first.answers(307, &[(header::LOCATION, &second.url())], "");
    second.answers(200, &[(header::LAST_MODIFIED, LAST_MODIFIED)], file("a=3"));
    let world = world(first.url(), &[]).await;
    assert_eq!(look(&world).await.runs[0].state(), RunState::Applied);
    first.answers(302, &[(header::LOCATION, "/acme/stock.csv?full=1")], "");
    let calls = first.calls.load(Ordering::SeqCst);
    assert_eq!(look(&world).await.fetch_status, "a redirect of 127.0.0.1 is not followed: there are more than 5");
    assert_eq!(first.calls.load(Ordering::SeqCst), calls + 6);
    first.answers(301, &[(header::LOCATION, "file:///etc/passwd")], "");
    assert_eq!(
        look(&world).await.fetch_status,
        "a redirect of 127.0.0.1 is not followed: it leads to neither http nor https"
    );
    first.answers(301, &[], "");
    assert_eq!(look(&world).await.fetch_status, "a redirect of 127.0.0.1 is not followed: it does not say where to");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_goes_to_the_host_that_the_connection_names_and_to_no_other() {
    let (first, second) = (Server::start().await, Server::start().await);
    first.answers(302, &[(header::LOCATION, &second.url())], "");
    second.answers(403, &[], "");
    let keys = [
        ("PULL__ALLOW_PRIVATE_ADDRESSES", "true"),
        ("FETCH__POLL_MS", "20"),
        ("PULL__CREDENTIALS", r#"[{ name = "acme", token = "Bearer hush-hush" }]"#),
    ];
    let world = World::with(&keys).await;
    world.create(pulled(first.url(), "acme")).await.unwrap();
    looked(&world, 1).await;
    let status = look(&world).await.fetch_status;
    assert!(status.starts_with("127.0.0.1 answered 403") && !status.contains("hush"), "{status}");
    assert_eq!(first.asked().1[header::AUTHORIZATION], "Bearer hush-hush");
    assert!(!second.asked().1.contains_key(header::AUTHORIZATION));
    first.answers(302, &[(header::LOCATION, "/elsewhere")], "");
    look(&world).await;
    assert_eq!((first.asked().0.as_str(), first.asked().1.contains_key(header::AUTHORIZATION)), ("/elsewhere", true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_of_ones_own_network_are_not_fetched_from() {
    let server = Server::start().await;
    server.answers(200, &[], file("a=3"));
    let port = server.address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "2130706433",
        "0x7f.1",
        "169.254.169.254",
        "10.0.0.1",
    ] {
        let world = world(format!("http://{host}:{port}/x"), &[("PULL__ALLOW_PRIVATE_ADDRESSES", "false")]).await;
        let status = look(&world).await.fetch_status;
        assert!(status.contains("is not one of the public internet"), "{host}: {status}");
    }
    assert_eq!(server.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_address_is_looked_at_at_once_and_from_the_beginning() {
    let (first, second) = (Server::start().await, Server::start().await);
    first.answers(200, &[(header::ETAG, "\"v1\"")], file("a=3"));
    second.answers(200, &[(header::ETAG, "\"v2\"")], file("a=4"));
    let world = world(first.url(), &[]).await;
    let request = wire::UpdateConnectionRequest {
        request_id: crate::world::id(),
        connection: Some(pulled(second.url(), "")),
        update_mask: Some(prost_types::FieldMask { paths: vec!["http_pull".to_owned()] }),
    };
    world.client.clone().update_connection(request).await.unwrap();
    eventually("the other file is applied", Duration::from_secs(60), || async {
        (world.stock() == "CHAIR=4").then_some(())
    })
    .await;
    assert!(!second.asked().1.contains_key(header::IF_NONE_MATCH), "the other's ETag says nothing here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_servers_with_a_believed_certificate_are_fetched_from() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificates = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(certificates.path(), cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 4096];
                drop(stream.read(&mut request).await);
                let body = file("a=3");
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nLast-Modified: {LAST_MODIFIED}\r\n\r\n",
                    body.len()
                );
                drop(stream.write_all(format!("{head}{body}").as_bytes()).await);
                drop(stream.shutdown().await);
            });
        }
    });
    let url = format!("https://localhost:{port}/stock.csv");
    let stranger = world(url.clone(), &[]).await;
    let status = look(&stranger).await.fetch_status;
    assert!(status.starts_with("localhost cannot be reached: TLS: "), "{status}");
    let path = certificates.path().to_str().unwrap().to_owned();
    let friend = world(url, &[("PULL__CERTIFICATES", &path)]).await;
    let looked = look(&friend).await;
    assert_eq!((looked.runs.len(), friend.stock().as_str()), (1, "CHAIR=3"), "{}", looked.fetch_status);
    let wrong_name = world(format!("https://127.0.0.1:{port}/stock.csv"), &[("PULL__CERTIFICATES", &path)]).await;
    assert!(look(&wrong_name).await.fetch_status.contains("TLS: "));
}
