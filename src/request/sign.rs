//! Signatures: of the request that the proxy module is building, and of URLs for clients.

use core::{mem, ptr, slice};

use ngx::ffi::{ngx_gmtime, ngx_http_request_t, ngx_str_t, ngx_time, ngx_tm_t};

use super::asked::method;
use super::name::name_object;
use super::object::{object_mut, Object};
use super::refusal::Refusal;
use crate::location::{serving, Serving};
use crate::nginx::pool::buffer;
use crate::s3::auth::sigv4::{Ask, Method, Stamp};

/// The object of the request that the proxy module is building, signed once.
///
/// # Safety
/// `r` is a valid request.
pub unsafe fn signed<'a>(r: *mut ngx_http_request_t) -> Option<&'a Object> {
    // SAFETY: handle() made the object with the room that the location's signer asked for; nothing
    // else refers to it now.
    unsafe {
        let object = object_mut(r)?;
        let signing = serving(r)?.signing.as_ref()?;
        if object.authorization.is_empty() {
            let owner = signing.owner.as_deref();
            let len = signing.authorization_len;
            let (host, target) = (object.host.as_bytes(), object.uri.as_bytes());
            let ask = Ask { method: method(r)?, host, target, owner };
            let stamp = now();
            ptr::write_bytes(object.authorization.data, 0, len);
            let out = slice::from_raw_parts_mut(object.authorization.data, len);
            signing.signer.authorize(&ask, &stamp, out).ok()?;
            object.stamp = stamp;
            object.authorization.len = len;
        }
        Some(object)
    }
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
        let ask = Ask { method, host, target, owner: signing.owner.as_deref() };
        let (signer, expires) = (&signing.signer, &signing.presigned_expires);
        let scheme = signing.scheme.as_bytes();
        let url = buffer(r, scheme.len() + 3 + signer.presigned_len(&ask, expires))?;
        let (start, rest) = url.split_at_mut(scheme.len() + 3);
        start[..scheme.len()].copy_from_slice(scheme);
        start[scheme.len()..].copy_from_slice(b"://");
        signer.presign(&ask, expires, &now(), rest).map_err(|_| Refusal::Nginx)?;
        Ok(ngx_str_t { len: url.len(), data: url.as_mut_ptr() })
    }
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
