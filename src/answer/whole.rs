//! Parts of an object that nobody can use, in whose place S3 is asked for the object as a whole: nginx's own way
//! to ask the next server is led back to the same.
//!
//! Some servers ignore `If-Range` and answer 206 with a part of what is there now, which a client that resumes a
//! download would join to what it has. And an empty object has no first slice: what is there is 416 for nginx's
//! slice module, and would be for each client.

use core::ffi::c_void;
use core::ptr;

use ngx::core::Status;
use ngx::ffi::{
    ngx_event_get_peer_pt, ngx_http_request_t, ngx_http_upstream_conf_t, ngx_http_upstream_state_t,
    ngx_http_upstream_t, ngx_int_t, ngx_peer_connection_t, ngx_str_t, ngx_table_elt_t, ngx_uint_t,
    sockaddr, socklen_t, NGX_HTTP_NOT_FOUND, NGX_HTTP_PARTIAL_CONTENT,
    NGX_HTTP_PRECONDITION_FAILED, NGX_HTTP_RANGE_NOT_SATISFIABLE, NGX_HTTP_UPSTREAM_FT_HTTP_404,
    NGX_LOG_INFO,
};

use super::act::is_cached;
use crate::log;
use crate::nginx::pool::copy_in_request;
use crate::nginx::upstream::is_stored;
use crate::request::asked::slice_range;
use crate::request::object::{Object, Whole};
use crate::s3::answer::{Class, Verdict};
use crate::s3::version::is_same;

/// Why the object is asked for as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is a part of another version than the client has a part of.
    OtherVersion,
    /// There is no first slice of it.
    NoSlice,
}

/// Whether an answer is of no use, and the object as a whole would be.
///
/// # Safety
/// `r` is a valid request, `u` its upstream, whose headers are read, and `object` its object.
pub unsafe fn reason(
    r: *mut ngx_http_request_t,
    u: &ngx_http_upstream_t,
    object: &Object,
) -> Option<Why> {
    // SAFETY: the caller's promise.
    unsafe {
        match u.headers_in.status_n as u32 {
            NGX_HTTP_PARTIAL_CONTENT if is_of_another_version(r, u) => Some(Why::OtherVersion),
            NGX_HTTP_RANGE_NOT_SATISFIABLE if has_no_slice(r, u, object) => Some(Why::NoSlice),
            _ => None,
        }
    }
}

/// Where the answer is stored or sliced, nginx asks for ranges itself, and answers the client's.
unsafe fn is_of_another_version(r: *mut ngx_http_request_t, u: &ngx_http_upstream_t) -> bool {
    // SAFETY: headers are NULL or elements of their lists, which live as long as the request.
    unsafe {
        let value = |header: *const ngx_table_elt_t| header.as_ref().map(|h| h.value.as_bytes());
        let Some(if_range) = value((*r).headers_in.if_range) else { return false };
        !is_same(if_range, value(u.headers_in.etag), value(u.headers_in.last_modified))
            && !is_stored(u)
            && slice_range(r).is_none()
    }
}

/// Of all objects, only an empty one has nothing from its first byte on.
unsafe fn has_no_slice(
    r: *mut ngx_http_request_t,
    u: &ngx_http_upstream_t,
    object: &Object,
) -> bool {
    // SAFETY: the caller's promise.
    object.answer.whole.is_none()
        && !is_cached(u)
        && unsafe { (*u.conf).pass_request_body == 0 }
        && unsafe { slice_range(r) }.is_some_and(|range| range.as_bytes().starts_with(b"bytes=0-"))
}

