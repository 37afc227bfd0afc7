//! A location's upstream group: its addresses, its TLS session, and when a request takes it.

use core::cell::{Cell, RefCell};
use core::ffi::c_void;
use core::ptr;
use std::net::SocketAddr;

use ngx::ffi::{
    ngx_current_msec, ngx_cycle, ngx_http_upstream_init_peer_pt, ngx_msec_t, ngx_resolver_t,
    ngx_str_t, NGX_LOG_WARN,
};
use ngx::ngx_log_error;

use crate::connections::addresses::{Addresses, Msec};
use crate::nginx::resolve::{ask, Answer, Asker};
use crate::nginx::session::Session;

/// How a group comes to its addresses.
pub enum Source {
    /// The endpoint is an address.
    Fixed(SocketAddr),
    /// nginx's resolver, for a name in memory that it may write to.
    Dns { resolver: *mut ngx_resolver_t, timeout: ngx_msec_t, name: ngx_str_t },
}

/// The part of an upstream group that nginx does not have. One for each location, and each worker
/// learns its own addresses: it is made when the configuration is read, and workers are forked.
pub struct Group {
    source: Source,
    port: u16,
    /// The keepalive module's hook, which calls ours.
    pub init: ngx_http_upstream_init_peer_pt,
    addresses: RefCell<Addresses>,
    session: Cell<Option<Session>>,
}

impl Group {
    /// A group that knows no address yet, unless its endpoint is one.
    pub fn new(source: Source, port: u16, init: ngx_http_upstream_init_peer_pt) -> Self {
        let addresses = match source {
            Source::Fixed(at) => Addresses::fixed(at),
            Source::Dns { .. } => Addresses::default(),
        };
        Group { source, port, init, addresses: addresses.into(), session: Cell::new(None) }
    }

    /// Does something with the addresses. `f` calls nothing of nginx's: an answer of DNS may come
    /// within any call.
    pub fn with<T>(&self, f: impl FnOnce(&mut Addresses, Msec) -> T) -> T {
        f(&mut self.addresses.borrow_mut(), now())
    }

    /// Whether a request can go to the group now. Asks DNS in the background when it is time.
    ///
    /// # Safety
    /// The group lives as long as its configuration, and the caller is in a worker's event loop.
    pub unsafe fn is_ready(&self) -> bool {
        let Source::Dns { resolver, timeout, name } = self.source else { return true };
        if self.with(|addresses, now| addresses.is_to_ask(now)) {
            // SAFETY: the caller's promise.
            unsafe { ask(resolver, name, timeout, self) };
        }
        self.with(|addresses, now| addresses.is_usable(now))
    }

    /// Uses the session of the last connection, if there is one.
    pub fn with_session<T>(&self, f: impl FnOnce(&Session) -> T) -> Option<T> {
        let session = self.session.take();
        let result = session.as_ref().map(f);
        self.session.set(session);
        result
    }

    /// Gives the session away.
    pub fn take_session(&self) -> Option<Session> {
        self.session.take()
    }

    /// Keeps a session in place of the last one.
    pub fn keep_session(&self, session: Option<Session>) {
        self.session.set(session);
    }
}

impl Asker for Group {
    fn take(&self, answer: Answer) {
        match answer {
            Answer::Addresses(mut addresses, ttl) if !addresses.is_empty() => {
                addresses.iter_mut().for_each(|address| address.set_port(self.port));
                self.with(|known, now| known.answered(now, ttl, &addresses));
            }
            Answer::Failure(why) => {
                let (first, known) = self.with(|known, now| (known.failed(now), known.len()));
                if let (true, 1.., Source::Dns { name, .. }) = (first, known, &self.source) {
                    // SAFETY: a worker has a cycle with a log.
                    let log = unsafe { (*ngx_cycle).log };
                    ngx_log_error!(
                        NGX_LOG_WARN,
                        log,
                        "s3_private_bucket: {name} could not be resolved ({why}); what is known of its \
                         addresses stays in use, for an hour"
                    );
                }
            }
            _ => self.with(|known, now| known.answered_none(now)),
        }
    }
}

fn now() -> Msec {
    // SAFETY: nginx's time is read in its own thread.
    unsafe { ngx_current_msec }
}

/// Ends a group with the configuration's pool.
///
/// # Safety
/// `data` is a group that was written into that pool.
pub unsafe extern "C" fn drop_in_pool(data: *mut c_void) {
    // SAFETY: the caller's promise; nginx calls it once.
    unsafe { ptr::drop_in_place(data.cast::<Group>()) }
}
