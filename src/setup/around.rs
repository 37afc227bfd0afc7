//! What the user wrote in a location or around it that its settings depend on.

use core::ffi::c_void;

use ngx::ffi::{ngx_conf_t, ngx_uint_t};

use super::error::SetupError;
use super::proxy::Around;
use super::slices::slices;
use super::written::{footprint, upstream_part, Footprints};
use crate::location::Shared;
use crate::nginx::foreign::Foreign;
use crate::nginx::upstream::stores;
use crate::nginx::variable;

/// nginx's default of `proxy_max_temp_file_size`.
const DEFAULT_TEMP_FILE_SIZE: usize = 1 << 30;

/// Looks at it.
///
/// # Errors
/// When a command of the proxy module could not be tried.
///
/// # Safety
/// `cf->ctx` is the location's, whose merged configurations are those of the array.
pub unsafe fn around(
    cf: *mut ngx_conf_t,
    known: &mut Footprints,
    proxy: Foreign,
    array: *mut *mut c_void,
) -> Result<Around, SetupError> {
    // SAFETY: the location's configurations, those of the array, are merged.
    unsafe {
        let own = *array.add(proxy.ctx_index());
        let of_own = upstream_part(proxy, own)?;
        Ok(Around {
            slices: slices(cf, array),
            keeps_head: of_own.cache_convert_head == 0,
            is_not_stored: of_own.max_temp_file_size == DEFAULT_TEMP_FILE_SIZE && !stores(of_own),
            inherits_method: is_set(cf, known, proxy, own, "proxy_method")?,
            inherits_body: is_set(cf, known, proxy, own, "proxy_set_body")?,
        })
    }
}

/// Whether a directive is set in a merged configuration, on whatever level.
unsafe fn is_set(
    cf: *mut ngx_conf_t,
    known: &mut Footprints,
    proxy: Foreign,
    conf: *mut c_void,
    name: &'static str,
) -> Result<bool, SetupError> {
    // SAFETY: conf is one of the proxy module; unset is -1, or 0 once it is merged.
    unsafe {
        let footprint = footprint(cf, known, proxy, name)?;
        Ok(footprint.words.iter().any(|&i| !matches!(proxy.words(conf)[i], 0 | usize::MAX)))
    }
}

/// Has nginx keep a place in every request for the variables of its own that requests of a location
/// read.
///
/// # Errors
/// When memory ran out.
///
/// # Safety
/// As for [`around`].
pub unsafe fn index_variables(
    cf: *mut ngx_conf_t,
    shared: &mut Shared,
    proxy: Foreign,
    array: *mut *mut c_void,
    slices: bool,
) -> Result<(), SetupError> {
    let index = |place: &mut Option<ngx_uint_t>, name| -> Result<(), SetupError> {
        if place.is_none() {
            // SAFETY: cf is nginx's context.
            *place = Some(unsafe { variable::index(cf, name) }?);
        }
        Ok(())
    };
    if slices {
        index(&mut shared.slice_range, "slice_range")?;
    }
    // SAFETY: the array has the location's proxy configuration.
    let of_proxy = unsafe { upstream_part(proxy, *array.add(proxy.ctx_index())) }?;
    if of_proxy.cache_revalidate != 0 {
        index(&mut shared.cache_last_modified, "upstream_cache_last_modified")?;
        index(&mut shared.cache_etag, "upstream_cache_etag")?;
    }
    Ok(())
}
