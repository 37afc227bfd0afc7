//! What clients see: a header filter, active only where a bucket is served.

use core::ptr;

use ngx::core::Status;
use ngx::ffi::{
    ngx_http_filter_finalize_request, ngx_http_output_header_filter_pt, ngx_http_request_t,
    ngx_http_top_header_filter, ngx_int_t, ngx_list_part_t, ngx_table_elt_t, ngx_uint_t,
    NGX_HTTP_MOVED_PERMANENTLY, NGX_HTTP_MOVED_TEMPORARILY, NGX_HTTP_NOT_ALLOWED,
    NGX_HTTP_PERMANENT_REDIRECT, NGX_HTTP_SEE_OTHER, NGX_HTTP_TEMPORARY_REDIRECT,
};

use crate::answer::is_hidden;
use crate::module::ngx_http_s3_private_bucket_filter_module;
use crate::request::{allow, presigned_url, serving, Serving};

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
            hide_headers(r, serving);
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

/// Takes what tells of S3 out of an answer that came from it.
unsafe fn hide_headers(r: *mut ngx_http_request_t, serving: &Serving) {
    // SAFETY: the list is the request's; its parts hold as many headers as they say.
    unsafe {
        if (*r).upstream.is_null() {
            return;
        }
        let mut part: *mut ngx_list_part_t = ptr::addr_of_mut!((*r).headers_out.headers.part);
        while let Some(some) = part.as_mut() {
            for i in 0..some.nelts {
                let header = some.elts.cast::<ngx_table_elt_t>().add(i);
                if is_hidden((*header).key.as_bytes(), &serving.pass_headers) {
                    (*header).hash = 0;
                }
            }
            part = some.next;
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
