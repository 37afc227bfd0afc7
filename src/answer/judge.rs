//! S3's answers, before nginx acts on them.
//!
//! nginx retries, intercepts and caches by the status of an answer. What an error of S3 means
//! stands in the body behind it, so the proxy module's hook that reads the headers is wrapped: it
//! waits for the error code too, and then gives nginx the status that is meant.

use core::{mem, ptr, slice};

use ngx::core::Status;
use ngx::ffi::{
    ngx_http_request_t, ngx_http_upstream_t, ngx_int_t, NGX_HTTP_UPSTREAM_INVALID_HEADER,
    NGX_LOG_ERR,
};

use super::act::{act, framing, is_cached};
use super::folder::{judge_listing, leads_to_folder, refuse_listing};
use super::redirect::follow;
use super::report::{count, keys_have_ended, refuse_keys, report};
use super::whole;
use crate::connections::peer::keep_session;
use crate::location::{serving, Serving};
use crate::log;
use crate::nginx::upstream::is_stored;
use crate::request::asked::{has_condition, is_of_client, sent_method};
use crate::request::error_code::remember;
use crate::request::object::{object_mut, Object};
use crate::request::own::adds_what_differs;
use crate::s3::answer::{blames_keys, cached_code, verdict, Class, Verdict};
use crate::s3::auth::sigv4::Method;
use crate::s3::error_body::{ErrorBody, Framing};
use crate::s3::folder::with_slash;

/// Watches the answer to a request that the proxy module has begun.
///
/// # Safety
/// `r` is a valid request, and `object` is or was in its context.
pub unsafe fn watch(r: *mut ngx_http_request_t, object: *mut Object) {
    // SAFETY: r and its pool live until the content handler has returned. After an internal
    // redirect the context, and the upstream, are of another location.
    unsafe {
        let Some(current) = object_mut(r) else { return };
        let Some(u) = (*r).upstream.as_mut() else { return };
        if ptr::eq(current, object) && current.answer.process_header.is_none() {
            current.answer.reinit_request = u.reinit_request.replace(reinit_request);
            current.answer.process_header = u.process_header.replace(process_header);
        }
    }
}

unsafe extern "C" fn reinit_request(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: the hook is only in upstreams of requests that watch() saw.
    unsafe {
        let Some(hook) = object_mut(r).and_then(|object| object.answer.reinit_request) else {
            return Status::NGX_ERROR.into();
        };
        let rc = hook(r);
        let (Some(object), Some(u)) = (object_mut(r), (*r).upstream.as_mut()) else {
            return Status::NGX_ERROR.into();
        };
        object.answer.process_header = u.process_header.replace(process_header);
        if mem::take(&mut object.answer.is_kept_from_cache) {
            u.set_cacheable(1);
        }
        object.answer.headers_are_read = false;
        object.answer.shown = None;
        match rc == Status::NGX_OK.into() {
            true => whole::reinit(r, u, object),
            false => rc,
        }
    }
}

unsafe extern "C" fn process_header(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: as in reinit_request().
    unsafe {
        let Some(object) = object_mut(r) else { return Status::NGX_ERROR.into() };
        if !object.answer.headers_are_read {
            let Some(hook) = object.answer.process_header else {
                return Status::NGX_ERROR.into();
            };
            let version = (*r).http_version;
            let rc = hook(r);
            let (Some(object), Some(u)) = (object_mut(r), (*r).upstream.as_mut()) else {
                return Status::NGX_ERROR.into();
            };
            if u.headers_in.status_n == 0 {
                // The proxy module lets what is not HTTP pass as HTTP/0.9.
                (*r).http_version = version;
            }
            // Behind the status line the proxy module goes on with another hook.
            let next = u.process_header.replace(process_header);
            if next.map(|f| f as usize) != Some(process_header as *const () as usize) {
                object.answer.process_header = next;
            }
            if rc != Status::NGX_OK.into() {
                return rc;
            }
            object.answer.headers_are_read = true;
            let is_more = u.buffer.pos < u.buffer.last && !u.peer.connection.is_null();
            if is_more && u.keepalive() != 0 {
                // nginx keeps the connection of an answer without a body (to HEAD), which this one has: the
                // next answer on it would be another's.
                u.set_keepalive(0);
            }
            keep_session(r);
        }
        let (Some(object), Some(serving), Some(u)) =
            (object_mut(r), serving(r), (*r).upstream.as_mut())
        else {
            return Status::NGX_ERROR.into();
        };
        if let Some(why) = whole::reason(r, u, object) {
            count(u, serving, object, u.headers_in.status_n as u16, None);
            return whole::ask(r, u, object, why);
        }
        judge(r, u, serving, object)
    }
}

