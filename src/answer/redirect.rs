//! Objects that redirect clients (`s3_private_bucket_website_redirects`).

use ngx::ffi::{ngx_http_request_t, ngx_http_upstream_t, ngx_str_t, NGX_LOG_ERR};

use super::act::{act, framing, is_cached};
use crate::location::Serving;
use crate::log;
use crate::nginx::headers::find;
use crate::nginx::pool::concat;
use crate::nginx::upstream::{is_stored, leave_body};
use crate::request::asked::{is_of_client, sent_method};
use crate::request::name::prefix;
use crate::request::object::Object;
use crate::s3::answer::{Class, Verdict};
use crate::s3::auth::sigv4::Method;
use crate::s3::error_body::Framing;
use crate::s3::redirect::{target, Paths, HEADER};

/// Has the client redirected where an object says, before nginx acts on the answer. For nginx's cache it stays the
/// object that S3 sent, so that it is stored as long as others.
///
/// # Safety
/// `r` is a valid request of a location with this `serving`, `u` its upstream.
pub unsafe fn follow(
    r: *mut ngx_http_request_t,
    u: &mut ngx_http_upstream_t,
    serving: &Serving,
    object: &mut Object,
    status: u16,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let shown = redirect(r, u, serving, object, status);
        if shown.is_some() && !is_stored(u) && has_much_to_come(u, sent_method(r, serving)) {
            leave_body(u);
        }
        match shown {
            Some(shown) if shown.class == Class::Fault => act(r, u, object, status, shown),
            shown => object.answer.shown = shown,
        }
    }
}

/// Whether more of an answer is to come than a new connection is worth: the client would wait for all of an object that
/// nobody gets, before nginx reads its next request.
fn has_much_to_come(u: &ngx_http_upstream_t, sent: Option<Method>) -> bool {
    const MUCH: usize = 64 << 10;
    let here = u.buffer.last as usize - u.buffer.pos as usize;
    match framing(u, is_cached(u) || sent == Some(Method::Head)) {
        Framing::Length(length) => length.saturating_sub(here) > MUCH,
        Framing::Chunked | Framing::Close => true,
    }
}

/// What the client sees of an object that redirects, from S3 or nginx's cache; the object's answer is given the
/// `Location`. A value that is none is a fault, which is logged.
///
/// Only what clients ask for themselves redirects them: no part of a page (SSI), no slice, no update of the
/// cache, and no page of an error, whose status would be lost.
///
/// # Safety
/// As for [`follow`].
pub unsafe fn redirect(
    r: *mut ngx_http_request_t,
    u: &ngx_http_upstream_t,
    serving: &Serving,
    object: &mut Object,
    status: u16,
) -> Option<Verdict> {
    // SAFETY: the caller's promise; what is found lives as long as the request.
    unsafe {
        if !matches!(status, 200 | 206) || !is_of_client(r) {
            return None;
        }
        let value = find(&u.headers_in.headers, HEADER)?;
        let prefix = prefix(r, serving, object);
        let paths = prefix.map(|prefix| Paths { location: serving.prefix, prefix });
        match target(value.as_bytes(), paths) {
            Ok(target) => {
                object.answer.location = concat(r, [&target]).unwrap_or(ngx_str_t::empty());
                let status = if object.answer.location.is_empty() { 500 } else { 301 };
                Some(Verdict { status, class: Class::Kept })
            }
            Err(error) => {
                let (key, value) = (object.key.as_bytes(), value.as_bytes());
                let what = format!(
                    "the object \"{}\" redirects to \"{}\", which is not followed: {error}",
                    key.escape_ascii(),
                    value.escape_ascii()
                );
                log::of_request(r, NGX_LOG_ERR, what);
                Some(Verdict { status: 502, class: Class::Fault })
            }
        }
    }
}
