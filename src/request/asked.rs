//! What the client asks for beside the object: the method, and conditions.

use ngx::ffi::{ngx_http_request_t, ngx_str_t};

use crate::location::{shared, Serving};
use crate::nginx::variable;
use crate::s3::auth::sigv4::Method;

/// The method that the proxy module sends, if it may be signed.
///
/// # Safety
/// `r` is a valid request.
pub unsafe fn method(r: *mut ngx_http_request_t) -> Option<Method> {
    // SAFETY: both names are valid strings; the upstream's is set where a cache wants GET.
    unsafe {
        let upstream = (*r).upstream.as_ref().map(|u| u.method).filter(|name| !name.is_empty());
        Method::named(upstream.unwrap_or((*r).method_name).as_bytes())
    }
}

/// The same where S3 is asked for listings too: with GET, whatever the client asks with.
///
/// # Safety
/// `r` is a valid request of a location with this `serving`.
pub unsafe fn sent_method(r: *mut ngx_http_request_t, serving: &Serving) -> Option<Method> {
    match serving.autoindex {
        // SAFETY: the caller's promise.
        None => unsafe { method(r) },
        Some(_) => Some(Method::Get),
    }
}

/// The range that nginx's slice module wants, where it slices.
///
/// # Safety
/// `r` is a valid request.
pub unsafe fn slice_range(r: *mut ngx_http_request_t) -> Option<ngx_str_t> {
    // SAFETY: the caller's promise; the place is that of a variable.
    unsafe { shared(r).slice_range.and_then(|place| variable::get(r, place)) }
}

/// Whether a request is for what the client itself asks for: not for what a page includes or an access rule asks (a
/// subrequest), nor for the page of an error, whose status counts. Conditions are meant for nothing else.
///
/// # Safety
/// `r` is a valid request.
pub unsafe fn is_of_client(r: *mut ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe { r == (*r).main && (*r).err_status == 0 }
}

/// Whether the client sent one of the headers that are passed on.
///
/// # Safety
/// `r` is a valid request.
pub unsafe fn has_condition(r: *mut ngx_http_request_t) -> bool {
    // SAFETY: r is a valid request.
    let headers = unsafe { &(*r).headers_in };
    [
        headers.range,
        headers.if_range,
        headers.if_match,
        headers.if_none_match,
        headers.if_modified_since,
        headers.if_unmodified_since,
    ]
    .iter()
    .any(|header| !header.is_null())
}
