//! Answers on the way to the page of a folder: a missing index page, and the beginning of a listing.

use core::slice;

use ngx::core::Status;
use ngx::ffi::{
    ngx_http_request_t, ngx_http_upstream_t, ngx_int_t, ngx_pcalloc, ngx_table_elt_t, ngx_uint_t,
    off_t, NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT, NGX_LOG_ERR,
};

use super::act::{act, framing, is_cached, nginx_wants};
use super::listing::{look, Seen};
use crate::location::{location, serving};
use crate::log;
use crate::nginx::cache::forget;
use crate::nginx::headers::clear;
use crate::nginx::pool::copy_in_request;
use crate::request::folder::is_for_folder;
use crate::request::object::Object;
use crate::s3::answer::{Class, Verdict};
use crate::s3::error_body::Framing;

/// Decides what becomes of a listing, as far as its beginning tells, or waits for more of it: what is short is
/// there as a whole, so that an empty one is nginx's 404.
///
/// # Safety
/// `r` is a valid request and `u` its upstream.
pub unsafe fn judge_listing(
    r: *mut ngx_http_request_t,
    u: &mut ngx_http_upstream_t,
    object: &mut Object,
) -> ngx_int_t {
    // SAFETY: r is the request of u, whose buffer holds what has arrived.
    unsafe {
        let len = usize::try_from(u.buffer.last.offset_from(u.buffer.pos)).unwrap_or(0);
        let wire = slice::from_raw_parts(u.buffer.pos, len);
        let stored = (*r).cache.as_ref().filter(|_| is_cached(u));
        let framing = match stored.map(|cache| cache.length - cache.body_start as off_t) {
            // Without the chunks that it came in.
            Some(len) => Framing::Length(len.try_into().unwrap_or(0)),
            None => framing(u, false),
        };
        match look(r, object, wire, framing) {
            Seen::Part if u.buffer.last < u.buffer.end && stored.is_none() => {
                return Status::NGX_AGAIN.into();
            }
            Seen::Part | Seen::Page => (),
            Seen::Missing => {
                // Nothing is stored in its place, behind which it would be served as long as someone asks.
                forget(r);
                act(r, u, object, 200, MISSING);
            }
            Seen::Fault(error) => {
                log::of_request(r, NGX_LOG_ERR, format_args!("S3 sent no listing: {error}"));
                act(r, u, object, 200, FAULT);
            }
        }
    }
    Status::NGX_OK.into()
}

/// Answers 502 in the place of what has another status of success than a listing: nobody would make a page of it.
///
/// # Safety
/// `r` is a valid request and `u` its upstream.
pub unsafe fn refuse_listing(
    r: *mut ngx_http_request_t,
    u: &mut ngx_http_upstream_t,
    object: &mut Object,
    status: u16,
) -> ngx_int_t {
    // SAFETY: r is the request of u.
    unsafe {
        log::of_request(r, NGX_LOG_ERR, format_args!("S3 sent no listing: its status is {status}"));
        act(r, u, object, status, FAULT);
    }
    Status::NGX_OK.into()
}

/// Leads a request whose index page is missing to the page of its folder, by nginx's own way for a server
/// that says so. Nothing of the answer is stored. `code` is S3's error code, as far as it is known.
///
/// # Safety
/// `r` is a valid request and `u` its upstream.
pub unsafe fn leads_to_folder(
    r: *mut ngx_http_request_t,
    u: &mut ngx_http_upstream_t,
    shown: Verdict,
    status: u16,
    code: Option<&[u8]>,
) -> bool {
    // SAFETY: r is the request of u; what is copied lives in its pool.
    unsafe {
        let folder = location(r).folder.as_ref().filter(|folder| folder.is_behind_index);
        let Some(folder) = folder.filter(|_| shown.class == Class::Missing) else { return false };
        if is_cached(u) || nginx_wants(u, status) {
            return false;
        }
        if !serving(r).is_some_and(|serving| is_for_folder(r, serving)) {
            return false;
        }
        // The same for the index page; but a 403 that does not say so may be one for wrong keys.
        if status != 403 || code == Some(b"AccessDenied") {
            forget(r);
        }
        let header = ngx_pcalloc((*r).pool, size_of::<ngx_table_elt_t>()).cast::<ngx_table_elt_t>();
        let (Some(header), Ok(conf)) = (header.as_mut(), copy_in_request(r, u.conf)) else {
            return false;
        };
        header.value = folder.name;
        (*conf).ignore_headers &= !(NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT as ngx_uint_t);
        u.conf = conf;
        u.headers_in.x_accel_redirect = header;
        // nginx takes some along, as from a server that is trusted.
        clear(&mut u.headers_in.headers);
        // Not an error for nginx to answer.
        u.headers_in.status_n = 200;
        u.set_cacheable(0);
    }
    true
}

const MISSING: Verdict = Verdict { status: 404, class: Class::Missing };
const FAULT: Verdict = Verdict { status: 502, class: Class::Fault };
