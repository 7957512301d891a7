//! A real gRPC server that serves WatchSkus as it is told to, stream by stream, and remembers the tokens that it was asked with.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use holdfast_client::api::catalog::v1::watch_skus_response::Event;
use holdfast_client::api::catalog::v1::*;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// When to come back, as the server's refusals say.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(10);

/// What a stream does next. After its last reply it stays silent.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Sends an event.
    Send(Box<WatchSkusResponse>),
    /// Fails: as the first reply, the call itself; later, the stream.
    Fail(Status),
    /// Ends as if there were no more.
    End,
    /// Waits until it is told to go on.
    Pause,
}

pub(crate) fn state(code: &str, token: &str) -> Reply {
    let sku = Sku { code: code.to_owned(), ..Sku::default() };
    send(Event::State(SkuState { sku: Some(sku), offers: Vec::new() }), token)
}

pub(crate) fn end(token: &str) -> Reply {
    send(Event::SnapshotEnd(SnapshotEnd {}), token)
}

pub(crate) fn checkpoint(token: &str) -> Reply {
    send(Event::Checkpoint(Checkpoint {}), token)
}

fn send(event: Event, token: &str) -> Reply {
    Reply::Send(Box::new(WatchSkusResponse { event: Some(event), resume_token: token.to_owned() }))
}

/// A holdfast error as a service would send it, with the wish to come back soon.
pub(crate) fn holdfast(code: Code, reason: &str) -> Reply {
    let mut details = ErrorDetails::with_error_info(reason, "holdfast", []);
    details.set_retry_info(Some(RETRY_AFTER));
    Reply::Fail(Status::with_error_details(code, "as scripted", details))
}

/// The server. It lives as long as the test's runtime.
#[derive(Clone)]
pub(crate) struct Server {
    address: SocketAddr,
    streams: Arc<Mutex<VecDeque<Vec<Reply>>>>,
    tokens: Arc<Mutex<Vec<String>>>,
    paused: Arc<Notify>,
}

impl Server {
    /// Listens; each watch gets the next of `streams`.
    pub(crate) async fn start(streams: impl IntoIterator<Item = Vec<Reply>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            streams: Arc::new(Mutex::new(streams.into_iter().collect())),
            tokens: Arc::default(),
            paused: Arc::default(),
        };
        let serving = tonic::transport::Server::builder().add_service(server.clone());
        tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
        server
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The tokens of all watches that arrived, in order.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.tokens.lock().unwrap().clone()
    }

    /// Ends a pause.
    pub(crate) fn go_on(&self) {
        self.paused.notify_one();
    }
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Status>> + Send>>;

impl ServerStreamingService<WatchSkusRequest> for Server {
    type Response = WatchSkusResponse;
    type ResponseStream = ReceiverStream<Result<WatchSkusResponse, Status>>;
    type Future = Answer<Response<Self::ResponseStream>>;

    fn call(&mut self, request: Request<WatchSkusRequest>) -> Self::Future {
        self.tokens.lock().unwrap().push(request.into_inner().resume_token);
        let replies = self.streams.lock().unwrap().pop_front().unwrap_or_default();
        let paused = Arc::clone(&self.paused);
        Box::pin(async move {
            if let Some(Reply::Fail(status)) = replies.first() {
                return Err(status.clone());
            }
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                for reply in replies {
                    match reply {
                        Reply::Send(response) => drop(sender.send(Ok(*response)).await),
                        Reply::Fail(status) => drop(sender.send(Err(status)).await),
                        Reply::End => return,
                        Reply::Pause => paused.notified().await,
                    }
                }
                std::future::pending::<()>().await;
            });
            Ok(Response::new(ReceiverStream::new(receiver)))
        })
    }
}

impl NamedService for Server {
    const NAME: &'static str = "holdfast.catalog.v1.CatalogService";
}

impl Service<http::Request<Body>> for Server {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            assert_eq!(request.uri().path(), "/holdfast.catalog.v1.CatalogService/WatchSkus");
            Ok(Grpc::new(tonic_prost::ProstCodec::default()).server_streaming(server, request).await)
        })
    }
}
