//! The content handler of locations that show what is counted (`s3_private_bucket_status`).

use core::mem;

use ngx::ffi::{
    ngx_http_complex_value_t, ngx_http_request_t, ngx_http_send_response, ngx_int_t, ngx_str_t,
    ngx_time, ngx_uint_t, NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_INTERNAL_SERVER_ERROR,
    NGX_HTTP_NOT_ALLOWED, NGX_HTTP_OK,
};
use ngx::ngx_string;

use crate::credentials::source::{self, Kind};
use crate::location::{shared, Shared};
use crate::nginx::headers::add;
use crate::nginx::pool::concat;
use crate::nginx::{borrowed, Failed};
use crate::request::refusal::allow;
use crate::s3::metrics::{Source, CONTENT_TYPE};

/// The content handler.
///
/// # Safety
/// nginx calls it with a request in its content phase.
pub unsafe extern "C" fn handle(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes a request in its content phase.
    unsafe {
        if (*r).method & (NGX_HTTP_GET | NGX_HTTP_HEAD) as ngx_uint_t == 0 {
            return match allow(r) {
                Ok(()) => NGX_HTTP_NOT_ALLOWED as ngx_int_t,
                Err(_) => NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t,
            };
        }
        match text(r, shared(r)) {
            Ok(text) => send(r, text),
            Err(_) => NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t,
        }
    }
}

/// What is counted, as text in the request's pool.
unsafe fn text(r: *mut ngx_http_request_t, shared: &Shared) -> Result<ngx_str_t, Failed> {
    let table = shared.counts.as_ref().and_then(|counts| counts.table());
    let mut metrics = table.map(|table| table.metrics()).unwrap_or_default();
    let now = ngx_time();
    metrics.sources.extend(shared.sources.iter().map(|source| of_source(source, now)));
    let mut out = Vec::new();
    metrics.write(&mut out);
    // SAFETY: r is a valid request.
    unsafe { concat(r, [&out]) }
}

/// What is told of a source of keys, at `now` in Unix seconds.
fn of_source(source: &source::Source, now: i64) -> Source {
    let slot = source.slot();
    let (refreshes, failures) = slot.map(|slot| slot.attempts()).unwrap_or_default();
    let left = slot.and_then(|slot| slot.expires()).map(|end| end.saturating_sub(now));
    let name = match &source.kind {
        // One file may have keys of several profiles.
        Kind::File { profile, .. } => format!("{} profile={profile}", source.name),
        _ => source.name.to_string(),
    };
    Source { name, left, refreshes, failures }
}

/// Sends the text, which nobody is to store.
unsafe fn send(r: *mut ngx_http_request_t, text: ngx_str_t) -> ngx_int_t {
    // SAFETY: r is a valid request whose response has not begun; its pool has what is sent. Zeroed, a complex value is
    // one without variables, which nginx reads before it returns.
    unsafe {
        if add(r, ngx_string!("Cache-Control"), ngx_string!("no-store")).is_none() {
            return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
        }
        let mut kind = borrowed(CONTENT_TYPE.as_bytes());
        let mut value: ngx_http_complex_value_t = mem::zeroed();
        value.value = text;
        // It knows of subrequests for their headers alone (auth_request, mirror).
        ngx_http_send_response(r, NGX_HTTP_OK as ngx_uint_t, &mut kind, &mut value)
    }
}
