//! From a request to an object: the bucket, the key, the host and the request target.

use core::{mem, slice};

use ngx::ffi::{ngx_http_request_t, ngx_palloc, ngx_str_t};

use super::object::Object;
use super::own::arguments;
use super::refusal::Refusal;
use crate::location::{Host, Serving};
use crate::nginx::pool::concat;
use crate::nginx::value::set_captures;
use crate::nginx::{borrowed, bytes, constant};
use crate::s3::aws::elsewhere;
use crate::s3::endpoint::is_bucket_name;
use crate::s3::object::{has_empty_segment, key_in_uri, without_slash, Key, KeyError, Target};

/// Works out what a request asks S3 for. The object, its request target and `signature` bytes for
/// [`Object::authorization`] are one piece of memory in the request's pool.
///
/// # Errors
/// A [`Refusal`] when the key or the bucket is not one, or an argument has a control byte.
///
/// # Safety
/// `r` is a valid request of a location with this `serving`, and outlives the result.
pub unsafe fn name_object<'a>(
    r: *mut ngx_http_request_t,
    serving: &Serving,
    signature: usize,
) -> Result<&'a mut Object, Refusal> {
    // SAFETY: nginx's strings are valid for the request; each buffer has the length written to.
    unsafe {
        let (name, host, in_host) = bucket(r, serving)?;
        let key = key(r, serving)?;
        let own = arguments(r, serving)?;
        let target = Target {
            bucket_in_path: (!in_host).then(|| name.as_bytes()),
            key,
            args: (*r).args.as_bytes(),
            pass_args: &serving.pass_args,
            own: &own,
        };
        if let Some(name) = target.odd_argument() {
            return Err(Refusal::Argument(borrowed(name)));
        }
        write(r, name, host, &target, signature)
    }
}

/// The bucket's name, the `Host` header, and whether the name is in that.
///
/// # Errors
/// [`Refusal::Bucket`] for a name that is none, and others for one that is not at the endpoint.
///
/// # Safety
/// `r` is a valid request of a location with this `serving`, and outlives the result.
#[inline(always)]
pub unsafe fn bucket(
    r: *mut ngx_http_request_t,
    serving: &Serving,
) -> Result<(ngx_str_t, ngx_str_t, bool), Refusal> {
    // SAFETY: the caller's promise.
    unsafe {
        set_captures(r, serving.regex, &serving.captures);
        let name = match serving.bucket.name.constant() {
            Some(name) => constant(name),
            None => {
                let name = serving.bucket.name.evaluate(r)?;
                if !is_bucket_name(name.as_bytes()) {
                    return Err(Refusal::Bucket(name));
                }
                if let Some(features) = serving.features {
                    if elsewhere(name.as_bytes()).is_some() {
                        return Err(Refusal::Elsewhere(name));
                    }
                    if features.accelerate && name.as_bytes().contains(&b'.') {
                        return Err(Refusal::Dot(name));
                    }
                }
                name
            }
        };
        let in_host = serving.addressing.is_virtual(serving.is_aws, name.as_bytes());
        let host = match &serving.host {
            Host::PerRequest(host) if in_host => {
                concat(r, [name.as_bytes(), b".", host.as_bytes()])?
            }
            Host::PerRequest(host) | Host::Constant(host) => borrowed(host.as_bytes()),
        };
        Ok((name, host, in_host))
    }
}

/// Puts an object and its request target into the request's pool.
unsafe fn write<'a>(
    r: *mut ngx_http_request_t,
    name: ngx_str_t,
    host: ngx_str_t,
    target: &Target,
    signature: usize,
) -> Result<&'a mut Object, Refusal> {
    let len = target.len();
    // SAFETY: the memory has room for the object and the bytes behind it; it lives as long as r.
    unsafe {
        let object: *mut Object =
            ngx_palloc((*r).pool, mem::size_of::<Object>() + len + signature).cast();
        if object.is_null() {
            return Err(Refusal::Nginx);
        }
        let data: *mut u8 = object.add(1).cast();
        // What is not written is not read.
        let len = target.write(slice::from_raw_parts_mut(data.cast(), len));
        let key = borrowed(target.key.as_bytes());
        object.write(Object::new(name, key, host, ngx_str_t { len, data }));
        Ok(&mut *object)
    }
}

