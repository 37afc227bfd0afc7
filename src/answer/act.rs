//! What nginx is made to do with an answer.

use ngx::ffi::{
    ngx_current_msec, ngx_http_file_cache_valid, ngx_http_request_t, ngx_http_upstream_t,
    ngx_str_t, ngx_time, ngx_uint_t, NGX_HTTP_CACHE_EXPIRED, NGX_HTTP_CACHE_STALE,
    NGX_HTTP_NOT_FOUND, NGX_HTTP_UPSTREAM_FT_HTTP_403, NGX_HTTP_UPSTREAM_FT_HTTP_404,
    NGX_HTTP_UPSTREAM_FT_HTTP_429, NGX_HTTP_UPSTREAM_FT_HTTP_500, NGX_HTTP_UPSTREAM_FT_HTTP_502,
    NGX_HTTP_UPSTREAM_FT_HTTP_503, NGX_HTTP_UPSTREAM_FT_HTTP_504,
};

use crate::location::{location, serving};
use crate::request::object::Object;
use crate::s3::answer::{Class, Verdict};
use crate::s3::error_body::Framing;

/// Has nginx act upon what an answer means.
///
/// # Safety
/// `r` is a valid request and `u` its upstream.
pub unsafe fn act(
    r: *mut ngx_http_request_t,
    u: &mut ngx_http_upstream_t,
    object: &mut Object,
    status: u16,
    shown: Verdict,
) {
    object.answer.shown = Some(shown);
    // SAFETY: u is the upstream of r.
    unsafe {
        // What a listing says of a folder is not what is stored of one.
        let lists = serving(r).is_some_and(|serving| serving.autoindex.is_some());
        let is_kept = shown.class.is_cacheable()
            && !lists
            && !is_for_page(r, object, shown)
            && is_valid_for_a_while(r, u, shown);
        if u.cacheable() != 0 && !is_kept {
            object.answer.is_kept_from_cache = true;
            u.set_cacheable(0);
        }
        if !nginx_wants(u, status) {
            u.headers_in.status_n = ngx_uint_t::from(shown.status);
            u.headers_in.status_line = ngx_str_t::empty();
        }
    }
}

/// Whether what is missing is an index page, in whose place its folder is shown: that it was missing once must
/// not be known when the folder is asked for, as nginx sends what it has stored before it is judged.
unsafe fn is_for_page(r: *mut ngx_http_request_t, object: &Object, shown: Verdict) -> bool {
    // SAFETY: r is a valid request.
    unsafe {
        let is_behind = location(r).folder.as_ref().is_some_and(|folder| folder.is_behind_index);
        let index = serving(r).and_then(|serving| serving.index.as_ref());
        shown.class == Class::Missing
            && is_behind
            && index.is_some_and(|index| object.key.as_bytes().ends_with(index.as_bytes()))
    }
}

/// What ends the body of an answer. `empty`: there is none, whatever the headers say.
pub fn framing(u: &ngx_http_upstream_t, empty: bool) -> Framing {
    if empty {
        return Framing::Length(0);
    }
    match usize::try_from(u.headers_in.content_length_n) {
        _ if u.headers_in.chunked() != 0 => Framing::Chunked,
        Ok(length) => Framing::Length(length),
        Err(_) => Framing::Close,
    }
}

/// Whether nginx has the answer from its cache.
pub fn is_cached(u: &ngx_http_upstream_t) -> bool {
    u.cache_status() >= NGX_HTTP_CACHE_STALE
}

/// Gives a redirect that stands for a missing object the validity of that (`proxy_cache_valid`), unless
/// S3 said one. Returns whether it has any.
unsafe fn is_valid_for_a_while(
    r: *mut ngx_http_request_t,
    u: &ngx_http_upstream_t,
    shown: Verdict,
) -> bool {
    // SAFETY: a request that is cached has a cache; an upstream has a configuration, which is not
    // changed.
    unsafe {
        let Some(cache) = (*r).cache.as_mut().filter(|_| shown.status == 301) else { return true };
        if cache.valid_sec == 0 {
            let missing = NGX_HTTP_NOT_FOUND as ngx_uint_t;
            match ngx_http_file_cache_valid((*u.conf).cache_valid, missing) {
                0 => return false,
                seconds => cache.valid_sec = ngx_time() + seconds,
            }
        }
    }
    true
}

/// Whether nginx is going to ask another server, or to send a stale response, for S3's own
/// status (`proxy_next_upstream`, `proxy_cache_use_stale`).
///
/// # Safety
/// The upstream is a request's.
pub unsafe fn nginx_wants(u: &ngx_http_upstream_t, status: u16) -> bool {
    let wish = match status {
        403 => NGX_HTTP_UPSTREAM_FT_HTTP_403,
        404 => NGX_HTTP_UPSTREAM_FT_HTTP_404,
        429 => NGX_HTTP_UPSTREAM_FT_HTTP_429,
        500 => NGX_HTTP_UPSTREAM_FT_HTTP_500,
        502 => NGX_HTTP_UPSTREAM_FT_HTTP_502,
        503 => NGX_HTTP_UPSTREAM_FT_HTTP_503,
        504 => NGX_HTTP_UPSTREAM_FT_HTTP_504,
        _ => return false,
    };
    // SAFETY: an upstream has a configuration; nginx's time is read in its own thread.
    let (conf, now) = unsafe { (&*u.conf, ngx_current_msec) };
    let wanted = |mask: ngx_uint_t| mask & wish as ngx_uint_t != 0;
    let timeout = conf.next_upstream_timeout;
    let is_late = timeout > 0 && now.wrapping_sub(u.peer.start_time) >= timeout;
    (u.peer.tries > 1 && !is_late && wanted(conf.next_upstream))
        || (u.cache_status() == NGX_HTTP_CACHE_EXPIRED && wanted(conf.cache_use_stale))
}
