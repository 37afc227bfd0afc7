//! A location's folders as pages: its second set of configurations, for requests that list.
//!
//! What an operator would write by hand: another location of the same bucket, with the same access rules, whose
//! requests ask S3 for a listing and store none. A request gets there by itself, or, behind a missing index
//! page, as by `error_page 404 = @name`.

use core::ffi::c_void;
use core::ptr;

use ngx::ffi::{ngx_conf_t, ngx_http_core_loc_conf_t, ngx_http_core_module, ngx_http_max_module};

use super::error::SetupError;
use super::settings::{Listings, LocationConf, Named, Pending, Work};
use super::written::{footprint, proxy_module, upstream_part};
use crate::handler::handle;
use crate::location::{ctx_index, Folder, Location};
use crate::nginx::foreign::Foreign;
use crate::nginx::pool::{copy, copy_array, keep};

/// What every request for a listing is sent with, whatever the location says. A listing of S3 is small, and not
/// stored unless that is asked for.
const SETTINGS: [(&str, &str); 6] = [
    // With it nginx would answer ranges of a page.
    ("proxy_hide_header", "Accept-Ranges"),
    ("proxy_method", "GET"),
    ("proxy_store", "off"),
    ("proxy_buffering", "on"),
    ("proxy_force_ranges", "off"),
    ("proxy_max_temp_file_size", "0"),
];

/// Gives a location the configurations for its listings.
///
/// # Errors
/// When nginx refuses them.
///
/// # Safety
/// `cf->ctx` is that of the pending location, whose own configurations are in place.
pub unsafe fn install(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    pending: &Pending,
    asked: &Listings,
) -> Result<Folder, SetupError> {
    let array = pending.ctx.loc_conf;
    // SAFETY: the caller's promise; what is copied lives as long as the configuration.
    unsafe {
        let folder = copy_array(cf, array, ngx_http_max_module)?;
        let proxy = proxy_module(cf)?;
        *folder.add(proxy.ctx_index()) = proxy_conf(cf, work, proxy, array, asked)?;

        // What was rewritten once is not rewritten again.
        for (module, name) in
            [(c"ngx_http_rewrite_module", "rewrite"), (c"ngx_http_try_files_module", "try_files")]
        {
            if let Ok(module) = Foreign::find((*cf).cycle, module, name) {
                *folder.add(module.ctx_index()) = module.create(cf)?;
            }
        }
        if let Ok(slice) = Foreign::find((*cf).cycle, c"ngx_http_slice_filter_module", "slice") {
            let conf = slice.create(cf)?;
            slice.set(cf, conf, "slice", &[ngx::ngx_string!("0")])?;
            *folder.add(slice.ctx_index()) = conf;
        }

        let core = ngx_http_core_module.ctx_index;
        let own: *mut ngx_http_core_loc_conf_t = (*array.add(core)).cast();
        let location = copy_array(cf, own, 1)?;
        let name = format!("@s3_private_bucket {}", work.folders);
        work.folders += 1;
        (*location).name = copy(cf, name.as_bytes())?;
        (*location).loc_conf = folder;
        (*location).handler = Some(handle);
        *folder.add(core) = location.cast();

        let conf = LocationConf {
            location: Location { serving: Some(asked.serving.clone()), ..Location::default() },
            ..LocationConf::default()
        };
        *folder.add(ctx_index()) = keep(cf, conf)?.cast();

        let (name, is_behind_index) = ((*location).name, asked.is_behind_index);
        if is_behind_index {
            let ctx = &pending.ctx;
            let server = (*ctx.srv_conf.add(ngx_http_core_module.ctx_index)).cast();
            work.named.entry(server).or_default().push(location);
        }
        Ok(Folder { loc_conf: folder, name, is_behind_index })
    }
}

/// The proxy module's configuration for listings.
unsafe fn proxy_conf(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    proxy: Foreign,
    array: *mut *mut c_void,
    asked: &Listings,
) -> Result<*mut c_void, SetupError> {
    // SAFETY: as for install().
    unsafe {
        let full = *array.add(proxy.ctx_index());
        let conf = proxy.create(cf)?;
        let pass = footprint(cf, &mut work.footprints, proxy, "proxy_pass")?;
        proxy.copy(full, conf, &pass, |word| word > 1);
        for (name, value) in SETTINGS {
            proxy.set(cf, conf, name, &[copy(cf, value.as_bytes())?])?;
        }
        match asked.valid {
            0 => proxy.set(cf, conf, "proxy_cache", &[ngx::ngx_string!("off")])?,
            seconds => {
                let time = copy(cf, format!("{seconds}s").as_bytes())?;
                proxy.set(cf, conf, "proxy_cache_valid", &[ngx::ngx_string!("200"), time])?;
                // Another key, which was written for objects, is that of the index page too, and of each page.
                let key = copy(cf, asked.cache_key.as_bytes())?;
                proxy.set(cf, conf, "proxy_cache_key", &[key])?;
            }
        }
        for pair in &asked.headers {
            proxy.set(cf, conf, "proxy_set_header", pair)?;
        }
        proxy.merge(cf, full, conf)?;
        let (of_conf, of_full) = (upstream_part(proxy, conf)?, upstream_part(proxy, full)?);
        of_conf.ssl = of_full.ssl;
        of_conf.upstream = of_full.upstream;
        Ok(conf)
    }
}

/// Adds the named locations to those of their servers: at once, as each server's list is copied for it.
///
/// # Errors
/// When memory ran out.
///
/// # Safety
/// `cf` is nginx's context, and the servers are of its configuration.
pub unsafe fn add_named(cf: *mut ngx_conf_t, named: Named) -> Result<(), SetupError> {
    for (server, locations) in named {
        // SAFETY: nginx has made the server's list of named locations, which ends with NULL, if it has any.
        unsafe {
            let mut all = Vec::new();
            let mut at = (*server).named_locations;
            while !at.is_null() && !(*at).is_null() {
                all.push(*at);
                at = at.add(1);
            }
            all.extend(locations);
            all.push(ptr::null_mut());
            (*server).named_locations = copy_array(cf, all.as_ptr(), all.len())?;
        }
    }
    Ok(())
}
