//! S3's answers, before nginx acts on them.
//!
//! nginx retries, intercepts and caches by the status of an answer. What an error of S3 means
//! stands in the body behind it, so the proxy module's hook that reads the headers is wrapped: it
//! waits for the error code too, and then gives nginx the status that is meant.

use core::{mem, ptr, slice};

use ngx::core::Status;
use ngx::ffi::{
    ngx_current_msec, ngx_http_file_cache_valid, ngx_http_request_t, ngx_http_upstream_t,
    ngx_int_t, ngx_parse_http_time, ngx_str_t, ngx_time, ngx_uint_t, NGX_HTTP_CACHE_EXPIRED,
    NGX_HTTP_CACHE_STALE, NGX_HTTP_NOT_FOUND, NGX_HTTP_UPSTREAM_FT_HTTP_403,
    NGX_HTTP_UPSTREAM_FT_HTTP_404, NGX_HTTP_UPSTREAM_FT_HTTP_429, NGX_HTTP_UPSTREAM_FT_HTTP_500,
    NGX_HTTP_UPSTREAM_FT_HTTP_502, NGX_HTTP_UPSTREAM_FT_HTTP_503, NGX_HTTP_UPSTREAM_FT_HTTP_504,
    NGX_HTTP_UPSTREAM_INVALID_HEADER, NGX_LOG_ERR, NGX_LOG_INFO, NGX_LOG_WARN,
};

use super::if_range;
use crate::connections::peer::keep_session;
use crate::credentials::source::Source;
use crate::location::{serving, Serving};
use crate::log;
use crate::nginx::headers::find;
use crate::nginx::upstream::is_stored;
use crate::request::asked::{has_condition, method};
use crate::request::error_code::remember;
use crate::request::object::{object_mut, Object};
use crate::s3::answer::{blames_keys, cached_code, verdict, Advice, Class, Verdict};
use crate::s3::auth::sigv4::Method;
use crate::s3::auth::Auth;
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
            true => if_range::reinit(r, u, object),
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
        if if_range::is_of_another_version(r, u) {
            return if_range::ask(r, u, object);
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
            if !is_endless(r, u, status) {
                return Status::NGX_OK.into();
            }
            log::of_request(r, NGX_LOG_ERR, "S3 answered without a valid length or chunks");
            return NGX_HTTP_UPSTREAM_INVALID_HEADER as ngx_int_t;
        };
        if !serving.masks {
            return Status::NGX_OK.into();
        }
        let body = match u.buffer.last.offset_from(u.buffer.pos) {
            len @ 1.. => slice::from_raw_parts(u.buffer.pos, len as usize),
            _ => &[],
        };
        let head = method(r) == Some(Method::Head);
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

        let shown = match shown.class {
            Class::Missing | Class::Fault if body.is_unknown(framing) => {
                Verdict { status: 502, class: Class::Fault }
            }
            _ => match decide(r, serving, object, status, code) {
                Some(shown) => shown,
                None => return Status::NGX_OK.into(),
            },
        };
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

/// Has the keys renewed that S3 refused, if they are of those that are.
fn refuse_keys(serving: &Serving, version: u64) {
    if let Some(slot) = source(serving).and_then(|source| source.slot()) {
        slot.refuse(version);
    }
}

/// Where the keys of a location are from, if they are renewed.
fn source(serving: &Serving) -> Option<&Source> {
    serving.signing.as_ref()?.keys.source().map(|source| &**source)
}

