//! The upstream group of a location, through which its connections to S3 are kept.
//!
//! It is in no list of nginx's, so that no other `proxy_pass` finds it by a name, and each location has
//! its own: nginx tells kept connections apart by address alone, and who shared them would share
//! what was verified for another.

use core::ffi::c_void;
use core::{mem, ptr};
use std::net::IpAddr;

use ngx::ffi::{
    ngx_conf_t, ngx_http_conf_ctx_t, ngx_http_max_module, ngx_http_module_t,
    ngx_http_upstream_conf_t, ngx_http_upstream_module, ngx_http_upstream_srv_conf_t, ngx_msec_t,
    ngx_pcalloc, ngx_pool_cleanup_add, ngx_resolver_t, ngx_str_t, ngx_uint_t, NGX_HTTP_MODULE,
    NGX_HTTP_UPSTREAM_FT_ERROR,
};
use ngx::ngx_string;
use thiserror::Error;

use super::written::Written;
use crate::connections::group::{drop_in_pool, Group, Source};
use crate::connections::peer;
use crate::location::Host;
use crate::nginx::foreign::ForeignError;
use crate::nginx::keepalive::wrap;
use crate::nginx::{http_core, pool, Failed};
use crate::s3::endpoint::Endpoint;

/// `s3_private_bucket_keepalive`
pub enum Keepalive {
    /// `off`
    Off,
    /// What an `upstream {}` would have: directives of nginx's keepalive module with their argument.
    On(Vec<(&'static str, ngx_str_t)>),
}

impl Default for Keepalive {
    fn default() -> Self {
        // Too few for the clients of a moment, and connections come and go with each request.
        Keepalive::On(vec![("keepalive", ngx_string!("64"))])
    }
}

/// Why a location's connections are not kept.
#[derive(Debug, Error)]
pub enum Obstacle {
    /// The bucket's name is a variable, and part of the host.
    #[error("the host name differs between requests; use \"s3_private_bucket_addressing path\"")]
    Host,
    /// A group of the user's.
    #[error("connections go through an \"upstream\" of your own; use its \"keepalive\"")]
    Group,
    /// A `proxy_pass` of the user's.
    #[error("the location has a \"proxy_pass\" of its own; remove that")]
    ProxyPass,
    /// A setting of connections that differs between requests.
    #[error(
        "\"{0}\" has a variable, and connections must not be shared between its values; remove it"
    )]
    Variable(&'static str),
    /// A request over a connection that S3 has just closed could not be tried again.
    #[error(
        "\"proxy_next_upstream\" lacks \"error\", which a connection that S3 closes needs; add it"
    )]
    NextUpstream,
    /// nginx's keepalive module.
    #[error("it {0}")]
    Keepalive(#[from] ForeignError),
    /// Memory ran out.
    #[error(transparent)]
    Nginx(#[from] Failed),
}

/// How a location's requests go to S3.
pub struct Way<'a> {
    pub host: &'a Host,
    pub is_https: bool,
    /// Whether nginx finds a group of the user's.
    pub has_group: bool,
    /// What the user wrote.
    pub written: &'a Written,
}

/// Looks for what speaks against kept connections; `conf` is what the user wrote, merged.
///
/// # Errors
/// The first [`Obstacle`].
pub fn check(way: &Way, conf: &ngx_http_upstream_conf_t) -> Result<(), Obstacle> {
    if way.has_group {
        return Err(Obstacle::Group);
    }
    if way.written.has("proxy_pass") {
        return Err(Obstacle::ProxyPass);
    }
    if matches!(way.host, Host::PerRequest(_)) {
        return Err(Obstacle::Host);
    }
    // SAFETY: addresses to bind live as long as the configuration.
    if unsafe { conf.local.as_ref() }.is_some_and(|local| !local.value.is_null()) {
        return Err(Obstacle::Variable("proxy_bind"));
    }
    for (value, applies, name) in [
        (conf.ssl_name, way.is_https && way.written.has("proxy_ssl_name"), "proxy_ssl_name"),
        (conf.ssl_certificate, way.is_https, "proxy_ssl_certificate"),
        (conf.ssl_certificate_key, way.is_https, "proxy_ssl_certificate_key"),
    ] {
        // SAFETY: so do compiled values.
        let varies = unsafe { value.as_ref() }.is_some_and(|value| !value.lengths.is_null());
        if applies && varies {
            return Err(Obstacle::Variable(name));
        }
    }
    match conf.next_upstream & NGX_HTTP_UPSTREAM_FT_ERROR as ngx_uint_t {
        0 => Err(Obstacle::NextUpstream),
        _ => Ok(()),
    }
}

