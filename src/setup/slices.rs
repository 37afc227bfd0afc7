//! Locations where nginx's slice module is on.

use core::ffi::c_void;

use ngx::ffi::ngx_conf_t;

use super::written::{proxy_module, upstream_part};
use crate::nginx::foreign::{Foreign, ForeignError};

/// Whether `slice` is on in a location.
///
/// # Safety
/// `cf` is nginx's context, and the configurations of `array` are a location's, which are merged.
pub unsafe fn slices(cf: *mut ngx_conf_t, array: *mut *mut c_void) -> bool {
    // SAFETY: the module's command stores a size.
    unsafe {
        Foreign::find((*cf).cycle, c"ngx_http_slice_filter_module", "slice")
            .and_then(|slice| slice.stored::<usize>(*array.add(slice.ctx_index()), "slice"))
            .is_ok_and(|size| size > 0)
    }
}

/// Has no slice updated in the background, where nginx asks for the whole object, and never for the slice that is old.
///
/// # Errors
/// When the proxy module is not one that is known.
///
/// # Safety
/// As for [`slices`], for each of the arrays; no other configuration inherits from theirs any more.
pub unsafe fn update_at_once(
    cf: *mut ngx_conf_t,
    arrays: impl Iterator<Item = *mut *mut c_void>,
) -> Result<(), ForeignError> {
    for array in arrays {
        // SAFETY: the caller's promise.
        unsafe {
            if slices(cf, array) {
                let proxy = proxy_module(cf)?;
                upstream_part(proxy, *array.add(proxy.ctx_index()))?.cache_background_update = 0;
            }
        }
    }
    Ok(())
}