/// The location's prefix and what of the request stands behind it, which together are a folder if that is.
///
/// # Errors
/// A [`Refusal`] for a prefix that is none, or what no key can have.
///
/// # Safety
/// `r` is a valid request of a location with this `serving`, whose captures are set; it outlives the result.
#[inline(always)]
unsafe fn parts(r: *mut ngx_http_request_t, serving: &Serving) -> Result<(&[u8], &[u8]), Refusal> {
    // SAFETY: r is a valid request; what is evaluated lives in its pool.
    unsafe {
        let mut prefix = ngx_str_t::empty();
        if let Some(value) = &serving.bucket.prefix {
            prefix = value.evaluate(r)?;
            if value.constant().is_none() && has_empty_segment(prefix.as_bytes()) {
                return Err(Refusal::Prefix(prefix));
            }
        }
        let rest = match &serving.key {
            Some(key) => without_slash(bytes(key.evaluate(r)?)),
            None => key_in_uri(bytes((*r).uri), serving.prefix)?,
        };
        Ok((bytes(prefix), rest))
    }
}

/// A request's folder, prefix included.
///
/// # Errors
/// As for the key of an object.
///
/// # Safety
/// As for [`parts`].
pub unsafe fn folder(r: *mut ngx_http_request_t, serving: &Serving) -> Result<&[u8], Refusal> {
    // SAFETY: the caller's promise.
    unsafe {
        let (prefix, rest) = parts(r, serving)?;
        Ok(bytes(concat(r, [prefix, rest])?))
    }
}

/// What of a request stands behind the location's prefix.
///
/// # Errors
/// As for the key of an object.
///
/// # Safety
/// `r` is a valid request of a location with this `serving`, and outlives the result.
pub unsafe fn rest(r: *mut ngx_http_request_t, serving: &Serving) -> Result<&[u8], Refusal> {
    // SAFETY: the caller's promise.
    unsafe {
        set_captures(r, serving.regex, &serving.captures);
        parts(r, serving).map(|(_, rest)| rest)
    }
}

/// The index page that stands behind a folder.
#[inline(always)]
fn index<'a>(serving: &'a Serving, rest: &[u8]) -> &'a [u8] {
    match &serving.index {
        Some(index) if rest.is_empty() || rest.ends_with(b"/") => index.as_bytes(),
        _ => b"",
    }
}

/// What the keys of a request's location begin with, as its object tells: `None` where its path is not the
/// location's with the rest of the key behind it.
///
/// # Safety
/// `r` is a valid request of a location with this `serving`, and `object` its object.
pub unsafe fn prefix<'a>(
    r: *mut ngx_http_request_t,
    serving: &Serving,
    object: &Object,
) -> Option<&'a [u8]> {
    // SAFETY: the strings are the request's.
    let (uri, key) = unsafe { (bytes((*r).uri), bytes(object.key)) };
    if serving.key.is_some() || !uri.starts_with(serving.prefix) {
        return None;
    }
    let rest = key_in_uri(uri, serving.prefix).ok()?;
    key.strip_suffix(index(serving, rest))?.strip_suffix(rest)
}

/// The key of a request, prefix and index included.
unsafe fn key<'a>(r: *mut ngx_http_request_t, serving: &'a Serving) -> Result<Key<'a>, Refusal> {
    // SAFETY: r is a valid request; what is evaluated lives in its pool.
    unsafe {
        let (prefix, rest) = parts(r, serving)?;
        let index = index(serving, rest);
        if rest.is_empty() && index.is_empty() {
            return Err(KeyError::Empty.into());
        }

        let key = match prefix.is_empty() && index.is_empty() {
            true => rest,
            false => bytes(concat(r, [prefix, rest, index])?),
        };
        Ok(Key::new(key, serving.is_aws)?)
    }
}
