//! What one request asks S3 for, and what is known of the answer.

use core::ffi::c_void;
use core::ptr::NonNull;

use ngx::ffi::{ngx_http_request_t, ngx_str_t};

use crate::location::ctx_index;
use crate::nginx::Handler;
use crate::s3::answer::Verdict;
use crate::s3::auth::sigv4::stamp::Stamp;

/// What S3 is asked for by one request. The strings live in the request's pool.
#[derive(Clone, Copy)]
pub struct Object {
    /// The bucket's name.
    pub name: ngx_str_t,
    /// The decoded key, prefix included.
    pub key: ngx_str_t,
    /// The `Host` header.
    pub host: ngx_str_t,
    /// The request target, as it goes on the wire.
    pub uri: ngx_str_t,
    /// The values of the operator's own headers, in the order of `set_headers`; they live as long.
    pub headers: *const [ngx_str_t],
    /// When the request was signed, once it is.
    pub stamp: Stamp,
    /// The signature, empty until the proxy module asks for it. There is room for its bytes.
    pub authorization: ngx_str_t,
    /// The session token of that signature.
    pub token: ngx_str_t,
    /// Whether it could not be signed, and what nginx knew of its cache then.
    pub is_refused: bool,
    pub cache_status: u32,
    /// The version of the keys that signed it; 0 for a key that stays.
    pub version: u64,
    /// When these end, in Unix seconds, if they do.
    pub keys_end: Option<i64>,
    /// What is known of S3's answer.
    pub answer: Answer,
}

impl Object {
    /// What is asked for, before it is signed. Behind the bytes of `uri` there is room for the signature.
    #[inline(always)]
    pub fn new(name: ngx_str_t, key: ngx_str_t, host: ngx_str_t, uri: ngx_str_t) -> Self {
        Object {
            name,
            key,
            host,
            uri,
            headers: &[],
            stamp: Stamp::default(),
            authorization: ngx_str_t { len: 0, data: uri.data.wrapping_add(uri.len) },
            token: ngx_str_t::empty(),
            is_refused: false,
            cache_status: 0,
            version: 0,
            keys_end: None,
            answer: Answer::default(),
        }
    }
}

/// What is known of the answer to one request.
#[derive(Clone, Copy, Default)]
pub struct Answer {
    /// The proxy module's hooks, once they are wrapped.
    pub process_header: Option<Handler>,
    pub reinit_request: Option<Handler>,
    /// Whether the proxy module has read all headers.
    pub headers_are_read: bool,
    /// Whether the answer would be cached, were it no fault.
    pub is_kept_from_cache: bool,
    /// What the client sees in place of S3's answer.
    pub shown: Option<Verdict>,
    /// Whether nginx is to answer with an error of its own in place of what its cache has.
    pub is_given_up: bool,
    /// Where the object redirects the client, if it does.
    pub location: ngx_str_t,
    /// Whether S3 is asked for the whole object, not for the range that is wanted.
    pub whole: Option<Whole>,
    /// The page that the client gets in place of S3's body.
    pub page: Option<&'static [u8]>,
    /// Whether it was sent.
    pub page_is_sent: bool,
    /// Who reads S3's answer where that is a listing.
    pub reader: Option<NonNull<c_void>>,
}

/// Where asking for a whole object is, after a part of it was of no use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// nginx is about to ask.
    Asks,
    /// It asked.
    Asked,
}

/// What the request asks S3 for, if it was handled as such.
///
/// # Safety
/// `r` is a valid request, and nothing else refers to its object while the result is used.
pub unsafe fn object_mut<'a>(r: *mut ngx_http_request_t) -> Option<&'a mut Object> {
    // SAFETY: the slot is NULL or what set_object() stored, from the request's pool.
    unsafe { (*(*r).ctx.add(ctx_index())).cast::<Object>().as_mut() }
}

/// Stores what the request asks S3 for.
///
/// # Safety
/// `r` is a valid request, whose pool has the object.
pub unsafe fn set_object(r: *mut ngx_http_request_t, object: *mut Object) {
    // SAFETY: every module has a slot in the request.
    unsafe { *(*r).ctx.add(ctx_index()) = object.cast() }
}
