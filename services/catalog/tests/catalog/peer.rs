//! Stands in for reservation and vendor-sync: a real gRPC server that keeps what it is told, and fails on demand.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use holdfast_api::error::v1::ErrorReason;
use holdfast_api::reservation::v1::{ApplyPoliciesRequest, ApplyPoliciesResponse, SkuPolicy};
use holdfast_api::vendorsync::v1::{ApplyOffersRequest, ApplyOffersResponse, SkuOffers};
use holdfast_kit::Problem;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

/// What it does with what it is told.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Mode {
    /// Keeps it and says so.
    #[default]
    Take,
    /// Keeps nothing, and says that it cannot answer.
    Away,
    /// Keeps nothing and never answers.
    Hang,
    /// Keeps it and never answers.
    TakeAndHang,
    /// Keeps it and says that it did not answer in time, every other time.
    TakeAndForget,
    /// Refuses each message that has this SKU.
    Refuse(&'static str),
}

/// A SKU that it was told of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    pub(crate) sku: String,
    pub(crate) version: i64,
    pub(crate) archived: bool,
    /// The safety stock, or the vendors' codes.
    pub(crate) what: String,
    /// The policy itself, to reservation.
    pub(crate) policy: Option<SkuPolicy>,
}

#[derive(Debug, Default)]
struct State {
    told: Mutex<Vec<Vec<Told>>>,
    tokens: Mutex<Vec<String>>,
    mode: Mutex<Mode>,
    calls: Mutex<usize>,
}

impl State {
    async fn take(&self, token: Option<String>, told: Vec<Told>) -> Result<(), Status> {
        self.tokens.lock().unwrap().extend(token);
        let mode = self.mode.lock().unwrap().clone();
        let call = {
            let mut calls = self.calls.lock().unwrap();
            *calls += 1;
            *calls
        };
        let away = || Problem::new(ErrorReason::StoreUnavailable, "told to be away").into_status_silently();
        let keep = |told| self.told.lock().unwrap().push(told);
        match mode {
            Mode::Take => keep(told),
            Mode::Away => return Err(away()),
            Mode::Hang => std::future::pending::<()>().await,
            Mode::TakeAndHang => {
                keep(told);
                std::future::pending::<()>().await;
            }
            Mode::TakeAndForget => {
                keep(told);
                if call % 2 == 1 {
                    return Err(away());
                }
            }
            Mode::Refuse(sku) => {
                if told.iter().any(|told| told.sku == sku) {
                    let problem = Problem::new(ErrorReason::InvalidField, "told to refuse it");
                    return Err(problem.into_status_silently());
                }
                keep(told);
            }
        }
        Ok(())
    }
}

/// The server; it ends when it is dropped.
pub(crate) struct Peer {
    pub(crate) url: String,
    state: Arc<State>,
    server: JoinHandle<()>,
}

impl Peer {
    /// Stands in for reservation.
    pub(crate) async fn reservation() -> Self {
        Self::start::<true>().await
    }

    /// Stands in for vendor-sync.
    pub(crate) async fn vendor_sync() -> Self {
        Self::start::<false>().await
    }

    async fn start<const POLICIES: bool>() -> Self
    where
        StandIn<POLICIES>:
            NamedService + Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
        <StandIn<POLICIES> as Service<http::Request<Body>>>::Future: Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<State>::default();
        let service = StandIn::<POLICIES>(Arc::clone(&state));
        let server = tokio::spawn(async move {
            Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
        });
        Self { url, state, server }
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.state.mode.lock().unwrap() = mode;
    }

    /// All that it was told, message by message.
    pub(crate) fn messages(&self) -> Vec<Vec<Told>> {
        self.state.told.lock().unwrap().clone()
    }

    /// All that it was told.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.messages().concat()
    }

    /// What it knows of a SKU: what was told with the highest version, as the services decide it.
    pub(crate) fn knows(&self, sku: &str) -> Option<Told> {
        self.told().into_iter().filter(|told| told.sku == sku).max_by_key(|told| told.version)
    }

    /// How often it was called.
    pub(crate) fn calls(&self) -> usize {
        *self.state.calls.lock().unwrap()
    }

    pub(crate) fn tokens(&self) -> Vec<String> {
        self.state.tokens.lock().unwrap().clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Clone)]
struct StandIn<const POLICIES: bool>(Arc<State>);

impl NamedService for StandIn<true> {
    const NAME: &'static str = "holdfast.reservation.v1.StockService";
}

impl NamedService for StandIn<false> {
    const NAME: &'static str = "holdfast.vendorsync.v1.VendorSyncService";
}

impl<const POLICIES: bool> Service<http::Request<Body>> for StandIn<POLICIES> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let state = Arc::clone(&self.0);
        Box::pin(async move {
            if POLICIES {
                assert_eq!(request.uri().path(), "/holdfast.reservation.v1.StockService/ApplyPolicies");
                let take = service_fn(move |request: Request<ApplyPoliciesRequest>| {
                    let state = Arc::clone(&state);
                    async move {
                        let token = token(&request);
                        let told = request.into_inner().policies.into_iter().map(policy).collect();
                        state.take(token, told).await.map(|()| Response::new(ApplyPoliciesResponse::default()))
                    }
                });
                Ok(Grpc::new(ProstCodec::default()).unary(take, request).await)
            } else {
                assert_eq!(request.uri().path(), "/holdfast.vendorsync.v1.VendorSyncService/ApplyOffers");
                let take = service_fn(move |request: Request<ApplyOffersRequest>| {
                    let state = Arc::clone(&state);
                    async move {
                        let token = token(&request);
                        let told = request.into_inner().skus.into_iter().map(offers).collect();
                        state.take(token, told).await.map(|()| Response::new(ApplyOffersResponse::default()))
                    }
                });
                Ok(Grpc::new(ProstCodec::default()).unary(take, request).await)
            }
        })
    }
}

fn token<T>(request: &Request<T>) -> Option<String> {
    request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned())
}

fn policy(policy: SkuPolicy) -> Told {
    let SkuPolicy { sku, version, archived, safety_stock, .. } = policy.clone();
    Told { sku, version, archived, what: safety_stock.to_string(), policy: Some(policy) }
}

fn offers(offers: SkuOffers) -> Told {
    let SkuOffers { sku, version, archived, offers } = offers;
    let codes: Vec<String> = offers.into_iter().map(|offer| offer.vendor_sku).collect();
    Told { sku, version, archived, what: codes.join(","), policy: None }
}
