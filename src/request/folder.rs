//! From a request to a listing: the folder, the page, and what S3 is asked for it.

use core::{mem, ptr};

use ngx::ffi::{ngx_http_request_t, ngx_palloc, ngx_str_t};

use super::name::{bucket, folder, rest};
use super::object::Object;
use super::refusal::Refusal;
use crate::location::{Autoindex, Serving};
use crate::nginx::pool::concat;
use crate::nginx::{bytes, Failed};
use crate::s3::endpoint::is_directory_bucket;
use crate::s3::folder::with_slash;
use crate::s3::listing::question;
use crate::s3::object::Key;

/// Whether a request is for a folder: its key is empty or ends in a slash.
///
/// # Safety
/// `r` is a valid request of a location with this `serving`.
pub unsafe fn is_for_folder(r: *mut ngx_http_request_t, serving: &Serving) -> bool {
    // SAFETY: the caller's promise.
    let rest = unsafe { rest(r, serving) };
    // What is refused is refused as the object that it is not.
    rest.is_ok_and(|rest| rest.is_empty() || rest.ends_with(b"/"))
}

/// Where a request is redirected whose path is the location's without a slash at its end: links of a page there
/// would lead beside the folder. An empty key of other paths is what an operator wrote.
///
/// # Errors
/// When memory ran out.
///
/// # Safety
/// `r` is a valid request of a location with this `serving`, and outlives the result.
pub unsafe fn with_its_slash(
    r: *mut ngx_http_request_t,
    serving: &Serving,
) -> Result<Option<ngx_str_t>, Failed> {
    // SAFETY: the strings are the request's.
    unsafe {
        let uri = bytes((*r).uri);
        if serving.key.is_some() || uri.ends_with(b"/") {
            return Ok(None);
        }
        let parts = with_slash((*r).unparsed_uri.as_bytes(), uri);
        parts.map(|parts| concat(r, parts)).transpose()
    }
}

/// Works out what a request for a folder asks S3 for, as [`super::name::name_object`] does.
///
/// # Errors
/// A [`Refusal`] when the folder or the page is none.
///
/// # Safety
/// `r` is a valid request of a location with this `serving`, and outlives the result.
pub unsafe fn name_folder<'a>(
    r: *mut ngx_http_request_t,
    serving: &Serving,
    autoindex: &Autoindex,
    signature: usize,
) -> Result<&'a mut Object, Refusal> {
    // SAFETY: the caller's promise; the memory has room for what is written, and lives as long as r.
    unsafe {
        let (name, host, in_host) = bucket(r, serving)?;
        if is_directory_bucket(name.as_bytes()) {
            return Err(Refusal::DirectoryBucket(name));
        }
        let prefix = folder(r, serving)?;
        if !prefix.is_empty() {
            Key::new(prefix, serving.is_aws)?;
        }
        let after = question::after((*r).args.as_bytes(), prefix)?;
        let mut target = Vec::new();
        if !in_host {
            target.push(b'/');
            target.extend_from_slice(name.as_bytes());
        }
        target.extend_from_slice(b"/?");
        question::write(prefix, &after, autoindex.page, &mut target);

        let len = target.len();
        let room = mem::size_of::<Object>() + len + signature + prefix.len();
        let object: *mut Object = ngx_palloc((*r).pool, room).cast();
        if object.is_null() {
            return Err(Refusal::Nginx);
        }
        let data: *mut u8 = object.add(1).cast();
        ptr::copy_nonoverlapping(target.as_ptr(), data, len);
        let key = data.add(len + signature);
        ptr::copy_nonoverlapping(prefix.as_ptr(), key, prefix.len());
        let key = ngx_str_t { len: prefix.len(), data: key };
        object.write(Object::new(name, key, host, ngx_str_t { len, data }));
        Ok(&mut *object)
    }
}

/// Behind which name the page begins, of a request that [`name_folder`] saw.
///
/// # Safety
/// `r` is such a request, and `object` its object.
pub unsafe fn after(r: *mut ngx_http_request_t, object: &Object) -> Vec<u8> {
    // SAFETY: the caller's promise.
    unsafe { question::after((*r).args.as_bytes(), bytes(object.key)) }.unwrap_or_default()
}
