//! The proxy breaks the network as it says, and in no other way.

#![expect(clippy::unwrap_used, reason = "helpers of tests may end the test")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use holdfast_stack::proxy::{Network, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that says everything back.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    address
}

async fn broken() -> (Proxy, TcpStream) {
    let proxy = Proxy::start(echo().await).await.unwrap();
    let stream = TcpStream::connect(proxy.address()).await.unwrap();
    (proxy, stream)
}

async fn answer(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"ping").await?;
    let mut back = [0; 4];
    stream.read_exact(&mut back).await?;
    assert_eq!(&back, b"ping");
    Ok(())
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    tokio::time::timeout(Duration::from_millis(100), stream.read(&mut byte)).await.is_err()
}

#[tokio::test]
async fn a_network_that_is_well_passes_everything() {
    let (_proxy, mut stream) = broken().await;
    answer(&mut stream).await.unwrap();
    let big = vec![7; 3_000_000];
    let (mut from, mut to) = stream.split();
    let mut back = vec![0; big.len()];
    let (sent, received) = tokio::join!(to.write_all(&big), from.read_exact(&mut back));
    sent.unwrap();
    received.unwrap();
    assert!(back == big, "the bytes came back changed");
}

#[tokio::test]
async fn an_end_is_passed_on() {
    let (_proxy, mut stream) = broken().await;
    stream.write_all(b"last words").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"last words");
}

#[tokio::test]
async fn a_slow_network_delays_each_way_and_can_heal() {
    let (proxy, mut stream) = broken().await;
    proxy.set(Network::slow(Duration::from_millis(60)));
    let start = Instant::now();
    answer(&mut stream).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(120), "{:?}", start.elapsed());
    proxy.heal();
    let start = Instant::now();
    answer(&mut stream).await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(60), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_narrow_network_passes_so_much_in_a_second() {
    let (proxy, mut stream) = broken().await;
    proxy.set(Network::narrow(100_000));
    let start = Instant::now();
    stream.write_all(&[0; 20_000]).await.unwrap();
    stream.read_exact(&mut [0; 20_000]).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_black_hole_takes_everything_and_gives_it_back_when_it_heals() {
    let (proxy, mut stream) = broken().await;
    proxy.set(Network::black_hole());
    stream.write_all(b"ping").await.unwrap();
    let mut other = TcpStream::connect(proxy.address()).await.unwrap();
    other.write_all(b"pong").await.unwrap();
    assert!(is_silent(&mut stream).await && is_silent(&mut other).await);
    proxy.heal();
    let mut back = [0; 4];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"ping");
}

#[tokio::test]
async fn a_cut_resets_connections_and_new_ones_work() {
    let (proxy, mut stream) = broken().await;
    answer(&mut stream).await.unwrap();
    proxy.cut();
    let error = answer(&mut stream).await.unwrap_err();
    assert!(matches!(error.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe), "{error}");
    answer(&mut TcpStream::connect(proxy.address()).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn whoever_is_cut_off_cannot_connect_until_it_heals() {
    let (proxy, mut stream) = broken().await;
    proxy.cut_off();
    answer(&mut stream).await.unwrap_err();
    match TcpStream::connect(proxy.address()).await {
        Ok(mut refused) => drop(answer(&mut refused).await.unwrap_err()),
        Err(_reset_at_once) => {}
    }
    proxy.heal();
    answer(&mut TcpStream::connect(proxy.address()).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_half_open_connection_looks_open_and_answers_nothing() {
    let (proxy, mut stream) = broken().await;
    answer(&mut stream).await.unwrap();
    proxy.halve();
    stream.write_all(b"ping").await.unwrap();
    assert!(is_silent(&mut stream).await);
    answer(&mut TcpStream::connect(proxy.address()).await.unwrap()).await.unwrap();
    proxy.cut();
    answer(&mut stream).await.unwrap_err();
}
