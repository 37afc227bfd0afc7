//! One request's way through a group: which address, a kept connection or a new one, and what is
//! learnt from it.
//!
//! nginx's keepalive module asks for an address and then looks for a connection to it. So it stands
//! in the middle: [`get`] puts one address after the other before it, until it has a connection,
//! and [`offer`], which it asks, tells the address.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::{mem, ptr, slice};
use std::net::SocketAddr;

use ngx::core::Status;
use ngx::ffi::{
    ngx_connection_t, ngx_event_free_peer_pt, ngx_event_get_peer_pt, ngx_http_request_t,
    ngx_http_upstream_srv_conf_t, ngx_int_t, ngx_palloc, ngx_peer_connection_t, ngx_pool_t,
    ngx_str_t, ngx_uint_t, socklen_t, NGX_PEER_FAILED,
};

use crate::connections::addresses::Address;
use crate::connections::group::Group;
use crate::nginx::keepalive::are_short;
use crate::nginx::session::Session;
use crate::nginx::sockaddr::Raw;

/// A request's view of the group, in its pool.
struct Peer {
    group: *const Group,
    pool: *mut ngx_pool_t,
    /// The keepalive module's hooks and what they are called with.
    get: ngx_event_get_peer_pt,
    free: ngx_event_free_peer_pt,
    data: *mut c_void,
    /// The address that is connected to; NULL before the first.
    place: *mut Place,
    first: MaybeUninit<Place>,
    /// The addresses that failed.
    tried: *mut SocketAddr,
    tried_len: usize,
    tried_room: usize,
}

/// An address in the request's pool: the group's may change, and nginx logs each by its name.
struct Place {
    at: SocketAddr,
    raw: Raw,
    length: socklen_t,
    name: ngx_str_t,
    text: [u8; TEXT],
}

/// Room for an IPv6 address in brackets with a port.
const TEXT: usize = 56;

/// nginx's hook for each request that goes to the group.
///
/// # Safety
/// nginx passes a request with an upstream, and a group that is ours.
pub unsafe extern "C" fn init(
    r: *mut ngx_http_request_t,
    conf: *mut ngx_http_upstream_srv_conf_t,
) -> ngx_int_t {
    // SAFETY: the caller's promises; the request's pool outlives its upstream.
    unsafe {
        let peer: *mut Peer = ngx_palloc((*r).pool, mem::size_of::<Peer>()).cast();
        let Some((group, init)) = of(conf).and_then(|group| Some((group, group.init?))) else {
            return Status::NGX_ERROR.into();
        };
        if peer.is_null() || (*r).upstream.is_null() {
            return Status::NGX_ERROR.into();
        }
        peer.write(Peer {
            group,
            pool: (*r).pool,
            get: None,
            free: None,
            data: ptr::null_mut(),
            place: ptr::null_mut(),
            first: MaybeUninit::uninit(),
            tried: ptr::null_mut(),
            tried_len: 0,
            tried_room: 0,
        });
        // The keepalive module calls init_inner(), and keeps what it finds then.
        let pc = ptr::addr_of_mut!((*(*r).upstream).peer);
        (*pc).data = peer.cast();
        if init(r, conf) != Status::NGX_OK.into() {
            return Status::NGX_ERROR.into();
        }
        (*peer).get = (*pc).get.replace(get);
        (*peer).free = (*pc).free.replace(free);
        (*peer).data = mem::replace(&mut (*pc).data, peer.cast());
        (*pc).set_session = Some(set_session);
        (*pc).save_session = Some(save_session);
        (*pc).tries = group.with(|addresses, _| addresses.len());
        Status::NGX_OK.into()
    }
}

/// What the keepalive module finds as the group's own hook.
///
/// # Safety
/// It is called within [`init`].
pub unsafe extern "C" fn init_inner(
    r: *mut ngx_http_request_t,
    _: *mut ngx_http_upstream_srv_conf_t,
) -> ngx_int_t {
    // SAFETY: init() has checked the upstream.
    unsafe {
        let pc = ptr::addr_of_mut!((*(*r).upstream).peer);
        (*pc).get = Some(offer);
        (*pc).free = Some(let_go);
        (*pc).set_session = Some(set_session);
        (*pc).save_session = Some(save_session);
    }
    Status::NGX_OK.into()
}

/// The group behind one of nginx's, if it is ours.
///
/// # Safety
/// `conf` is NULL or a group of the configuration.
pub unsafe fn of<'a>(conf: *const ngx_http_upstream_srv_conf_t) -> Option<&'a Group> {
    // SAFETY: only a group with our hook has our data, which lives as long as the configuration.
    unsafe {
        let peer = conf.as_ref()?.peer;
        let ours = peer.init.map(|f| f as usize) == Some(init as *const () as usize);
        ours.then(|| &*peer.data.cast::<Group>())
    }
}