/// Makes a location's group. `host` is that of requests, with a port; `resolver` comes with its timeout.
///
/// # Errors
/// [`Obstacle::Keepalive`] or [`Obstacle::Nginx`].
///
/// # Safety
/// `cf` is nginx's context after it has initialised all groups, with the location's configurations in
/// `ctx`; the resolver and the directives live as long as the configuration.
pub unsafe fn make(
    cf: *mut ngx_conf_t,
    endpoint: &Endpoint,
    host: &str,
    resolver: (*mut ngx_resolver_t, ngx_msec_t),
    directives: &[(&'static str, ngx_str_t)],
) -> Result<*mut ngx_http_upstream_srv_conf_t, Obstacle> {
    let host = endpoint.without_port(host);
    let port = endpoint.port.unwrap_or(if endpoint.https { 443 } else { 80 });
    // SAFETY: the caller's promises; what is allocated is checked, zeroed and as long as the
    // configuration.
    unsafe {
        let group: *mut ngx_http_upstream_srv_conf_t = pool::zeroed(cf)?;
        (*group).host = pool::copy(cf, host.as_bytes())?;
        (*group).port = port;
        (*group).srv_conf = configurations(cf, group)?;
        (*group).peer.init = Some(peer::init_inner);
        wrap(cf, group, directives)?;

        let source = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => Source::Fixed((address, port).into()),
            Err(_) => {
                let (resolver, timeout) = resolver;
                // A copy of its own, which nginx's resolver may write to.
                Source::Dns { resolver, timeout, name: pool::copy(cf, host.as_bytes())? }
            }
        };
        let cleanup = ngx_pool_cleanup_add((*cf).pool, mem::size_of::<Group>());
        let cleanup = cleanup.as_mut().ok_or(Failed)?;
        cleanup.data.cast::<Group>().write(Group::new(source, port, (*group).peer.init));
        cleanup.handler = Some(drop_in_pool);
        (*group).peer.data = cleanup.data;
        (*group).peer.init = Some(peer::init);
        Ok(group)
    }
}

/// Makes the configurations of a group as `upstream {}` does: each module makes its own.
unsafe fn configurations(
    cf: *mut ngx_conf_t,
    group: *mut ngx_http_upstream_srv_conf_t,
) -> Result<*mut *mut c_void, Failed> {
    // SAFETY: the caller's promises; nginx's arrays have a place for each module.
    unsafe {
        let size = ngx_http_max_module * mem::size_of::<*mut c_void>();
        let array: *mut *mut c_void = ngx_pcalloc((*cf).pool, size).cast();
        if array.is_null() {
            return Err(Failed);
        }
        *array.add((*ptr::addr_of!(ngx_http_upstream_module)).ctx_index) = group.cast();
        let mut ctx = *(*cf).ctx.cast::<ngx_http_conf_ctx_t>();
        ctx.srv_conf = array;
        let saved = mem::replace(&mut (*cf).ctx, ptr::addr_of_mut!(ctx).cast());
        let mut complete = true;
        for module in http_core::modules((*cf).cycle) {
            let hooks: *const ngx_http_module_t = module.ctx.cast();
            if module.type_ != NGX_HTTP_MODULE as ngx_uint_t {
                continue;
            }
            if let Some(create) = (*hooks).create_srv_conf {
                let conf = create(cf);
                complete &= !conf.is_null();
                *array.add(module.ctx_index) = conf;
            }
        }
        (*cf).ctx = saved;
        complete.then_some(array).ok_or(Failed)
    }
}
