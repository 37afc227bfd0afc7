//! What the operator adds to a request.

use ngx::ffi::ngx_http_request_t;

use crate::location::Serving;
use crate::nginx::value::Value;
use crate::nginx::{bytes, Failed};

/// The values of the operator's own query arguments: which of `pass_args` each is, and its value, decoded.
///
/// # Errors
/// When nginx could not evaluate one, or memory ran out.
///
/// # Safety
/// `r` is a valid request of a location with this `serving`, whose captures are set; it outlives the result.
pub unsafe fn arguments<'a>(
    r: *mut ngx_http_request_t,
    serving: &Serving,
) -> Result<Vec<(usize, &'a [u8])>, Failed> {
    // SAFETY: the caller's promise; what is evaluated lives in the request's pool.
    let value = |(at, value): &(usize, Value)| unsafe { Ok((*at, bytes(value.evaluate(r)?))) };
    serving.set_args.iter().map(value).collect()
}
