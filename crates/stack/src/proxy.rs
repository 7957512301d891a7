//! The network between two parts, to be broken on purpose: a TCP proxy that is slow, narrow, cut, silent or half open.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::error::{Result, StackError};

/// Bytes handed on at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks under way in one direction of one connection; more wait in the sender's socket.
const CHUNKS_MAX: usize = 1024;

/// What becomes of the bytes that go in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    /// How much later than sent they arrive. Order is kept, and so is bandwidth.
    pub latency: Duration,
    /// How many pass in a second; no limit if `None`.
    pub bytes_per_second: Option<u32>,
    /// Nothing passes until this is taken back; nothing is lost either.
    pub stalled: bool,
}

/// How the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Network {
    /// From whoever connected to the server.
    pub to_server: Flow,
    /// From the server to whoever connected.
    pub to_client: Flow,
    /// New connections are reset.
    pub refuses: bool,
}

impl Network {
    /// Each way takes this long.
    pub fn slow(latency: Duration) -> Self {
        let flow = Flow { latency, ..Flow::default() };
        Self { to_server: flow, to_client: flow, refuses: false }
    }

    /// Each way is this narrow.
    pub fn narrow(bytes_per_second: u32) -> Self {
        let flow = Flow { bytes_per_second: Some(bytes_per_second), ..Flow::default() };
        Self { to_server: flow, to_client: flow, refuses: false }
    }

    /// Connections are accepted and stay open, and nothing passes.
    pub fn black_hole() -> Self {
        let flow = Flow { stalled: true, ..Flow::default() };
        Self { to_server: flow, to_client: flow, refuses: false }
    }

    /// Requests arrive, answers do not.
    pub fn mute() -> Self {
        Self { to_client: Flow { stalled: true, ..Flow::default() }, ..Self::default() }
    }
}

/// What happens to the connections that are there.
#[derive(Debug, Clone, Copy, Default)]
struct Events {
    /// Counts how often all connections were reset.
    cuts: u64,
    /// Counts how often the server's side of all connections was closed behind the client's back.
    halvings: u64,
}

/// A proxy on a port of its own. Dropping it ends all of its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    target: watch::Sender<SocketAddr>,
    network: watch::Sender<Network>,
    events: watch::Sender<Events>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy for the server at `target`, on a free port of 127.0.0.1, with a network that is well.
    ///
    /// # Errors
    ///
    /// [`StackError::Io`] when there is no free port.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let failed = |error| StackError::io("starting a proxy", error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (network, seen_network) = watch::channel(Network::default());
        let (events, seen_events) = watch::channel(Events::default());
        let (target, seen_target) = watch::channel(target);
        let accepting = tokio::spawn(accept(listener, seen_target, seen_network, seen_events));
        Ok(Self { address, target, network, events, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections lead to another server; those that are there stay where they are, as behind a name that has moved.
    pub fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(target);
    }

    /// Changes the network, for connections that are there and for new ones.
    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }

    /// All is well from now on: what was stalled passes. Connections that were cut stay cut.
    pub fn heal(&self) {
        self.set(Network::default());
    }

    /// Resets all connections; new ones are made as usual.
    pub fn cut(&self) {
        self.events.send_modify(|events| events.cuts += 1);
    }

    /// Resets all connections and every new one, until [`Proxy::heal`].
    pub fn cut_off(&self) {
        self.network.send_modify(|network| network.refuses = true);
        self.cut();
    }

    /// The server's side of all connections is closed, the client's stays open and silent: what a client sees of a server
    /// that lost its power.
    pub fn halve(&self) {
        self.events.send_modify(|events| events.halvings += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: watch::Receiver<SocketAddr>,
    network: watch::Receiver<Network>,
    events: watch::Receiver<Events>,
) {
    // The connections are this task's, so that they end with it.
    let mut connections = JoinSet::new();
    while let Ok((client, _from)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if network.borrow().refuses {
            reset(&client);
            continue;
        }
        let (network, events) = (network.clone(), events.clone());
        let target = *target.borrow();
        connections.spawn(async move {
            match TcpStream::connect(target).await {
                Ok(server) => connection(client, server, network, events).await,
                Err(_refused) => reset(&client),
            }
        });
    }
}

/// Has the connection end with a reset rather than in peace when it is dropped.
fn reset(stream: &TcpStream) {
    let _already_ended = stream.set_zero_linger();
}

async fn connection(
    client: TcpStream,
    server: TcpStream,
    network: watch::Receiver<Network>,
    mut events: watch::Receiver<Events>,
) {
    let _only_slower = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    let born = *events.borrow_and_update();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let passing = async {
        let forth = pump(&mut from_client, &mut to_server, network.clone(), |network| network.to_server);
        let back = pump(&mut from_server, &mut to_client, network, |network| network.to_client);
        tokio::join!(forth, back)
    };
    tokio::select! {
        _both_ended = passing => return,
        event = next_event(&mut events, born) => match event {
            Event::Cut => {
                reset(from_client.as_ref());
                reset(from_server.as_ref());
                // Dropping these would say goodbye first.
                to_client.forget();
                to_server.forget();
                return;
            }
            Event::Halved => drop((from_server, to_server)),
        },
    }
    // Half open: the client hears nothing, and what it sends goes nowhere, until it gives up or is cut.
    let mut nowhere = vec![0; CHUNK_BYTES];
    let swallow = async { while from_client.read(&mut nowhere).await.is_ok_and(|read| read > 0) {} };
    tokio::select! {
        () = swallow => {}
        () = next_cut(&mut events, born.cuts) => {
            reset(from_client.as_ref());
            to_client.forget();
        }
    }
}

enum Event {
    Cut,
    Halved,
}

/// Waits for what happens to connections next. The proxy's end is a cut.
async fn next_event(events: &mut watch::Receiver<Events>, born: Events) -> Event {
    loop {
        if events.changed().await.is_err() {
            return Event::Cut;
        }
        let now = *events.borrow_and_update();
        if now.cuts != born.cuts {
            return Event::Cut;
        }
        if now.halvings != born.halvings {
            return Event::Halved;
        }
    }
}

async fn next_cut(events: &mut watch::Receiver<Events>, born: u64) {
    let _cut_or_ended = events.wait_for(|now| now.cuts != born).await;
}

/// Hands bytes on in one direction until its end, as slowly as the network has it.
async fn pump(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut network: watch::Receiver<Network>,
    flow: impl Fn(&Network) -> Flow,
) {
    let (sender, mut chunks) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let mut seen = network.clone();
    let reading = async {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let latency = flow(&seen.borrow_and_update()).latency;
            if sender.send((Instant::now() + latency, buffer[..read].to_vec())).await.is_err() {
                break;
            }
        }
        drop(sender);
    };
    let writing = async {
        while let Some((due, chunk)) = chunks.recv().await {
            tokio::time::sleep_until(due).await;
            if network.wait_for(|network| !flow(network).stalled).await.is_err() {
                return;
            }
            let width = flow(&network.borrow()).bytes_per_second;
            if let Some(bytes_per_second) = width {
                let seconds = chunk.len() as f64 / f64::from(bytes_per_second.max(1));
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            }
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
        // An end that was passed on while nothing may pass would say too much.
        if network.wait_for(|network| !flow(network).stalled).await.is_ok() {
            let _already_ended = to.shutdown().await;
        }
    };
    tokio::join!(reading, writing);
}
