//! What clients see: a header and a body filter, active only where a bucket is served.
//!
//! No bit field of `ngx_http_request_t` is used: in nginx 1.31 bindgen misplaces those behind
//! `uri_changes`, as it overlooks that they share a word with the port before them.

use core::{mem, ptr};

use ngx::core::Status;
use ngx::ffi::{
    ngx_buf_t, ngx_chain_t, ngx_http_clean_header, ngx_http_filter_finalize_request,
    ngx_http_output_body_filter_pt, ngx_http_output_header_filter_pt, ngx_http_request_t,
    ngx_http_top_body_filter, ngx_http_top_header_filter, ngx_http_upstream_t, ngx_int_t,
    ngx_pcalloc, ngx_str_t, ngx_table_elt_t, ngx_uint_t, NGX_HTTP_HEAD, NGX_HTTP_MOVED_PERMANENTLY,
    NGX_HTTP_MOVED_TEMPORARILY, NGX_HTTP_NOT_ALLOWED, NGX_HTTP_OK, NGX_HTTP_PERMANENT_REDIRECT,
    NGX_HTTP_SEE_OTHER, NGX_HTTP_TEMPORARY_REDIRECT,
};
use ngx::ngx_string;

use super::act::is_cached;
use super::judge::decide;
use super::listing::{self, Next};
use super::page::of_status;
use super::redirect::redirect;
use crate::location::{serving, Serving};
use crate::nginx::headers::{add, find, has, hide};
use crate::nginx::pool::concat;
use crate::request::object::{object_mut, Object};
use crate::request::refusal::allow;
use crate::request::sign::presigned_url;
use crate::s3::answer::{cached_code, is_hidden, Class, Verdict};
use crate::s3::folder::with_slash;

static mut NEXT_HEADER: ngx_http_output_header_filter_pt = None;
static mut NEXT_BODY: ngx_http_output_body_filter_pt = None;

/// Whether this process has the filters.
pub fn is_installed() -> bool {
    // SAFETY: only install() writes to it, in the same thread.
    let next = unsafe { NEXT_HEADER };
    next.is_some()
}

/// Puts the filters before all that nginx has.
///
/// # Safety
/// nginx's filters are linked, without these, and no request is being answered.
pub unsafe fn install() {
    // SAFETY: a process of nginx has one thread for its filters.
    unsafe {
        NEXT_HEADER = ngx_http_top_header_filter;
        ngx_http_top_header_filter = Some(header_filter);
        NEXT_BODY = ngx_http_top_body_filter;
        ngx_http_top_body_filter = Some(body_filter);
    }
}

unsafe extern "C" fn header_filter(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes a valid request whose response begins.
    unsafe {
        if let Some(serving) = serving(r) {
            if leads_nowhere(r) {
                if let Some(sent) = refuse_redirect(r, serving) {
                    return sent;
                }
            }
            if is_405_without_allow(r) && allow(r).is_err() {
                return Status::NGX_ERROR.into();
            }
            if let Some((u, object, cached)) = answering(r) {
                let is_ok = u.headers_in.status_n == NGX_HTTP_OK as ngx_uint_t;
                if serving.autoindex.is_some() && is_ok && object.answer.shown.is_none() {
                    // The page is sent when all of the listing was read.
                    return match listing::begin(r, object) {
                        true => Status::NGX_OK.into(),
                        false => Status::NGX_ERROR.into(),
                    };
                }
                // What else stands there is the site's own, of its access rules for instance.
                let hidden = |header: &ngx_table_elt_t| {
                    is_hidden(header.key.as_bytes(), &serving.pass_headers)
                        && has(&u.headers_in.headers, header)
                };
                hide(&mut (*r).headers_out.headers, hidden);
                let is_judged =
                    serving.masks || serving.website_redirects || object.answer.shown.is_some();
                if is_judged {
                    if let Err(rc) = mask(r, (u, cached), serving, object) {
                        return rc;
                    }
                }
            }
        }
        let Some(next) = NEXT_HEADER else { return Status::NGX_ERROR.into() };
        let rc = next(r);
        let Some(page) = object_mut(r).and_then(|object| object.answer.page) else { return rc };
        // A subrequest may be for its headers alone (auth_request, mirror, a background update): its page waits
        // for the body filter, which nginx calls for the others.
        let is_now = r == (*r).main && (*r).method != NGX_HTTP_HEAD as ngx_uint_t && is_sent(rc);
        match is_now && !is_sent(send_page(r, page)) {
            true => Status::NGX_ERROR.into(),
            false => rc,
        }
    }
}

