//! Signatures: of the request that the proxy module is building, and of URLs for clients.

use core::{mem, ptr, slice};
use std::borrow::Cow;

use ngx::ffi::{ngx_gmtime, ngx_http_request_t, ngx_str_t, ngx_time, ngx_tm_t};

use super::asked::sent_method;
use super::name::name_object;
use super::object::{object_mut, Object};
use super::own::{headers, signed_headers};
use super::refusal::Refusal;
use super::unsigned::refuse;
use crate::location::{serving, Serving, Signing};
use crate::nginx::borrowed;
use crate::nginx::pool::{buffer, concat};
use crate::s3::auth::sigv4::stamp::Stamp;
use crate::s3::auth::sigv4::{Ask, Header, Method};
use crate::s3::own::is_decrypting;

/// The object of the request that the proxy module is building, signed once. One that cannot be signed
/// does not reach S3.
///
/// # Safety
/// `r` is a valid request.
pub unsafe fn signed<'a>(r: *mut ngx_http_request_t) -> Option<&'a Object> {
    // SAFETY: nothing else refers to the object now.
    unsafe {
        let object = object_mut(r)?;
        if object.authorization.is_empty() && !object.is_refused {
            let serving = serving(r)?;
            let signing = serving.signing.as_ref()?;
            if sign(r, object, serving, signing).is_none() {
                refuse(r, object);
                no_keys(signing).log(r);
            }
        }
        (!object.is_refused).then_some(object)
    }
}

/// Signs a request, with the keys of now.
///
/// # Safety
/// `r` is the request of the object, which has the room that `signing` asks for.
unsafe fn sign(
    r: *mut ngx_http_request_t,
    object: &mut Object,
    serving: &Serving,
    signing: &Signing,
) -> Option<()> {
    // SAFETY: the caller's promise.
    unsafe {
        let (version, signer) = signing.keys.signer()?;
        let owner = signing.owner.as_deref();
        let own = signed_headers(serving, object.headers);
        let len = signer.authorization_len(owner, &own);
        if len > signing.authorization_len {
            return None;
        }
        if let (Some(token), true) = (signer.session_token(), version > 0) {
            // Other keys may come before the request is sent.
            object.token = concat(r, [token.as_bytes()]).ok()?;
        }
        let (host, target) = (object.host.as_bytes(), object.uri.as_bytes());
        let method = sent_method(r, serving)?;
        let bucket = bucket_in_host(serving, signing, object);
        let ask = Ask { method, host, bucket, target, owner, headers: &own };
        let stamp = now();
        ptr::write_bytes(object.authorization.data, 0, len);
        let out = slice::from_raw_parts_mut(object.authorization.data, len);
        signer.authorize(&ask, &stamp, out).ok()?;
        object.stamp = stamp;
        object.version = version;
        object.keys_end = signing.keys.end();
        object.authorization.len = len;
    }
    if let Some(counter) = &serving.counter {
        counter.signed();
    }
    Some(())
}

/// A URL that lets whoever has it read the request's object from S3.
///
/// # Errors
/// A [`Refusal`] as for a request that nginx would pass on.
///
/// # Safety
/// `r` is a valid request of a location with this `serving`.
pub unsafe fn presigned_url(
    r: *mut ngx_http_request_t,
    serving: &Serving,
) -> Result<ngx_str_t, Refusal> {
    let signing = serving.signing.as_ref().ok_or(Refusal::NotSigned)?;
    // SAFETY: r is a valid request; the buffer has the length that is written.
    unsafe {
        let method = Method::named((*r).method_name.as_bytes()).ok_or(Refusal::Method)?;
        let object = name_object(r, serving, 0)?;
        let (host, target) = (object.host.as_bytes(), object.uri.as_bytes());
        let own = signed_headers(serving, headers(r, serving)?);
        let decrypting = |(name, value): &&Header| is_decrypting(name) && value.is_some();
        if let Some((name, _)) = own.iter().find(decrypting) {
            return Err(Refusal::HeaderInUrl(borrowed(name.as_bytes())));
        }
        let owner = signing.owner.as_deref();
        let bucket = bucket_in_host(serving, signing, object);
        let ask = Ask { method, host, bucket, target, owner, headers: &own };
        let (_, signer) = signing.keys.signer().ok_or_else(|| no_keys(signing))?;
        if let Some(name) = signer.unsafe_argument(&ask) {
            return Err(Refusal::ArgumentInUrl(borrowed(name)));
        }
        let expires = &*presigned_expires(signing).ok_or_else(|| no_keys(signing))?;
        let scheme = signing.scheme.as_bytes();
        let url = buffer(r, scheme.len() + 3 + signer.presigned_len(&ask, expires))?;
        let (start, rest) = url.split_at_mut(scheme.len() + 3);
        start[..scheme.len()].copy_from_slice(scheme);
        start[scheme.len()..].copy_from_slice(b"://");
        let len = signer.presign(&ask, expires, &now(), rest).map_err(|_| Refusal::Nginx)?;
        Ok(ngx_str_t { len: scheme.len() + 3 + len, data: url.as_mut_ptr() })
    }
}

/// The bucket's name where it stands in the host, for signatures that have it.
#[inline(always)]
fn bucket_in_host<'a>(
    serving: &Serving,
    signing: &Signing,
    object: &'a Object,
) -> Option<&'a [u8]> {
    let name = object.name.as_bytes();
    let is_signed = signing.signs_bucket && serving.addressing.is_virtual(serving.is_aws, name);
    is_signed.then_some(name)
}

/// For how many seconds a presigned URL is valid: not longer than the keys. `None` when these have ended.
fn presigned_expires(signing: &Signing) -> Option<Cow<'_, str>> {
    let wished = signing.presigned_expires;
    match signing.keys.end().map(|end| end.saturating_sub(ngx_time())) {
        Some(left) if left <= 0 => None,
        Some(left) if left < i64::from(wished) => Some(left.to_string().into()),
        _ => Some(signing.presigned_text.as_str().into()),
    }
}

fn no_keys(signing: &Signing) -> Refusal {
    let name = signing.keys.source().map(|source| &source.name);
    // The source lives as long as the configuration.
    Refusal::Keys(name.map(|name| borrowed(name.as_bytes())))
}

/// nginx's time.
fn now() -> Stamp {
    // SAFETY: nginx fills in the structure.
    let tm = unsafe {
        let mut tm: ngx_tm_t = mem::zeroed();
        ngx_gmtime(ngx_time(), &mut tm);
        tm
    };
    // nginx writes the full year and counts months from 1.
    let fields = [tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec];
    Stamp::new(fields.map(|field| field as u32))
}
