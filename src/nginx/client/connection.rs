//! A connection to one address, in nginx's event loop. Dropped, it is closed, in whatever state it is.

use core::cell::Cell;
use core::future::poll_fn;
use core::mem::{self, ManuallyDrop};
use core::ptr::{self, NonNull};
use core::task::{Poll, Waker};
use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::FromRawFd;

use ngx::ffi::{
    ngx_close_connection, ngx_connection_log_error_e_NGX_ERROR_INFO, ngx_connection_t,
    ngx_destroy_pool, ngx_event_connect_peer, ngx_event_get_peer, ngx_event_t,
    ngx_handle_read_event, ngx_handle_write_event, ngx_int_t, ngx_log_t, ngx_peer_connection_t,
    ngx_ssl_shutdown, SSL_get_shutdown, NGX_AGAIN, NGX_DECLINED, NGX_LOG_ALERT, NGX_LOG_DEBUG,
    NGX_OK, SSL_RECEIVED_SHUTDOWN,
};

use super::error::{ClientError, Stage};
use crate::nginx::borrowed;
use crate::nginx::sockaddr::Raw;

/// What nginx's connection points to, at an address that does not change.
struct State {
    waker: Cell<Option<Waker>>,
    log: ngx_log_t,
}

/// A connection of its own.
pub struct Connection {
    c: NonNull<ngx_connection_t>,
    state: NonNull<State>,
}

impl Connection {
    /// Connects to an address. nginx logs no failure of it: the error tells.
    ///
    /// # Errors
    /// [`ClientError::Connect`], `NoConnection` or `Exiting`.
    ///
    /// # Safety
    /// In a worker's event loop. The log outlives the connection.
    pub async unsafe fn open(
        address: SocketAddr,
        log: NonNull<ngx_log_t>,
    ) -> Result<Self, ClientError> {
        // SAFETY: the caller's promises.
        let connection = unsafe { Self::start(address, log)? };
        // SAFETY: nginx's connection has its events.
        let is_open = |c: &mut ngx_connection_t| match unsafe { (*c.write).ready() } {
            0 => Poll::Pending,
            _ => Poll::Ready(Ok(c.fd)),
        };
        let fd = connection.until(is_open).await?;
        // SAFETY: the socket is open, and stays so.
        let socket = ManuallyDrop::new(unsafe { TcpStream::from_raw_fd(fd) });
        match socket.take_error() {
            Ok(None) => Ok(connection),
            Ok(Some(error)) | Err(error) => Err(ClientError::Connect(error)),
        }
    }

    /// Begins to connect.
    ///
    /// # Safety
    /// As [`Connection::open`].
    unsafe fn start(address: SocketAddr, log: NonNull<ngx_log_t>) -> Result<Self, ClientError> {
        let mut raw = Raw::new();
        let socklen = raw.write(address);
        let text = address.to_string();
        let mut name = borrowed(text.as_bytes());
        // SAFETY: zeroed is how nginx initialises it; the address and its name outlive the call; the state
        // lives until the connection is closed.
        unsafe {
            let own = State { waker: Cell::new(None), log: quiet(log.as_ref()) };
            let state = NonNull::from(Box::leak(Box::new(own)));
            let mut peer: ngx_peer_connection_t = mem::zeroed();
            peer.sockaddr = ptr::from_mut(&mut raw).cast();
            peer.socklen = socklen;
            peer.name = &mut name;
            peer.get = Some(ngx_event_get_peer);
            peer.log = &raw mut (*state.as_ptr()).log;
            peer.set_log_error(ngx_connection_log_error_e_NGX_ERROR_INFO);
            let status = ngx_event_connect_peer(&mut peer);
            // nginx returns right after the call that failed, but for close().
            let error = Error::last_os_error();
            let Some(mut c) = NonNull::new(peer.connection) else {
                drop(Box::from_raw(state.as_ptr()));
                return Err(match status == NGX_DECLINED as ngx_int_t {
                    true => ClientError::Connect(error),
                    false => ClientError::NoConnection,
                });
            };
            c.as_mut().data = state.as_ptr().cast();
            // A worker that shuts down tells it.
            c.as_mut().set_idle(1);
            let connection = Connection { c, state };
            connection.listen();
            Ok(connection)
        }
    }

    /// Has events wake the task. nginx's functions of TLS put handlers of their own.
    fn listen(&self) {
        // SAFETY: the connection is open and has its events.
        unsafe {
            let c = self.c.as_ref();
            (*c.read).handler = Some(wake);
            (*c.write).handler = Some(wake);
        }
    }