/// Whether a filter has done with what it got, or goes on with it by itself.
fn is_sent(rc: ngx_int_t) -> bool {
    rc == Status::NGX_OK.into() || rc == Status::NGX_AGAIN.into()
}

/// Sends the error that is the reason why a redirect leads nowhere, if there is one.
#[cold]
unsafe fn refuse_redirect(r: *mut ngx_http_request_t, serving: &Serving) -> Option<ngx_int_t> {
    // SAFETY: r is a valid request in its header filters.
    unsafe {
        let refusal = presigned_url(r, serving).err()?;
        refusal.log(r);
        Some(ngx_http_filter_finalize_request(r, ptr::null_mut(), refusal.status()))
    }
}

/// Looks whether the answer is not the object, and replaces it then.
///
/// # Errors
/// What nginx is to end the request with: a fault found on a hit, where the error page of one that S3 has just sent
/// would answer, or an error when memory ran out.
unsafe fn mask(
    r: *mut ngx_http_request_t,
    (u, cached): (&ngx_http_upstream_t, bool),
    serving: &Serving,
    object: &mut Object,
) -> Result<(), ngx_int_t> {
    // SAFETY: r is a valid request, u its upstream, which has a configuration.
    unsafe {
        // An answer of the cache need not have passed the upstream's hook.
        let shown = object.answer.shown.or_else(|| {
            let status = u16::try_from(u.headers_in.status_n).ok().filter(|_| cached)?;
            if serving.website_redirects {
                if let Some(shown) = redirect(r, u, serving, object, status) {
                    return Some(shown);
                }
            }
            serving.masks.then(|| decide(r, serving, object, status, cached_code(status)))?
        });
        match shown {
            Some(shown)
                if cached && shown.class == Class::Fault && (*u.conf).intercept_errors != 0 =>
            {
                ngx_http_clean_header(r);
                object.answer.is_given_up = true;
                Err(shown.status as ngx_int_t)
            }
            Some(shown) => replace(r, u, object, shown).ok_or(Status::NGX_ERROR.into()),
            None => Ok(()),
        }
    }
}

/// Replaces an answer by nginx's own: status, headers and, for the body filter, page. `None` when
/// memory ran out.
#[cold]
unsafe fn replace(
    r: *mut ngx_http_request_t,
    u: &ngx_http_upstream_t,
    object: &mut Object,
    shown: Verdict,
) -> Option<()> {
    // SAFETY: r is a valid request, u its upstream; what they point to lives in its pool.
    unsafe {
        let out = &mut (*r).headers_out;
        if matches!(shown.status, 412 | 416) {
            // Their headers tell clients what they can ask for.
            let of_a_part = (shown.status == 412).then_some(&mut out.content_range);
            let of_the_body = [&mut out.content_length, &mut out.content_encoding];
            for header in of_the_body.into_iter().chain(of_a_part) {
                if let Some(header) = mem::replace(header, ptr::null_mut()).as_mut() {
                    header.hash = 0;
                }
            }
            out.status_line = ngx_str_t::empty();
            out.charset = ngx_str_t::empty();
            out.content_type_lowcase = ptr::null_mut();
        } else {
            ngx_http_clean_header(r);
        }
        let out = &mut (*r).headers_out;
        out.status = ngx_uint_t::from(shown.status);
        out.content_type = ngx_string!("text/html");
        out.content_type_len = out.content_type.len;

        if shown.status == 503 {
            let wait = find(&u.headers_in.headers, b"retry-after");
            add(r, ngx_string!("Retry-After"), wait.unwrap_or(ngx_string!("1")))?;
        } else if shown.status == 301 {
            redirect_to(r, object, shown)?;
        }

        let page = of_status(r, shown.status)?;
        (*r).headers_out.content_length_n = page.len() as _;
        object.answer.page = Some(page);
        Some(())
    }
}

/// Adds the `Location` of a redirect: of the object's own, or to a folder. nginx is not told of the object's, as it
/// would put the scheme, the name and the port that it knows itself by before a path.
unsafe fn redirect_to(r: *mut ngx_http_request_t, object: &Object, shown: Verdict) -> Option<()> {
    // SAFETY: r is a valid request, in whose pool the strings are.
    unsafe {
        if shown.class != Class::Missing {
            return add(r, ngx_string!("Location"), object.answer.location).map(|_| ());
        }
        let location =
            concat(r, with_slash((*r).unparsed_uri.as_bytes(), object.key.as_bytes())?).ok()?;
        (*r).headers_out.location = add(r, ngx_string!("Location"), location)?;
    }
    Some(())
}

