//! What the operator adds to a request: values of query arguments and headers.

use core::{ptr, slice};
use std::borrow::Cow;

use ngx::ffi::{ngx_http_request_t, ngx_palloc, ngx_str_t};

use super::object::Object;
use super::refusal::Refusal;
use crate::location::{Own, Serving};
use crate::nginx::pool::concat;
use crate::nginx::value::Value;
use crate::nginx::{borrowed, bytes, Failed};
use crate::s3::auth::digest;
use crate::s3::auth::sigv4::Header;
use crate::s3::own::header_value;

/// The values of the operator's own query arguments: which of `pass_args` each is, and its value, decoded.
///
/// # Errors
/// When nginx cannot evaluate one.
///
/// # Safety
/// `r` is a valid request of a location with this `serving`, whose captures are set; it outlives the result.
#[inline(always)]
pub unsafe fn arguments<'a>(
    r: *mut ngx_http_request_t,
    serving: &Serving,
) -> Result<Vec<(usize, &'a [u8])>, Failed> {
    if serving.set_args.is_empty() {
        return Ok(Vec::new());
    }
    // SAFETY: the caller's promise; what is evaluated lives in the request's pool.
    let value = |(at, value): &(usize, Value)| Ok((*at, unsafe { bytes(value.evaluate(r)?) }));
    serving.set_args.iter().map(value).collect()
}

/// Works out the values of the operator's own headers, once: what is signed is what is sent.
///
/// # Errors
/// A [`Refusal`] when one has a control byte, with which it would be another header.
///
/// # Safety
/// As for [`arguments`].
#[inline(always)]
pub unsafe fn headers(
    r: *mut ngx_http_request_t,
    serving: &Serving,
) -> Result<*const [ngx_str_t], Refusal> {
    match serving.set_headers.is_empty() {
        true => Ok(&[]),
        // SAFETY: the caller's promise.
        false => unsafe { evaluate(r, serving) },
    }
}

unsafe fn evaluate(
    r: *mut ngx_http_request_t,
    serving: &Serving,
) -> Result<*const [ngx_str_t], Refusal> {
    let count = serving.set_headers.len();
    // SAFETY: the caller's promise; there is room for all values, each of which is written.
    unsafe {
        let values: *mut ngx_str_t = ngx_palloc((*r).pool, count * size_of::<ngx_str_t>()).cast();
        if values.is_null() {
            return Err(Refusal::Nginx);
        }
        for (i, Own { name, value }) in serving.set_headers.iter().enumerate() {
            let value = header_value(bytes(value.evaluate(r)?));
            values.add(i).write(
                match value.ok_or_else(|| Refusal::Header(borrowed(name.as_bytes())))? {
                    Cow::Borrowed(text) => borrowed(text),
                    Cow::Owned(text) => concat(r, [&text])?,
                },
            );
        }
        Ok(ptr::slice_from_raw_parts(values, count))
    }
}

/// The same with their names, as they are signed. One that is empty is not sent.
///
/// # Safety
/// `values` are those of [`headers`] for a request that outlives the result.
pub unsafe fn signed_headers<'a>(
    serving: &'a Serving,
    values: *const [ngx_str_t],
) -> Vec<Header<'a>> {
    // SAFETY: the caller's promise.
    let values = unsafe { values_of(values) }.iter();
    // SAFETY: as above.
    let value = |value: &ngx_str_t| (!value.is_empty()).then(|| unsafe { bytes(*value) });
    let pairs = serving.set_headers.iter().zip(values);
    pairs.map(|(own, text)| (&*own.name, value(text))).collect()
}

/// A digest of those values that differ between requests, for cache keys: they may be secrets.
///
/// # Safety
/// `object` is that of a request with this `serving`.
pub unsafe fn headers_digest(serving: &Serving, object: &Object) -> [u8; 32] {
    // SAFETY: the object lives as long as its values.
    let values = unsafe { values_of(object.headers) }.iter();
    let pairs = serving.set_headers.iter().zip(values);
    let vary = pairs.filter(|(own, _)| own.value.constant().is_none());
    digest(vary.map(|(_, value)| value.as_bytes()))
}

/// Whether an argument or a header went to S3 that is not the same for all requests of the location.
///
/// # Safety
/// As for [`headers_digest`].
pub unsafe fn adds_what_differs(serving: &Serving, object: &Object) -> bool {
    let own = serving.set_args.iter().filter_map(|(_, value)| value.constant());
    let own = own.filter(|value| !value.is_empty()).count();
    let uri = object.uri.as_bytes();
    let sent = uri.iter().filter(|&&b| matches!(b, b'?' | b'&')).count();
    // SAFETY: the object lives as long as its values.
    let values = unsafe { values_of(object.headers) }.iter();
    let mut headers = serving.set_headers.iter().zip(values);
    sent > own || headers.any(|(own, value)| own.value.constant().is_none() && !value.is_empty())
}

/// The values as a slice.
///
/// # Safety
/// They are those of [`headers`], and live as long as `'a`.
pub unsafe fn values_of<'a>(values: *const [ngx_str_t]) -> &'a [ngx_str_t] {
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(values.cast(), values.len()) }
}