/// Leads a request, which the proxy module is building, to its location's group. Without addresses
/// nginx resolves the name itself, and the request waits for it.
///
/// # Safety
/// `r` is a valid request, and nginx has not looked up its upstream yet.
pub unsafe fn choose(r: *mut ngx_http_request_t) {
    // SAFETY: the caller's promise; an upstream has a configuration.
    unsafe {
        let u = (*r).upstream;
        if u.is_null() || (*u).resolved.is_null() || (*u).conf.is_null() {
            return;
        }
        if of((*(*u).conf).upstream).is_some_and(|group| group.is_ready()) {
            (*u).resolved = ptr::null_mut();
        }
    }
}

/// The group of a request that takes nginx's own way past it, and its connection if that speaks TLS
/// and sessions are reused.
///
/// # Safety
/// `r` is a valid request.
unsafe fn past_group<'a>(r: *mut ngx_http_request_t) -> Option<(&'a Group, *mut ngx_connection_t)> {
    // SAFETY: the caller's promise; the group lives as long as the configuration.
    unsafe {
        let u = (*r).upstream.as_ref().filter(|u| !u.resolved.is_null())?;
        let connection = u.peer.connection;
        let conf = u.conf.as_ref().filter(|conf| conf.ssl_session_reuse != 0)?;
        let speaks_tls = !connection.as_ref()?.ssl.is_null();
        speaks_tls.then(|| of(conf.upstream)).flatten().map(|group| (group, connection))
    }
}

/// Has a connection that nginx made past the group resume the group's TLS session. The group has it back
/// with an answer: nobody tells when such a connection fails, and the session may be why.
///
/// # Safety
/// `r` is a valid request. If its connection speaks TLS, the handshake is not begun.
pub unsafe fn resume(r: *mut ngx_http_request_t) {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some((group, connection)) = past_group(r) {
            if let Some(session) = group.take_session() {
                session.resume(connection);
            }
        }
    }
}

/// Keeps the TLS session of a connection that nginx made past the group, and over which an answer came:
/// what nginx verifies of S3 is then found good.
///
/// # Safety
/// `r` is a valid request whose answer is being read.
pub unsafe fn keep_session(r: *mut ngx_http_request_t) {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some((group, connection)) = past_group(r) {
            group.keep_session(Session::of(connection));
        }
    }
}

impl Peer {
    fn tried(&self) -> &[SocketAddr] {
        match self.tried_len {
            0 => &[],
            // SAFETY: add_tried() wrote as many.
            n => unsafe { slice::from_raw_parts(self.tried, n) },
        }
    }

    /// Remembers an address that failed; forgets it when memory runs out.
    fn add_tried(&mut self, at: SocketAddr) {
        // SAFETY: the pool is the request's, and the room is as large as was asked for.
        unsafe {
            if self.tried_len == self.tried_room {
                let room = self.tried_room * 2 + 4;
                let size = room * mem::size_of::<SocketAddr>();
                let new: *mut SocketAddr = ngx_palloc(self.pool, size).cast();
                if new.is_null() {
                    return;
                }
                new.copy_from_nonoverlapping(self.tried().as_ptr(), self.tried_len);
                (self.tried, self.tried_room) = (new, room);
            }
            self.tried.add(self.tried_len).write(at);
            self.tried_len += 1;
        }
    }

    /// Makes an address the one to connect to.
    ///
    /// # Safety
    /// `place` has room for it, and lives as long as the request.
    unsafe fn settle(&mut self, place: *mut Place, address: &Address) {
        let text = address.text.as_bytes();
        let len = text.len().min(TEXT);
        // SAFETY: the caller's promise; the name's text is inside the place.
        unsafe {
            let raw = ptr::addr_of_mut!((*place).raw);
            raw.write(Raw::new());
            ptr::addr_of_mut!((*place).length).write((*raw).write(address.at));
            ptr::addr_of_mut!((*place).at).write(address.at);
            let data: *mut u8 = ptr::addr_of_mut!((*place).text).cast();
            data.copy_from_nonoverlapping(text.as_ptr(), len);
            ptr::addr_of_mut!((*place).name).write(ngx_str_t { len, data });
        }
        self.place = place;
    }

    /// Room for an address: within the peer for the first one, as most requests need no other.
    ///
    /// # Safety
    /// The peer is in the request's pool.
    unsafe fn room(&mut self) -> *mut Place {
        match self.place.is_null() {
            true => self.first.as_mut_ptr(),
            // SAFETY: the pool is the request's.
            false => unsafe { ngx_palloc(self.pool, mem::size_of::<Place>()) }.cast(),
        }
    }
}