    /// Tries something now and after each event, until it is done.
    ///
    /// # Errors
    /// Those of the attempt, `Exiting` or `NoConnection`.
    pub async fn until<T>(
        &self,
        mut attempt: impl FnMut(&mut ngx_connection_t) -> Poll<Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        poll_fn(|cx| {
            // SAFETY: the connection is open, its events are its own, and nothing else uses it meanwhile.
            unsafe {
                if self.c.as_ref().close() != 0 {
                    return Poll::Ready(Err(ClientError::Exiting));
                }
                let result = attempt(&mut *self.c.as_ptr());
                if result.is_pending() {
                    self.state.as_ref().waker.set(Some(cx.waker().clone()));
                    self.listen();
                    let (read, write) = (self.c.as_ref().read, self.c.as_ref().write);
                    let ok = NGX_OK as ngx_int_t;
                    if ngx_handle_read_event(read, 0) != ok
                        || ngx_handle_write_event(write, 0) != ok
                    {
                        return Poll::Ready(Err(ClientError::NoConnection));
                    }
                }
                result
            }
        })
        .await
    }

    /// Sends all bytes.
    ///
    /// # Errors
    /// `Lost`, and those of [`Connection::until`].
    pub async fn send(&self, mut bytes: &[u8]) -> Result<(), ClientError> {
        while !bytes.is_empty() {
            let sent = self
                .until(|c| {
                    let Some(send) = c.send else {
                        return Poll::Ready(Err(ClientError::NoConnection));
                    };
                    // SAFETY: nginx reads as many bytes as there are.
                    match unsafe { send(c, bytes.as_ptr().cast_mut(), bytes.len()) } {
                        n @ 1.. => Poll::Ready(Ok(n.unsigned_abs())),
                        n if n == 0 || n == NGX_AGAIN as isize => Poll::Pending,
                        _ => Poll::Ready(Err(lost(c, Stage::Sending))),
                    }
                })
                .await?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads what is there into a buffer that is not empty; 0 at the connection's end.
    ///
    /// # Errors
    /// `Lost`, and those of [`Connection::until`].
    pub async fn receive(&self, buffer: &mut [u8]) -> Result<usize, ClientError> {
        self.until(|c| {
            let Some(recv) = c.recv else { return Poll::Ready(Err(ClientError::NoConnection)) };
            // SAFETY: nginx writes as many bytes as fit.
            match unsafe { recv(c, buffer.as_mut_ptr(), buffer.len()) } {
                0 if is_cut(c) => Poll::Ready(Err(lost(c, Stage::Receiving))),
                n @ 0.. => Poll::Ready(Ok(n.unsigned_abs())),
                n if n == NGX_AGAIN as isize => Poll::Pending,
                _ => Poll::Ready(Err(lost(c, Stage::Receiving))),
            }
        })
        .await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: the connection is open and ours; its pool and the state are used by nobody else, and not
        // by nginx behind the end. Nothing waits for the other side's close_notify, and where ours cannot be
        // sent at once, it is not: then only the second call frees what there is of TLS.
        unsafe {
            let c = self.c.as_ptr();
            if let Some(tls) = (*c).ssl.as_mut() {
                tls.set_no_wait_shutdown(1);
                ngx_ssl_shutdown(c);
            }
            if let Some(tls) = (*c).ssl.as_mut() {
                tls.set_no_send_shutdown(1);
                ngx_ssl_shutdown(c);
            }
            let pool = (*c).pool;
            ngx_close_connection(c);
            if !pool.is_null() {
                ngx_destroy_pool(pool);
            }
            drop(Box::from_raw(self.state.as_ptr()));
        }
    }
}

/// A log of its own: what goes wrong is in the error, and not in nginx's words each time, unless they
/// are read for debugging.
fn quiet(log: &ngx_log_t) -> ngx_log_t {
    let level = match log.log_level {
        level if level >= NGX_LOG_DEBUG as usize => level,
        level => level.min(NGX_LOG_ALERT as usize),
    };
    let (handler, data, action) = (None, ptr::null_mut(), ptr::null_mut());
    ngx_log_t { log_level: level, connection: 0, handler, data, action, ..*log }
}

/// Whether TLS ended without the other side's close_notify: nginx takes a reset for an end.
fn is_cut(c: &ngx_connection_t) -> bool {
    // SAFETY: a connection that speaks TLS has it until it is closed.
    unsafe {
        let Some(tls) = c.ssl.as_ref() else { return false };
        SSL_get_shutdown(tls.connection) & SSL_RECEIVED_SHUTDOWN as i32 == 0
    }
}

/// Why nginx could not read or write. The system's reason is told as far as it can be one of the connection:
/// where TLS is wrong, there is none.
fn lost(c: &ngx_connection_t, stage: Stage) -> ClientError {
    let error = Error::last_os_error();
    let is_ours = matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::TimedOut
    );
    match c.ssl.is_null() || is_ours {
        true => ClientError::Lost(stage, error),
        false => ClientError::Lost(stage, Error::other("a TLS error")),
    }
}

unsafe extern "C" fn wake(event: *mut ngx_event_t) {
    // SAFETY: the event is one of a connection that start() made, whose state lives as long.
    let waker = unsafe {
        let c: *mut ngx_connection_t = (*event).data.cast();
        let state: *const State = (*c).data.cast();
        (*state).waker.take()
    };
    if let Some(waker) = waker {
        // The task runs within it, and may have closed the connection behind it.
        waker.wake();
    }
}
