//! As much HTTP as asking an admin port how it is takes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Status and body of `GET path`, or why there was no answer within two seconds.
///
/// # Errors
///
/// When nobody listens, nobody answers, or what answers does not speak HTTP.
pub async fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let asked = tokio::time::timeout(Duration::from_secs(2), ask(address, path));
    asked.await.unwrap_or_else(|_elapsed| Err(std::io::ErrorKind::TimedOut.into()))
}

async fn ask(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other("that was no HTTP"))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_head, body)| body);
    Ok((status, body.to_owned()))
}
