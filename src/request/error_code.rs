//! S3's error code, for log formats.

use core::ffi::c_void;
use core::mem;

use ngx::ffi::{ngx_http_request_t, ngx_pool_cleanup_add, ngx_str_t};

use crate::nginx::pool::buffer;

/// An error code, and the request that got it: subrequests have the pool of their main request.
struct Remembered {
    request: *mut ngx_http_request_t,
    code: ngx_str_t,
}

/// Keeps S3's error code for log formats. An internal redirect to an error page clears the
/// request's context, so that it is found through the pool.
///
/// # Safety
/// `r` is a valid request.
pub unsafe fn remember(r: *mut ngx_http_request_t, code: &[u8]) {
    // SAFETY: the buffer has the length of the code, the cleanup's data that of what is written.
    unsafe {
        let Ok(copy) = buffer(r, code.len()) else { return };
        copy.copy_from_slice(code);
        let known = match remembered(r) {
            Some(known) => known,
            None => {
                let size = mem::size_of::<Remembered>();
                let Some(cleanup) = ngx_pool_cleanup_add((*r).pool, size).as_mut() else { return };
                cleanup.handler = Some(forget);
                cleanup.data.cast()
            }
        };
        let code = ngx_str_t { len: copy.len(), data: copy.as_mut_ptr() };
        known.write(Remembered { request: r, code });
    }
}

unsafe fn remembered(r: *mut ngx_http_request_t) -> Option<*mut Remembered> {
    // SAFETY: the pool's cleanups are a list that ends with NULL; ours have what remember() wrote.
    unsafe {
        let mut cleanup = (*(*r).pool).cleanup;
        while let Some(this) = cleanup.as_ref() {
            if this.handler.map(|f| f as usize) == Some(forget as *const () as usize) {
                let known: *mut Remembered = this.data.cast();
                if (*known).request == r {
                    return Some(known);
                }
            }
            cleanup = this.next;
        }
    }
    None
}

/// S3's last error code in this request.
///
/// # Safety
/// `r` is a valid request.
pub unsafe fn last_error(r: *mut ngx_http_request_t) -> Option<ngx_str_t> {
    // SAFETY: what is remembered was written.
    unsafe { remembered(r).map(|known| (*known).code) }
}

/// Marks the cleanup that is ours. The code's memory is the pool's.
unsafe extern "C" fn forget(_: *mut c_void) {}
