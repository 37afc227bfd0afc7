//! Lines in the error log, which all begin alike.

use core::fmt::Display;

use ngx::ffi::{ngx_conf_t, ngx_http_request_t};
use ngx::ngx_log_error;

/// Logs what became of a request, at a level of nginx.
///
/// # Safety
/// `r` is a valid request.
pub unsafe fn of_request(r: *mut ngx_http_request_t, level: u32, what: impl Display) {
    // SAFETY: a request has a connection with a log.
    let log = unsafe { (*(*r).connection).log };
    ngx_log_error!(level, log, "s3_private_bucket: {what}");
}

/// Logs what the configuration says of keys.
///
/// # Safety
/// `cf` is nginx's configuration context.
pub unsafe fn of_configuration(cf: *mut ngx_conf_t, level: u32, name: &str, what: impl Display) {
    // SAFETY: cf has a log.
    let log = unsafe { (*cf).log };
    ngx_log_error!(level, log, "s3_private_bucket: credentials \"{name}\": {what}");
}

/// Logs what is wrong with a location, for which nginx itself adds no place.
///
/// # Safety
/// `cf` is nginx's configuration context.
pub unsafe fn of_location(cf: *mut ngx_conf_t, level: u32, what: impl Display, place: &str) {
    // SAFETY: the caller's promise.
    unsafe { of_directive(cf, level, "s3_private_bucket", what, place) }
}

/// The same, for another directive than the one that gives a location its bucket.
///
/// # Safety
/// `cf` is nginx's configuration context.
pub unsafe fn of_directive(
    cf: *mut ngx_conf_t,
    level: u32,
    name: &str,
    what: impl Display,
    place: &str,
) {
    // SAFETY: cf has a log.
    let log = unsafe { (*cf).log };
    let space = if place.is_empty() { "" } else { " " };
    ngx_log_error!(level, log, "\"{name}\" {what}{space}{place}");
}