/// Sends the page of an answer that is masked as all of the response's body, behind its headers: nginx
/// would hold a buffer back until it is full, and S3 may be slow with the rest of its error, or never
/// send it.
#[cold]
unsafe fn send_page(r: *mut ngx_http_request_t, page: &'static [u8]) -> ngx_int_t {
    // SAFETY: r is a valid request whose headers were sent; the buffer lives in its pool.
    unsafe {
        let size = mem::size_of::<ngx_buf_t>();
        let buf = ngx_pcalloc((*r).pool, size).cast::<ngx_buf_t>().as_mut();
        let (Some(next), Some(buf)) = (NEXT_BODY, buf) else { return Status::NGX_ERROR.into() };
        let page = page.as_ptr_range();
        (buf.pos, buf.last) = (page.start.cast_mut(), page.end.cast_mut());
        buf.set_memory(1);
        // The end of a subrequest is not the end of what the client gets.
        buf.set_last_buf((r == (*r).main).into());
        buf.set_last_in_chain(1);
        next(r, &mut ngx_chain_t { buf, next: ptr::null_mut() })
    }
}

/// Swallows the body of an answer that is masked. nginx reads it to its end, for the connection to S3 to
/// be used again.
unsafe extern "C" fn body_filter(r: *mut ngx_http_request_t, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and a chain of its buffers, or none to go on with what is
    // not sent yet.
    unsafe {
        let Some(next) = NEXT_BODY else { return Status::NGX_ERROR.into() };
        let object = object_mut(r);
        if let Some(reader) = object.as_ref().and_then(|object| object.answer.reader) {
            let Some(header) = NEXT_HEADER else { return Status::NGX_ERROR.into() };
            return listing::body(r, reader, chain, &Next { header, body: next });
        }
        let is_masked = object.is_some_and(|object| object.answer.page.is_some());
        if (*r).headers_out.trailers.part.nelts > 0 {
            hide_trailers(r, is_masked);
        }
        if !is_masked || chain.is_null() {
            return next(r, chain);
        }
        let mut link = chain;
        while let Some(this) = link.as_ref() {
            let buf = &mut *this.buf;
            buf.pos = buf.last;
            buf.file_pos = buf.file_last;
            link = this.next;
        }
        if let Some(object) = object_mut(r).filter(|o| r != (*r).main && !o.answer.page_is_sent) {
            object.answer.page_is_sent = true;
            if let Some(page) = object.answer.page {
                return send_page(r, page);
            }
        }
        // What is left of the page goes on now: nginx takes a filter that is done for one that has sent all.
        match (*(*r).connection).buffered() {
            0 => Status::NGX_OK.into(),
            _ => next(r, ptr::null_mut()),
        }
    }
}

/// The upstream whose answer nginx is sending, from S3 or (the last is true) from its cache. Without the upstream's cleanup nginx
/// has done with S3, and answers itself; as it does for what was given up.
unsafe fn answering<'a>(
    r: *mut ngx_http_request_t,
) -> Option<(&'a ngx_http_upstream_t, &'a mut Object, bool)> {
    // SAFETY: r is a valid request.
    unsafe {
        let (object, u) = (object_mut(r)?, (*r).upstream.as_ref()?);
        let cached = is_cached(u);
        let is_of_s3 = (cached || !u.cleanup.is_null()) && !object.answer.is_given_up;
        is_of_s3.then_some((u, object, cached))
    }
}

/// Takes what tells of S3 out of the trailers that are about to be sent; of a masked answer, all.
#[cold]
unsafe fn hide_trailers(r: *mut ngx_http_request_t, masked: bool) {
    // SAFETY: the list is the request's.
    unsafe {
        if let (Some(serving), Some(_)) = (serving(r), object_mut(r)) {
            let hidden = |header: &ngx_table_elt_t| {
                masked || is_hidden(header.key.as_bytes(), &serving.pass_headers)
            };
            hide(&mut (*r).headers_out.trailers, hidden);
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
        object_mut(r).is_none()
            && REDIRECTS.iter().any(|&status| (*r).headers_out.status == status as ngx_uint_t)
            && (*r).headers_out.location.as_ref().is_some_and(|l| l.value.is_empty())
    }
}

/// Whether nginx itself answers 405 and has not said what is allowed, as for a redirect that was
/// refused.
unsafe fn is_405_without_allow(r: *mut ngx_http_request_t) -> bool {
    // SAFETY: r is a valid request.
    unsafe {
        (*r).headers_out.status == NGX_HTTP_NOT_ALLOWED as ngx_uint_t
            && object_mut(r).is_none()
            && find(&(*r).headers_out.headers, b"allow").is_none()
    }
}