/// Has nginx ask for the whole object. Where it could not send the request again, or that was done
/// already, the client gets 412: it may ask without its part.
///
/// # Safety
/// As for [`reason`].
pub unsafe fn ask(
    r: *mut ngx_http_request_t,
    u: &mut ngx_http_upstream_t,
    object: &mut Object,
    why: Why,
) -> ngx_int_t {
    // SAFETY: an upstream has a configuration and, once it has an answer, a peer.
    unsafe {
        if object.answer.whole.is_some() || (*u.conf).pass_request_body != 0 {
            let status = NGX_HTTP_PRECONDITION_FAILED as u16;
            object.answer.shown = Some(Verdict { status, class: Class::Kept });
            u.headers_in.status_n = ngx_uint_t::from(status);
            u.headers_in.status_line = ngx_str_t::empty();
            return Status::NGX_OK.into();
        }
        let what = match why {
            Why::OtherVersion => {
                "S3 answered with a part of another version than that of \"If-Range\""
            }
            Why::NoSlice => "S3 has no first slice of the object",
        };
        log::of_request(
            r,
            NGX_LOG_INFO,
            format_args!("{what}; the object is asked for as a whole"),
        );
        let peer = &mut u.peer;
        let server = Again {
            request: r,
            status: u.headers_in.status_n,
            conf: u.conf,
            tries: peer.tries,
            get: peer.get,
            data: peer.data,
            sockaddr: peer.sockaddr,
            socklen: peer.socklen,
            name: peer.name,
        };
        let (Ok(server), Ok(conf)) = (copy_in_request(r, &server), copy_in_request(r, u.conf))
        else {
            return Status::NGX_ERROR.into();
        };
        object.answer.whole = Some(Whole::Asks);
        // Without an address nginx does not give the server back to its balancer, which would offer another.
        peer.sockaddr = ptr::null_mut();
        peer.get = Some(again);
        peer.data = server.cast();
        peer.tries = 2;
        (*conf).next_upstream |= NGX_HTTP_UPSTREAM_FT_HTTP_404 as ngx_uint_t;
        (*conf).next_upstream_timeout = 0;
        u.conf = conf;
        u.headers_in.status_n = NGX_HTTP_NOT_FOUND as ngx_uint_t;
    }
    Status::NGX_OK.into()
}

/// What nginx has of the server that is asked again.
#[derive(Clone, Copy)]
struct Again {
    request: *mut ngx_http_request_t,
    /// The answer that is of no use.
    status: ngx_uint_t,
    conf: *mut ngx_http_upstream_conf_t,
    tries: ngx_uint_t,
    get: ngx_event_get_peer_pt,
    data: *mut c_void,
    sockaddr: *mut sockaddr,
    socklen: socklen_t,
    name: *mut ngx_str_t,
}

/// nginx wants the next server: the same, once. All is as it was then, but that the connection is new.
unsafe extern "C" fn again(pc: *mut ngx_peer_connection_t, data: *mut c_void) -> ngx_int_t {
    // SAFETY: data is what ask() made, in the pool of the request whose upstream has this peer; nginx has a
    // state for each time that it asked.
    unsafe {
        let again = *data.cast::<Again>();
        let pc = &mut *pc;
        (pc.get, pc.data, pc.tries) = (again.get, again.data, again.tries);
        (pc.sockaddr, pc.socklen, pc.name) = (again.sockaddr, again.socklen, again.name);
        pc.set_cached(0);
        pc.connection = ptr::null_mut();
        if let Some(u) = (*again.request).upstream.as_mut() {
            u.conf = again.conf;
        }
        if let Some(states) = (*again.request).upstream_states.as_ref() {
            if let Some(last) = states.nelts.checked_sub(2) {
                let state = states.elts.cast::<ngx_http_upstream_state_t>().add(last);
                (*state).status = again.status;
            }
        }
    }
    Status::NGX_OK.into()
}

/// Makes the request for the whole object, when nginx is about to send it.
///
/// # Safety
/// `r` is a valid request, `u` its upstream and `object` its object.
pub unsafe fn reinit(
    r: *mut ngx_http_request_t,
    u: &mut ngx_http_upstream_t,
    object: &mut Object,
) -> ngx_int_t {
    let Some(Whole::Asks) = object.answer.whole else { return Status::NGX_OK.into() };
    object.answer.whole = Some(Whole::Asked);
    match u.create_request {
        // SAFETY: the caller's promise.
        Some(create) => unsafe { create(r) },
        None => Status::NGX_ERROR.into(),
    }
}
