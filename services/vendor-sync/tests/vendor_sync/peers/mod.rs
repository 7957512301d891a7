//! The services that vendor-sync calls, as far as it calls them. [`crate::apply_counts`] holds the stock service against its contract.

mod catalog;
mod stock;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use holdfast_api::catalog::v1::catalog_service_server::CatalogServiceServer;
use holdfast_api::reservation::v1::CountMeaning;
use holdfast_api::reservation::v1::stock_service_server::StockServiceServer;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tonic::transport::server::TcpIncoming;
use tonic::{Response, Status};

use stock::Stock;

type Answer<T> = Result<Response<T>, Status>;

/// A catalog and a reservation on one port.
#[derive(Clone, Default)]
pub(crate) struct Peers {
    pub(crate) offers: Arc<Mutex<HashMap<String, (String, i64)>>>,
    pub(crate) catalog_is_down: Arc<AtomicBool>,
    pub(crate) catalog_calls: Arc<AtomicUsize>,
    pub(crate) stock: Arc<Mutex<Stock>>,
    pub(crate) faults: Arc<Faults>,
}

/// What reservation is told to do wrong.
pub(crate) struct Faults {
    /// Says UNAVAILABLE and does nothing.
    pub(crate) down: AtomicBool,
    /// So many times: does it, and says UNAVAILABLE.
    pub(crate) lost_answers: AtomicUsize,
    /// Each call takes one; without one it waits.
    pub(crate) calls: Semaphore,
    /// How many calls wait.
    pub(crate) waiting: Semaphore,
    /// Says INVALID_FIELD of counts of SKUs that begin with this.
    pub(crate) refused_prefix: Mutex<Option<String>>,
    /// Says INVALID_FIELD of the as_of_time, so many times.
    pub(crate) refused_requests: AtomicUsize,
}

/// More calls than these tests make at once.
const WAITERS_MAX: usize = 1000;

impl Default for Faults {
    fn default() -> Self {
        Self {
            down: AtomicBool::default(),
            lost_answers: AtomicUsize::default(),
            calls: Semaphore::new(Semaphore::MAX_PERMITS),
            waiting: Semaphore::new(WAITERS_MAX),
            refused_prefix: Mutex::default(),
            refused_requests: AtomicUsize::default(),
        }
    }
}

/// Takes one of a number, if it is not zero.
fn take(number: &AtomicUsize) -> bool {
    number.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Peers {
    /// Serves on a free port until the runtime ends.
    pub(crate) async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(CatalogServiceServer::new(self.clone()))
            .add_service(StockServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        address
    }

    /// Lets so many calls of ApplyCounts through; the next ones wait.
    pub(crate) fn let_through(&self, calls: usize) {
        self.faults.calls.forget_permits(usize::MAX);
        self.faults.calls.add_permits(calls);
    }

    pub(crate) fn on_hand(&self, sku: &str, location: &str) -> Option<i64> {
        self.stock.lock().unwrap().rows.get(&(sku.to_owned(), location.to_owned())).map(|row| row.on_hand)
    }

    /// How many calls of ApplyCounts wait to be let through.
    pub(crate) fn waiting(&self) -> usize {
        WAITERS_MAX - self.faults.waiting.available_permits()
    }

    pub(crate) fn landed(&self) -> usize {
        self.stock.lock().unwrap().landed.len()
    }

    /// What is offered of a SKU's units: no more than its limit.
    pub(crate) fn offered(&self, sku: &str, location: &str) -> Option<i64> {
        self.stock.lock().unwrap().rows.get(&(sku.to_owned(), location.to_owned())).map(stock::Row::offered)
    }

    /// As if somebody had counted before these tests.
    pub(crate) fn put(&self, sku: &str, location: &str, on_hand: i64) {
        let row = stock::Row { on_hand, ..stock::Row::default() };
        self.stock.lock().unwrap().rows.insert((sku.to_owned(), location.to_owned()), row);
    }
}

impl Peers {
    /// As if units of a SKU had been sold: counts of that meaning are without them from that second of the day of these tests on.
    pub(crate) fn sell(&self, sku: &str, location: &str, units: i64, meaning: CountMeaning, since: i64) {
        let mut stock = self.stock.lock().unwrap();
        let row = stock.rows.get_mut(&(sku.to_owned(), location.to_owned())).unwrap();
        row.sold.push((units, meaning, (since, 0)));
    }
}

/// What vendor-sync has no business to call.
fn uncalled() -> Status {
    Status::unimplemented("vendor-sync does not call this")
}
