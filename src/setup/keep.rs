//! Whether a location's connections to S3 are kept, and how that is put in place.

use core::ffi::c_void;

use ngx::ffi::{ngx_conf_t, ngx_http_core_loc_conf_t};

use super::error::SetupError;
use super::groups::{self, Keepalive, Obstacle, Way};
use super::settings::LocationConf;
use super::written::{proxy_module, upstream_part, Written};
use crate::location::Host;
use crate::nginx::foreign::{Foreign, ForeignError};

/// Looks whether a location's connections can be kept.
///
/// # Errors
/// What stands in the way, where the location itself asks for it.
///
/// # Safety
/// `own` is the location's configuration of the proxy module, merged.
pub unsafe fn keeps(
    conf: &LocationConf,
    own: *mut c_void,
    proxy: Foreign,
    host: &Host,
    written: &Written,
    has_group: bool,
) -> Result<bool, SetupError> {
    let is_https = conf.settings.destination().endpoint.https;
    let way = Way { host, is_https, has_group, written };
    // SAFETY: the caller's promise.
    let of_own = unsafe { upstream_part(proxy, own) }?;
    match (conf.settings.keepalive.as_deref(), groups::check(&way, of_own)) {
        (Some(Keepalive::Off), _) => Ok(false),
        (_, Err(obstacle)) if conf.known.keeps => Err(SetupError::Keepalive(obstacle)),
        (_, result) => Ok(result.is_ok()),
    }
}

/// Gives a location an upstream group whose connections are kept.
///
/// # Errors
/// When nginx cannot do that, where the location itself asks for it; when nginx lacks what that takes, where
/// any level asks for it, as no location of this nginx can have it.
///
/// # Safety
/// `cf->ctx` is the location's, whose proxy configuration is in place, and [`keeps`] found that they can be.
pub unsafe fn keep_connections(
    cf: *mut ngx_conf_t,
    conf: &LocationConf,
    host: &Host,
    location: &ngx_http_core_loc_conf_t,
) -> Result<(), SetupError> {
    let default = Keepalive::default();
    let (Keepalive::On(directives), Host::Constant(host)) =
        (conf.settings.keepalive.as_deref().unwrap_or(&default), host)
    else {
        return Ok(());
    };
    let setting = conf.settings.destination();
    // SAFETY: the caller's promise; both arrays have a place for each module.
    unsafe {
        let resolver = (location.resolver, location.resolver_timeout);
        let group = match groups::make(cf, &setting.endpoint, host, resolver, directives) {
            Ok(group) => group,
            Err(obstacle) => {
                let lacks = matches!(obstacle, Obstacle::Keepalive(ForeignError::Missing(_)));
                let asks = conf.known.keeps || (lacks && conf.settings.keepalive.is_some());
                return if asks { Err(SetupError::Keepalive(obstacle)) } else { Ok(()) };
            }
        };
        let proxy = proxy_module(cf)?;
        for array in conf.known.loc_conf.into_iter().chain(conf.location.unconditional) {
            upstream_part(proxy, *array.add(proxy.ctx_index()))?.upstream = group;
        }
    }
    Ok(())
}
