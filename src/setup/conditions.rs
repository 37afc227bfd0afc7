//! A second proxy configuration, for requests without a condition.

use core::ffi::c_void;

use ngx::ffi::{ngx_conf_t, ngx_http_max_module, ngx_str_t};

use super::slices::slices;
use super::written::{footprint, upstream_part, Footprints};
use crate::nginx::foreign::{Foreign, ForeignError};
use crate::nginx::pool::copy_array;
use crate::nginx::upstream::stores;

/// Makes the array of configurations for requests without a condition: to evaluate six variables in
/// vain would cost more than all else that the module does. `headers` are all others.
///
/// Returns `None` where nginx's cache, store or slices need those headers.
///
/// # Errors
/// When the proxy module refuses it, or memory ran out.
///
/// # Safety
/// `cf->ctx` is the location's, whose configurations are merged and are those of `array`.
pub unsafe fn without_conditions(
    cf: *mut ngx_conf_t,
    known: &mut Footprints,
    proxy: Foreign,
    array: *mut *mut c_void,
    headers: &[[ngx_str_t; 2]],
) -> Result<Option<*mut *mut c_void>, ForeignError> {
    // SAFETY: the location's configurations are merged.
    unsafe {
        let full = *array.add(proxy.ctx_index());
        let of_full = upstream_part(proxy, full)?;
        if stores(of_full) || slices(cf, array) {
            return Ok(None);
        }

        let conf = proxy.create(cf)?;
        let pass = footprint(cf, known, proxy, "proxy_pass")?;
        // Pointers to scripts, and a flag for another TLS context, which is not needed.
        proxy.copy(full, conf, &pass, |word| word > 1);
        for pair in headers {
            proxy.set(cf, conf, "proxy_set_header", pair)?;
        }
        proxy.merge(cf, full, conf)?;
        upstream_part(proxy, conf)?.ssl = of_full.ssl;

        let copy = copy_array(cf, array, ngx_http_max_module)?;
        *copy.add(proxy.ctx_index()) = conf;
        Ok(Some(copy))
    }
}
