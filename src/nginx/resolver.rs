//! nginx's resolver, with the name servers of the system.

use std::fs;

use ngx::ffi::{ngx_conf_t, ngx_resolver_create, ngx_resolver_t};

use super::resolv_conf::name_servers;
use super::{pool, Failed};

/// Makes a resolver with the name servers of /etc/resolv.conf. `None` when it names none.
///
/// # Errors
/// When nginx could not make it.
///
/// # Safety
/// `cf` is nginx's configuration context.
pub unsafe fn of_the_system(cf: *mut ngx_conf_t) -> Result<Option<*mut ngx_resolver_t>, Failed> {
    let servers = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    // SAFETY: the names live in the configuration's pool.
    unsafe {
        let mut names = Vec::new();
        for server in name_servers(&servers) {
            names.push(pool::copy(cf, server.as_bytes())?);
        }
        if names.is_empty() {
            return Ok(None);
        }
        let resolver = ngx_resolver_create(cf, names.as_mut_ptr(), names.len());
        if resolver.is_null() {
            return Err(Failed);
        }
        Ok(Some(resolver))
    }
}
