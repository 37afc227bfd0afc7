//! A part of an object that would be joined to another version of it.
//!
//! Some servers ignore `If-Range` and answer 206 with a part of what is there now. A client that resumes a
//! download would join it to what it has, so that the object is asked for again, as a whole: nginx's own way
//! to ask the next server is led back to the same.

use core::ptr;

use ngx::core::Status;
use ngx::ffi::{
    ngx_http_request_t, ngx_http_upstream_conf_t, ngx_http_upstream_state_t, ngx_http_upstream_t,
    ngx_int_t, ngx_str_t, ngx_table_elt_t, ngx_uint_t, NGX_HTTP_NOT_FOUND,
    NGX_HTTP_PARTIAL_CONTENT, NGX_HTTP_PRECONDITION_FAILED, NGX_HTTP_UPSTREAM_FT_HTTP_404,
    NGX_LOG_INFO, NGX_PEER_NEXT,
};

use crate::location::shared;
use crate::log;
use crate::nginx::pool::copy_in_request;
use crate::nginx::variable;
use crate::request::object::{Object, Whole};
use crate::s3::answer::{Class, Shown};
use crate::s3::version::is_same;

/// Whether an answer is a part of another version than the client has a part of. Where the answer is
/// stored or sliced, nginx asks for ranges itself, and answers the client's.
///
/// # Safety
/// `r` is a valid request and `u` its upstream, whose headers are read.
pub unsafe fn is_of_another_version(r: *mut ngx_http_request_t, u: &ngx_http_upstream_t) -> bool {
    if u.headers_in.status_n != NGX_HTTP_PARTIAL_CONTENT as ngx_uint_t {
        return false;
    }
    // SAFETY: headers are NULL or elements of their lists, which live as long as the request.
    unsafe {
        let value = |header: *const ngx_table_elt_t| header.as_ref().map(|h| h.value.as_bytes());
        let Some(if_range) = value((*r).headers_in.if_range) else { return false };
        let slices =
            || shared(r).slice_range.is_some_and(|place| variable::get(r, place).is_some());
        !is_same(if_range, value(u.headers_in.etag), value(u.headers_in.last_modified))
            && u.cacheable() == 0
            && u.store() == 0
            && !slices()
    }
}

/// Has nginx ask for the whole object. Where it could not send the request again, or that was done
/// already, the client gets 412: it may ask without its part.
///
/// # Safety
/// As for [`is_of_another_version`]; `object` is the request's.
pub unsafe fn ask(
    r: *mut ngx_http_request_t,
    u: &mut ngx_http_upstream_t,
    object: &mut Object,
) -> ngx_int_t {
    // SAFETY: an upstream has a configuration and, once it has an answer, a peer.
    unsafe {
        let own = u.conf;
        let copy: *mut ngx_http_upstream_conf_t = match copy_in_request(r, own) {
            Ok(copy) => copy,
            Err(_) => return Status::NGX_ERROR.into(),
        };
        let (true, Some(free)) =
            (object.answer.whole.is_none() && (*own).pass_request_body == 0, u.peer.free)
        else {
            let status = NGX_HTTP_PRECONDITION_FAILED as u16;
            object.answer.shown = Some(Shown { status, class: Class::Kept });
            u.headers_in.status_n = ngx_uint_t::from(status);
            u.headers_in.status_line = ngx_str_t::empty();
            return Status::NGX_OK.into();
        };
        log::of_request(
            r,
            NGX_LOG_INFO,
            "S3 answered with a part of another version than that of \"If-Range\"; the object is asked \
             for as a whole",
        );
        object.answer.whole = Some(Whole::Asks { conf: own, tries: u.peer.tries });

        // As nginx does before it asks the next server, which may be this one: it is not to blame.
        free(&mut u.peer, u.peer.data, NGX_PEER_NEXT as ngx_uint_t);
        u.peer.sockaddr = ptr::null_mut();
        u.peer.tries = 2;
        (*copy).next_upstream |= NGX_HTTP_UPSTREAM_FT_HTTP_404 as ngx_uint_t;
        (*copy).next_upstream_timeout = 0;
        u.conf = copy;
        u.headers_in.status_n = NGX_HTTP_NOT_FOUND as ngx_uint_t;
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
    let Some(Whole::Asks { conf, tries }) = object.answer.whole else {
        return Status::NGX_OK.into();
    };
    object.answer.whole = Some(Whole::Asked);
    // SAFETY: the configuration is the location's; nginx has a state for each time that it asked.
    unsafe {
        u.conf = conf;
        u.peer.tries = tries;
        if let Some(states) = (*r).upstream_states.as_ref() {
            if let Some(last) = states.nelts.checked_sub(2) {
                let state = states.elts.cast::<ngx_http_upstream_state_t>().add(last);
                (*state).status = NGX_HTTP_PARTIAL_CONTENT as ngx_uint_t;
            }
        }
        match u.create_request {
            Some(create) => create(r),
            None => Status::NGX_ERROR.into(),
        }
    }
}