/// Decides what becomes of the answer whose headers are read, or waits for more of it.
unsafe fn judge(
    r: *mut ngx_http_request_t,
    u: &mut ngx_http_upstream_t,
    serving: &Serving,
    object: &mut Object,
) -> ngx_int_t {
    let Ok(status) = u16::try_from(u.headers_in.status_n) else { return Status::NGX_OK.into() };
    // SAFETY: r is the request of u, whose buffer holds what has arrived.
    unsafe {
        let Some(shown) = verdict(status, None, false) else {
            return of_object(r, u, serving, object, status);
        };
        if !serving.masks {
            // What the code is makes no difference here.
            count(u, serving, object, status, None);
            leads_to_folder(r, u, shown, status, None);
            return Status::NGX_OK.into();
        }
        let body = match u.buffer.last.offset_from(u.buffer.pos) {
            len @ 1.. => slice::from_raw_parts(u.buffer.pos, len as usize),
            _ => &[],
        };
        let head = sent_method(r, serving) == Some(Method::Head);
        let cached = is_cached(u);
        let framing = framing(u, head || cached);
        let body = ErrorBody::new(body, framing);
        let code = if cached { cached_code(status) } else { body.code.as_deref() };
        // nginx takes the end of a connection for a cut header, so that it is waited for only where
        // the code decides.
        let decides = framing != Framing::Close || shown.class != Class::Kept;
        if body.is_coming() && decides && u.buffer.last < u.buffer.end {
            return Status::NGX_AGAIN.into();
        }

        count(u, serving, object, status, code);
        let shown = match shown.class {
            Class::Missing | Class::Fault if body.is_unknown(framing) => {
                Verdict { status: 502, class: Class::Fault }
            }
            _ => match decide(r, serving, object, status, code) {
                Some(shown) => shown,
                None => return Status::NGX_OK.into(),
            },
        };
        if leads_to_folder(r, u, shown, status, code) {
            return Status::NGX_OK.into();
        }
        if !cached {
            report(r, u, serving, object, (status, head), code, shown);
            if let Some(code) = code {
                remember(r, code);
                if blames_keys(code) {
                    refuse_keys(serving, object.version);
                }
            }
        }
        act(r, u, object, status, shown);
    }
    Status::NGX_OK.into()
}

/// Lets an answer pass that is no error, but for one that has no end.
unsafe fn of_object(
    r: *mut ngx_http_request_t,
    u: &mut ngx_http_upstream_t,
    serving: &Serving,
    object: &mut Object,
    status: u16,
) -> ngx_int_t {
    // SAFETY: r is the request of u.
    unsafe {
        let rc = match &serving.autoindex {
            _ if is_endless(r, u, serving, status) => {
                log::of_request(r, NGX_LOG_ERR, "S3 answered without a valid length or chunks");
                NGX_HTTP_UPSTREAM_INVALID_HEADER as ngx_int_t
            }
            Some(_) if status == 200 => judge_listing(r, u, object),
            // 304: a stored listing is what it was.
            Some(_) if status != 304 => refuse_listing(r, u, object, status),
            None if serving.website_redirects => {
                follow(r, u, serving, object, status);
                Status::NGX_OK.into()
            }
            _ => Status::NGX_OK.into(),
        };
        if rc != Status::NGX_AGAIN.into() {
            count(u, serving, object, status, None);
        }
        rc
    }
}

/// Whether an answer ends with its connection, so that half of an object could not be told from
/// all of it. S3 sends a length or chunks. The proxy module takes a `Content-Length` that it cannot
/// read for none, and what is not HTTP for an object (of status 0).
unsafe fn is_endless(
    r: *mut ngx_http_request_t,
    u: &ngx_http_upstream_t,
    serving: &Serving,
    status: u16,
) -> bool {
    let unframed = u.headers_in.content_length_n < 0 && u.headers_in.chunked() == 0;
    match status {
        // nginx would tunnel behind a 101, which nobody asked for.
        0..=199 => true,
        204 | 304 => false,
        // SAFETY: the caller's promise: r is the request of u.
        _ => unframed && !is_cached(u) && unsafe { sent_method(r, serving) } != Some(Method::Head),
    }
}

/// What the client sees of an answer with this status and code.
///
/// # Safety
/// `r` is a valid request of a location with this `serving`.
#[inline]
pub unsafe fn decide(
    r: *mut ngx_http_request_t,
    serving: &Serving,
    object: &Object,
    status: u16,
    code: Option<&[u8]>,
) -> Option<Verdict> {
    // SAFETY: the caller's promise.
    unsafe {
        // Of all others it makes no difference.
        let carries = status == 400 && carries_more_than_a_key(r, serving, object);
        let shown = verdict(status, code, carries)?;
        let is_denied = status == 403 && shown.class == Class::Missing;
        if is_denied && keys_have_ended(object) && !(*r).upstream.as_ref().is_some_and(is_cached) {
            // That is what Ceph says of such keys.
            return Some(Verdict { status: 502, class: Class::Fault });
        }
        let redirect = shown.class == Class::Missing && is_to_get_a_slash(r, serving, object);
        Some(if redirect { Verdict { status: 301, ..shown } } else { shown })
    }
}

/// Whether something that the client says went to S3 beside the key.
unsafe fn carries_more_than_a_key(
    r: *mut ngx_http_request_t,
    serving: &Serving,
    object: &Object,
) -> bool {
    // SAFETY: r is a valid request. Where its answer is stored, nginx asks for the whole object.
    unsafe {
        let stored = (*r).upstream.as_ref().is_some_and(is_stored);
        adds_what_differs(serving, object) || !stored && is_of_client(r) && has_condition(r)
    }
}

/// Whether a client is redirected to a folder in place of a missing object: not in an error page's
/// location, where the path is that of another request.
unsafe fn is_to_get_a_slash(
    r: *mut ngx_http_request_t,
    serving: &Serving,
    object: &Object,
) -> bool {
    // SAFETY: the strings are the request's.
    serving.append_slash
        && unsafe {
            (*r).err_status == 0
                && with_slash((*r).unparsed_uri.as_bytes(), object.key.as_bytes()).is_some()
        }
}
