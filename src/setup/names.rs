//! Room for long names of headers in the proxy module's table of them.

use core::ffi::c_void;

use ngx::ffi::{ngx_conf_t, ngx_uint_t};

use crate::nginx::foreign::{Foreign, ForeignError};
use crate::nginx::pool;

const SIZE: &str = "proxy_headers_hash_bucket_size";

/// Widens the table of a location's proxy configuration `fresh`, which is to be merged with `own`, for headers of these
/// names: nginx's default has room for 46 bytes, and a header of SSE-C has 47.
///
/// # Errors
/// When the proxy module refuses it, or memory ran out.
///
/// # Safety
/// `cf->ctx` is the location's; `own` is merged, `fresh` is not.
pub unsafe fn make_room<'a>(
    cf: *mut ngx_conf_t,
    proxy: Foreign,
    (own, fresh): (*mut c_void, *mut c_void),
    names: impl Iterator<Item = &'a [u8]>,
) -> Result<(), ForeignError> {
    let needed = names.map(|name| bucket_size(name.len())).max().unwrap_or(0);
    // SAFETY: the command stores a number.
    unsafe {
        if needed > proxy.stored::<ngx_uint_t>(own, SIZE)? {
            proxy.set(cf, fresh, SIZE, &[pool::copy(cf, needed.to_string().as_bytes())?])?;
        }
    }
    Ok(())
}

/// The least bucket of nginx's that a name of so many bytes fits into: an element with the name behind a pointer and a length, and
/// a pointer that ends the bucket (`NGX_HASH_ELT_SIZE`).
fn bucket_size(len: usize) -> usize {
    const POINTER: usize = size_of::<usize>();
    POINTER + (len + 2).next_multiple_of(POINTER) + POINTER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_room_for_its_name() {
        for (len, size) in [(0, 24), (6, 24), (7, 32), (46, 64), (47, 72), (200, 224)] {
            assert_eq!(bucket_size(len), size, "{len}");
        }
    }
}