/// nginx wants a connection, or an address to connect to.
unsafe extern "C" fn get(pc: *mut ngx_peer_connection_t, data: *mut c_void) -> ngx_int_t {
    // SAFETY: data is what init() made, and nothing else refers to it now.
    unsafe {
        let peer: *mut Peer = data.cast();
        let place = (*peer).room();
        if place.is_null() {
            return Status::NGX_ERROR.into();
        }
        let group = &*(*peer).group;
        let turn = group.with(|addresses, _| addresses.turn());
        if let Some(rc) = reuse(pc, peer, place, turn) {
            return rc;
        }
        let found = group.with(|addresses, now| {
            let found = addresses.next_new(turn, now, (*peer).tried());
            found.map(|address| (*peer).settle(place, address)).is_some()
        });
        match found {
            true => offer(pc, data),
            false => Status::NGX_BUSY.into(),
        }
    }
}

/// Looks for a kept connection, to one address after the other; returns what nginx is told if there is
/// one. Where one failed in this request there may be more of the kind: that address is passed over.
unsafe fn reuse(
    pc: *mut ngx_peer_connection_t,
    peer: *mut Peer,
    place: *mut Place,
    turn: usize,
) -> Option<ngx_int_t> {
    // SAFETY: as in get(); the place is settled before it is read.
    unsafe {
        let (group, hook, mut step) = (&*(*peer).group, (*peer).get?, 0);
        loop {
            let at = group.with(|addresses, now| {
                let address = addresses.next_kept(turn, &mut step, now, (*peer).tried())?;
                (*peer).settle(place, address);
                Some(address.at)
            })?;
            let rc = hook(pc, (*peer).data);
            if rc == Status::NGX_DONE.into() {
                group.with(|addresses, _| addresses.taken(at));
            }
            if rc != Status::NGX_OK.into() {
                return Some(rc);
            }
            group.with(|addresses, _| addresses.none_kept(at));
        }
    }
}

/// Tells nginx's keepalive module, or nginx, the address.
unsafe extern "C" fn offer(pc: *mut ngx_peer_connection_t, data: *mut c_void) -> ngx_int_t {
    // SAFETY: get() has written the place, which lives as long as the request.
    unsafe {
        let place = (*data.cast::<Peer>()).place;
        (*pc).set_cached(0);
        (*pc).connection = ptr::null_mut();
        (*pc).sockaddr = ptr::addr_of_mut!((*place).raw).cast();
        (*pc).socklen = (*place).length;
        (*pc).name = ptr::addr_of_mut!((*place).name);
    }
    Status::NGX_OK.into()
}

/// nginx is done with a connection, which the keepalive module may keep.
unsafe extern "C" fn free(pc: *mut ngx_peer_connection_t, data: *mut c_void, state: ngx_uint_t) {
    // SAFETY: data is what init() made, and get() was called.
    unsafe {
        let peer: *mut Peer = data.cast();
        let group = &*(*peer).group;
        let at = (*(*peer).place).at;
        let connected = !(*pc).connection.is_null();
        if let Some(hook) = (*peer).free {
            // The keepalive module keeps no connection behind a failure.
            let is_not_kept = if are_short() { NGX_PEER_FAILED as ngx_uint_t } else { 0 };
            hook(pc, (*peer).data, state | is_not_kept);
        }
        if connected && (*pc).connection.is_null() {
            group.with(|addresses, _| addresses.kept(at));
        }
        if state & NGX_PEER_FAILED as ngx_uint_t != 0 {
            (*peer).add_tried(at);
            // What is wrong with a kept connection says nothing of the address.
            if (*pc).cached() == 0 {
                group.with(|addresses, now| addresses.refused(at, now));
                // It keeps what was found wrong with S3's certificate.
                group.keep_session(None);
            }
        }
        (*pc).tries = (*pc).tries.saturating_sub(1);
    }
}

/// The keepalive module has closed or kept the connection; [`free`] does the rest.
unsafe extern "C" fn let_go(_: *mut ngx_peer_connection_t, _: *mut c_void, _: ngx_uint_t) {}

unsafe extern "C" fn set_session(pc: *mut ngx_peer_connection_t, data: *mut c_void) -> ngx_int_t {
    // SAFETY: data is what init() made; the connection is about to speak TLS.
    unsafe {
        let group = &*(*data.cast::<Peer>()).group;
        let resumed = group.with_session(|session| session.resume((*pc).connection));
        resumed.unwrap_or(Status::NGX_OK.into())
    }
}

unsafe extern "C" fn save_session(pc: *mut ngx_peer_connection_t, data: *mut c_void) {
    // SAFETY: data is what init() made; the connection speaks TLS.
    unsafe {
        if let Some(session) = Session::of((*pc).connection) {
            (*(*data.cast::<Peer>()).group).keep_session(Some(session));
        }
    }
}
