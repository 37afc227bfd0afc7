//! The variables of the operator's own headers, which the proxy module reads when it builds a request.

use ngx::ffi::{
    ngx_conf_t, ngx_http_request_t, ngx_int_t, ngx_variable_value_t, NGX_HTTP_VAR_NOHASH,
};

use super::object::object_mut;
use super::own::{headers_digest, values_of};
use super::variables::PREFIX;
use crate::location::serving;
use crate::nginx::pool::concat;
use crate::nginx::variable::{add, exists, set, Get};
use crate::nginx::Failed;

/// The operator's own headers, in short: for cache keys.
pub const HEADERS: &str = "s3_private_bucket_headers";

/// The variable of one of the operator's own headers, which only the proxy module's configuration may read.
pub fn header_name(nth: usize) -> String {
    format!("{PREFIX}header_{nth}")
}

/// Whether this is the name of a variable that [`add_headers`] may add.
pub fn is_of_headers(name: &[u8]) -> bool {
    let rest = name.strip_prefix(PREFIX.as_bytes()).unwrap_or_default();
    let nth = rest.strip_prefix(b"header_").unwrap_or_default();
    name == HEADERS.as_bytes() || !nth.is_empty() && nth.iter().all(u8::is_ascii_digit)
}

/// Adds the variables of so many headers of the operator's own, unless they are there.
///
/// # Errors
/// When memory ran out.
///
/// # Safety
/// `cf` is nginx's context before its variables are resolved, and after [`super::names::check_names`]: nobody else
/// is to name them.
pub unsafe fn add_headers(cf: *mut ngx_conf_t, count: usize) -> Result<(), Failed> {
    let names = (0..count).map(|nth| (header_name(nth), header as Get, nth));
    let digest = (count > 0).then(|| (HEADERS.to_owned(), headers as Get, 0));
    for (name, get, nth) in names.chain(digest) {
        // SAFETY: the caller's promise.
        unsafe {
            if !exists(cf, name.as_bytes()) {
                add(cf, &name, NGX_HTTP_VAR_NOHASH, get, nth)?;
            }
        }
    }
    Ok(())
}

/// The value of the operator's own header of number `nth`.
unsafe extern "C" fn header(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    nth: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value; an object's headers live as long as it.
    unsafe { set(v, object_mut(r).and_then(|object| values_of(object.headers).get(nth)).copied()) }
}

/// All of them, in short.
unsafe extern "C" fn headers(
    r: *mut ngx_http_request_t,
    v: *mut ngx_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a valid request and value; what is copied is in the request's pool.
    unsafe {
        let digest = serving(r).zip(object_mut(r)).map(|(s, object)| headers_digest(s, object));
        set(v, digest.and_then(|digest| concat(r, [&digest]).ok()))
    }
}
