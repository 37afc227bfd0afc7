//! Groups of servers (`upstream {}`), and what of an upstream's configuration is asked for.

use core::{ptr, slice};

use ngx::ffi::{
    in_port_t, ngx_conf_t, ngx_http_conf_ctx_t, ngx_http_upstream_conf_t,
    ngx_http_upstream_main_conf_t, ngx_http_upstream_module, ngx_http_upstream_server_t,
    ngx_http_upstream_srv_conf_t, ngx_http_upstream_t, AF_UNIX,
};

use super::http_core::elements;
use super::sockaddr;

/// The `upstream {}` group of that name, which nginx would use for it, if there is one.
///
/// # Safety
/// `cf` is nginx's context, after its configuration was read.
pub unsafe fn group(
    cf: *mut ngx_conf_t,
    name: &str,
    port: Option<u16>,
) -> Option<&'static ngx_http_upstream_srv_conf_t> {
    let same = |group: &ngx_http_upstream_srv_conf_t| {
        // An implicit group, of a proxy_pass elsewhere, has no servers{} block of its own.
        !group.srv_conf.is_null()
            && group.host.as_bytes().eq_ignore_ascii_case(name.as_bytes())
            && (group.port == 0 && port.is_none()
                || port.is_some_and(|p| p == group.port as in_port_t))
    };
    // SAFETY: the upstream module has a main configuration in every http{}; groups live as long.
    unsafe {
        let ctx: *const ngx_http_conf_ctx_t = (*cf).ctx.cast();
        let index = (*ptr::addr_of!(ngx_http_upstream_module)).ctx_index;
        let main: *const ngx_http_upstream_main_conf_t = (*(*ctx).main_conf.add(index)).cast();
        let groups: &[*const ngx_http_upstream_srv_conf_t] = elements(&(*main).upstreams);
        groups.iter().map(|&group| &*group).find(|group| same(group))
    }
}

/// Whether all servers of a group are on this machine.
///
/// # Safety
/// The group is of a configuration that was read.
pub unsafe fn is_local(group: &ngx_http_upstream_srv_conf_t) -> bool {
    // SAFETY: the servers of a group and their addresses live as long as the configuration.
    unsafe {
        let Some(servers) = group.servers.as_ref() else { return false };
        let servers: &[ngx_http_upstream_server_t] = elements(servers);
        servers.iter().all(|server| {
            server.naddrs > 0
                && slice::from_raw_parts(server.addrs, server.naddrs)
                    .iter()
                    .all(|address| is_loopback(address.sockaddr))
        })
    }
}

/// Whether an address is one of this machine.
///
/// # Safety
/// It is of the type that its family says.
unsafe fn is_loopback(address: *const ngx::ffi::sockaddr) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        match sockaddr::read(address) {
            Some(address) => address.ip().is_loopback(),
            None => u32::from((*address).sa_family) == AF_UNIX,
        }
    }
}

/// Whether nginx is going to store or cache this answer.
pub fn is_stored(u: &ngx_http_upstream_t) -> bool {
    u.cacheable() != 0 || u.store() != 0
}

/// Has nginx read no more of an answer whose headers are read, and not keep the connection that the rest comes over.
pub fn leave_body(u: &mut ngx_http_upstream_t) {
    u.headers_in.content_length_n = 0;
    u.headers_in.set_chunked(0);
    u.headers_in.set_connection_close(1);
    u.buffer.pos = u.buffer.last;
    // With buffers nginx would read once more, and warn of what it finds.
    u.set_buffering(0);
}

/// Whether nginx stores or caches answers.
pub fn stores(conf: &ngx_http_upstream_conf_t) -> bool {
    conf.store() != 0 || !conf.cache_zone.is_null() || !conf.cache_value.is_null()
}
