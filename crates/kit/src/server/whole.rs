//! Makes a request stream that broke off an error. tonic lets a stream that its caller cancelled end like one that is complete, and half a file would pass for a
//! whole one.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::problem::{Problem, reason_of};
use bytes::Bytes;
use holdfast_api::error::v1::ErrorReason;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

/// A gRPC service whose request streams end only where their callers ended them.
#[derive(Debug, Clone)]
pub struct WholeStreams<S>(S);

impl<S> WholeStreams<S> {
    /// Around a generated server.
    pub fn new(service: S) -> Self {
        Self(service)
    }
}

impl<S: NamedService> NamedService for WholeStreams<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for WholeStreams<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        self.0.call(request.map(|body| Body::new(Whole(body))))
    }
}

/// A body whose errors tonic does not take for its end.
#[derive(Debug)]
struct Whole(Body);

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(context));
        Poll::Ready(frame.map(|frame| frame.map_err(broke_off)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// What the server stack says of a body has a reason and stays; what is left is the transport's, and means that nothing more comes.
fn broke_off(status: Status) -> Status {
    if reason_of(&status).is_some() {
        return status;
    }
    Problem::new(ErrorReason::StoreUnavailable, "the stream broke off and had no effect; send it again").into()
}
