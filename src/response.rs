//! What clients see: a header filter, active only where a bucket is served.

use core::ptr;

use ngx::core::Status;
use ngx::ffi::{
    ngx_http_filter_finalize_request, ngx_http_output_header_filter_pt, ngx_http_request_t,
    ngx_http_top_header_filter, ngx_int_t, ngx_uint_t, NGX_HTTP_MOVED_PERMANENTLY,
    NGX_HTTP_MOVED_TEMPORARILY, NGX_HTTP_NOT_ALLOWED, NGX_HTTP_PERMANENT_REDIRECT,
    NGX_HTTP_SEE_OTHER, NGX_HTTP_TEMPORARY_REDIRECT,
};

use crate::module::ngx_http_s3_private_bucket_filter_module;
use crate::request::{allow, presigned_url, serving};

static mut NEXT: ngx_http_output_header_filter_pt = None;

/// Puts the filter before those that nginx has so far.
///
/// # Safety
/// Called in a postconfiguration hook, by one thread.
pub unsafe fn install() {
    // SAFETY: nginx's filters are linked while it reads the configuration, before requests.
    unsafe {
        NEXT = ngx_http_top_header_filter;
        ngx_http_top_header_filter = Some(filter);
    }
}

unsafe extern "C" fn filter(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes a valid request whose response begins.
    unsafe {
        if let Some(serving) = serving(r) {
            if leads_nowhere(r) {
                if let Err(refusal) = presigned_url(r, serving) {
                    refusal.log(r);
                    let module = ptr::addr_of_mut!(ngx_http_s3_private_bucket_filter_module);
                    return ngx_http_filter_finalize_request(r, module, refusal.status());
                }
            }
            // The error page that this made of a redirect.
            let refused = (*r).headers_out.status == NGX_HTTP_NOT_ALLOWED as ngx_uint_t;
            if refused && (*r).filter_finalize() != 0 && allow(r).is_none() {
                return Status::NGX_ERROR.into();
            }
        }
        match NEXT {
            Some(next) => next(r),
            None => Status::NGX_ERROR.into(),
        }
    }
}

/// Whether nginx itself answers with an empty `Location`, as with a
/// `$s3_private_bucket_presigned_url` that could not be made.
unsafe fn leads_nowhere(r: *mut ngx_http_request_t) -> bool {
    const REDIRECTS: [u32; 5] = [
        NGX_HTTP_MOVED_PERMANENTLY,
        NGX_HTTP_MOVED_TEMPORARILY,
        NGX_HTTP_SEE_OTHER,
        NGX_HTTP_TEMPORARY_REDIRECT,
        NGX_HTTP_PERMANENT_REDIRECT,
    ];
    // SAFETY: r is a valid request; its Location is NULL or an element of its headers.
    unsafe {
        (*r).upstream.is_null()
            && REDIRECTS.iter().any(|&status| (*r).headers_out.status == status as ngx_uint_t)
            && (*r).headers_out.location.as_ref().is_some_and(|l| l.value.is_empty())
    }
}
