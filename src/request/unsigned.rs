//! A request that cannot be signed: it never reaches S3.
//!
//! Whether a request goes to S3 at all is known when nginx, having looked into its cache, builds it; by
//! then there is no way back to an error page. So it is led to a group that refuses it, as if S3 could not be
//! reached. Where `proxy_cache_use_stale error` lets it, nginx sends a stale object then. Else it is made to
//! believe so, and what it calls first, [`reinit`], answers with the status of the client.

use core::ffi::c_void;
use core::ptr;

use ngx::core::Status;
use ngx::ffi::{
    ngx_http_request_t, ngx_http_upstream_srv_conf_t, ngx_int_t, ngx_pcalloc,
    ngx_peer_connection_t, ngx_str_t, ngx_uint_t, NGX_HTTP_CACHE_EXPIRED,
    NGX_HTTP_SERVICE_UNAVAILABLE, NGX_HTTP_UPSTREAM_FT_ERROR,
};
use ngx::ngx_string;

use super::object::{object_mut, Object};
use crate::nginx::headers;
use crate::nginx::pool::copy_in_request;

const ERROR: ngx_uint_t = NGX_HTTP_UPSTREAM_FT_ERROR as ngx_uint_t;

/// Has nginx refuse the request that the proxy module is building.
///
/// # Safety
/// `r` is a valid request with this object, whose upstream has not been looked up yet.
pub unsafe fn refuse(r: *mut ngx_http_request_t, object: &mut Object) {
    object.is_refused = true;
    // SAFETY: the caller's promise; what is made here lives as long as the request.
    unsafe {
        let Some(u) = (*r).upstream.as_mut() else { return };
        let size = size_of::<ngx_http_upstream_srv_conf_t>();
        let group: *mut ngx_http_upstream_srv_conf_t = ngx_pcalloc((*r).pool, size).cast();
        if let (Some(group), Ok(conf)) = (group.as_mut(), copy_in_request(r, u.conf)) {
            group.peer.init = Some(init);
            (*conf).upstream = group;
            u.conf = conf;
            u.resolved = ptr::null_mut();
        } else if let Some(resolved) = u.resolved.as_mut() {
            // No name, no address and no port: nginx answers 500.
            resolved.host = ngx_str_t::empty();
            resolved.port = 0;
            resolved.sockaddr = ptr::null_mut();
        }
    }
}

/// nginx's hook for each request that goes to the group.
unsafe extern "C" fn init(
    r: *mut ngx_http_request_t,
    _: *mut ngx_http_upstream_srv_conf_t,
) -> ngx_int_t {
    // SAFETY: nginx passes a request with an upstream.
    unsafe {
        let Some(u) = (*r).upstream.as_mut() else { return Status::NGX_ERROR.into() };
        u.peer.get = Some(get);
        u.peer.free = Some(free);
        u.peer.data = r.cast();
        u.peer.tries = 0;
    }
    Status::NGX_OK.into()
}

/// nginx wants an address. There is none, and no other to try.
unsafe extern "C" fn get(_: *mut ngx_peer_connection_t, data: *mut c_void) -> ngx_int_t {
    let r: *mut ngx_http_request_t = data.cast();
    // SAFETY: data is the request that init() saw; the configuration is the copy of refuse().
    unsafe {
        let (Some(object), Some(u)) = (object_mut(r), (*r).upstream.as_mut()) else {
            return Status::NGX_ERROR.into();
        };
        let has_stale = u.cache_status() == NGX_HTTP_CACHE_EXPIRED
            && ((*u.conf).cache_use_stale & ERROR != 0
                || (*r).cache.as_ref().is_some_and(|cache| cache.stale_error() != 0));
        if !has_stale {
            object.cache_status = u.cache_status();
            (*u.conf).cache_use_stale |= ERROR;
            u.set_cache_status(NGX_HTTP_CACHE_EXPIRED);
            u.reinit_request = Some(reinit);
        }
    }
    Status::NGX_DECLINED.into()
}

/// nginx wants to send a stale object, which there is not: its answer is the client's.
unsafe extern "C" fn reinit(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: get() put it into the upstream of a request with an object.
    unsafe {
        if let (Some(object), Some(u)) = (object_mut(r), (*r).upstream.as_mut()) {
            u.set_cache_status(object.cache_status);
            if let Some(state) = u.state.as_mut() {
                state.status = NGX_HTTP_SERVICE_UNAVAILABLE as ngx_uint_t;
            }
        }
        // Without it the answer is right too.
        headers::add(r, ngx_string!("Retry-After"), ngx_string!("5"));
    }
    NGX_HTTP_SERVICE_UNAVAILABLE as ngx_int_t
}

/// Nothing was taken.
unsafe extern "C" fn free(_: *mut ngx_peer_connection_t, _: *mut c_void, _: ngx_uint_t) {}