/// Has nginx act upon what an answer means.
unsafe fn act(
    r: *mut ngx_http_request_t,
    u: &mut ngx_http_upstream_t,
    object: &mut Object,
    status: u16,
    shown: Verdict,
) {
    object.answer.shown = Some(shown);
    // SAFETY: u is the upstream of r.
    unsafe {
        let is_kept = shown.class.is_cacheable() && is_valid_for_a_while(r, u, shown);
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

/// What ends the body of an answer. `empty`: there is none, whatever the headers say.
fn framing(u: &ngx_http_upstream_t, empty: bool) -> Framing {
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

/// Whether an answer ends with its connection, so that half of an object could not be told from
/// all of it. S3 sends a length or chunks. The proxy module takes a `Content-Length` that it cannot
/// read for none, and what is not HTTP for an object (of status 0).
unsafe fn is_endless(r: *mut ngx_http_request_t, u: &ngx_http_upstream_t, status: u16) -> bool {
    let unframed = u.headers_in.content_length_n < 0 && u.headers_in.chunked() == 0;
    match status {
        // nginx would tunnel behind a 101, which nobody asked for.
        0..=199 => true,
        204 | 304 => false,
        // SAFETY: the caller's promise: r is the request of u.
        _ => unframed && !is_cached(u) && unsafe { method(r) } != Some(Method::Head),
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
        let carries = status == 400 && carries_more_than_a_key(r, object);
        let shown = verdict(status, code, carries)?;
        let redirect = shown.class == Class::Missing && is_to_get_a_slash(r, serving, object);
        Some(if redirect { Verdict { status: 301, ..shown } } else { shown })
    }
}

/// Whether something that the client says went to S3 beside the key.
unsafe fn carries_more_than_a_key(r: *mut ngx_http_request_t, object: &Object) -> bool {
    // SAFETY: r is a valid request. Where its answer is stored, nginx asks for the whole object.
    unsafe {
        let stored = (*r).upstream.as_ref().is_some_and(is_stored);
        object.uri.as_bytes().contains(&b'?') || !stored && has_condition(r)
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
unsafe fn nginx_wants(u: &ngx_http_upstream_t, status: u16) -> bool {
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

/// Logs an answer, with what can be done about it.
unsafe fn report(
    r: *mut ngx_http_request_t,
    u: &ngx_http_upstream_t,
    serving: &Serving,
    object: &Object,
    (status, head): (u16, bool),
    code: Option<&[u8]>,
    shown: Verdict,
) {
    let level = match (shown.class, status) {
        (Class::Missing, 403) => NGX_LOG_WARN,
        (Class::Missing | Class::Client, _) | (Class::Kept, 412 | 416) => NGX_LOG_INFO,
        _ => NGX_LOG_ERR,
    };
    let now = ngx_time();
    let bucket = object.name.as_bytes();
    // SAFETY: r is a valid request with a connection, u its upstream.
    unsafe {
        let log = (*(*r).connection).log;
        if (*log).log_level < level as ngx_uint_t
            || !serving.reported.is_new((bucket, status, code), now)
        {
            return;
        }
        let date = u.headers_in.date.as_ref().map(|h| h.value);
        let date = date.map(|d| ngx_parse_http_time(d.data, d.len)).filter(|&d| d > 0);
        let region = find(&u.headers_in.headers, b"x-amz-bucket-region");
        let policy = match &*serving.auth {
            Auth::None => "the bucket policy for the address of this host".to_owned(),
            Auth::Secret(secret) => {
                format!("the bucket policy for the header \"{}\"", secret.header())
            }
            Auth::Sigv4 { .. } => "the IAM policy of the access key".to_owned(),
        };
        let advice = Advice {
            code,
            region: region
                .as_ref()
                .map(|v| v.as_bytes())
                .filter(|_| matches!(status, 301 | 307 | 400)),
            skew: date.map(|date| now - date),
            renews: source(serving).is_some_and(|source| source.is_fetched()),
            policy: &policy,
        };
        let what = match code {
            Some(code) => code.escape_ascii().to_string(),
            None if head => "to HEAD".to_owned(),
            None => "without an error code".to_owned(),
        };
        let bucket = bucket.escape_ascii();
        log::of_request(
            r,
            level,
            format_args!("S3 answered {status} {what} for the bucket \"{bucket}\"{advice}"),
        );
    }
}
