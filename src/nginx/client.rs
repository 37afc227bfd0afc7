//! A client of HTTP/1.1: one request and its answer, on a connection of their own, within one deadline.
//!
//! For what is fetched beside requests, in a task ([`crate::nginx::task`]). It follows no redirect and knows no proxy.

mod chunked;
mod connection;
pub mod error;
pub mod host;
pub mod response;
pub mod tls;
pub mod wiped;

use core::cell::Cell;
use core::ptr::NonNull;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use ngx::ffi::{ngx_log_t, ngx_msec_t, ngx_resolver_t};

use self::connection::Connection;
use self::error::{ClientError, Stage};
use self::host::Host;
use self::response::{Reply, Response};
use self::tls::{handshake, Tls};
use self::wiped::Wiped;
use super::task::{now, within};

/// How much is read at once.
const BUFFER: usize = 4096;

/// Who is asked, and how.
pub struct Peer {
    /// Its name or address.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// What it is trusted by; `None` for plain HTTP. It is made when the configuration is read, so that
    /// `nginx -t` tells what is wrong with it.
    pub tls: Option<Rc<Tls>>,
    /// Who knows the addresses of its name.
    pub resolver: Option<*mut ngx_resolver_t>,
    /// For how long that may take.
    pub resolver_timeout: ngx_msec_t,
}

/// Sends a request, head and body, and returns its answer: any status, and the whole body. The request should say
/// `Connection: close`, and be none that has an answer without a body (HEAD). Whatever happens is over after `limit`.
/// Dropped in the middle, it closes and frees everything at once.
///
/// # Errors
/// The first thing that went wrong; of several addresses that cannot be connected to, that of the last.
///
/// # Safety
/// In a worker's event loop. The resolver and the log belong to a configuration that outlives the future.
pub async unsafe fn exchange(
    peer: &Peer,
    request: &[u8],
    limit: ngx_msec_t,
    log: NonNull<ngx_log_t>,
) -> Result<Reply, ClientError> {
    let stage = Cell::new(Stage::Resolving);
    // SAFETY: the caller's promises.
    let all = unsafe { run(peer, request, limit, log, &stage) };
    match within(limit, log, all).await {
        Some(result) => result,
        None => Err(ClientError::TimedOut(stage.get())),
    }
}

/// # Safety
/// As [`exchange`].
async unsafe fn run(
    peer: &Peer,
    request: &[u8],
    limit: ngx_msec_t,
    log: NonNull<ngx_log_t>,
    stage: &Cell<Stage>,
) -> Result<Reply, ClientError> {
    let deadline = now().wrapping_add(limit);
    // SAFETY: the caller's promises.
    let addresses = unsafe { peer.host.addresses(peer.resolver) };
    let addresses = within(peer.resolver_timeout, log, addresses).await;
    let addresses = addresses.ok_or(ClientError::TimedOut(Stage::Resolving))??;
    stage.set(Stage::Connecting);
    // SAFETY: as above.
    let connection = unsafe { connect(&addresses, peer.port, deadline, log) }.await?;
    if let Some(tls) = &peer.tls {
        stage.set(Stage::Handshake);
        handshake(&connection, tls, &peer.host).await?;
    }
    stage.set(Stage::Sending);
    connection.send(request).await?;
    stage.set(Stage::Receiving);
    let mut response = Response::new();
    let mut buffer = Wiped::zeroed(BUFFER);
    loop {
        let len = connection.receive(&mut buffer).await?;
        let bytes = buffer.get(..len).unwrap_or_default();
        if bytes.is_empty() || response.take(bytes)? {
            return Ok(response.end()?);
        }
    }
}

/// Connects to the first address that answers. One that does not gets an equal part of the time that is left.
///
/// # Safety
/// As [`exchange`].
async unsafe fn connect(
    addresses: &[IpAddr],
    port: u16,
    deadline: ngx_msec_t,
    log: NonNull<ngx_log_t>,
) -> Result<Connection, ClientError> {
    let mut last = ClientError::NoAddress;
    for (tried, address) in addresses.iter().enumerate() {
        // The clock may turn over.
        let left = (deadline.wrapping_sub(now()) as isize).max(0).unsigned_abs();
        let part = left / (addresses.len() - tried);
        // SAFETY: the caller's promises.
        let opened = unsafe { Connection::open(SocketAddr::new(*address, port), log) };
        match within(part, log, opened).await {
            Some(Ok(connection)) => return Ok(connection),
            Some(Err(error @ (ClientError::Exiting | ClientError::NoConnection))) => {
                return Err(error)
            }
            Some(Err(error)) => last = error,
            None => last = ClientError::TimedOut(Stage::Connecting),
        }
    }
    Err(last)
}
