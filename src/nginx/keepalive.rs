//! nginx's own keepalive module, put around an upstream group.

use core::ffi::c_void;
use core::{mem, ptr};

use ngx::core::{Status, NGX_CONF_OK};
use ngx::ffi::{
    ngx_conf_t, ngx_cycle, ngx_http_conf_ctx_t, ngx_http_max_module,
    ngx_http_upstream_init_peer_pt, ngx_http_upstream_main_conf_t, ngx_http_upstream_module,
    ngx_http_upstream_srv_conf_t, ngx_str_t,
};

use super::foreign::{Foreign, ForeignError};
use super::Failed;

/// Puts the module around `group`, which has its `srv_conf` and its `peer.init`, with these
/// directives of an `upstream {}`.
///
/// Until nginx 1.29.7 its `keepalive` directive takes the place of `peer.init_upstream`; since then it
/// looks through all groups at the end, so that it is given a list of this group alone.
///
/// # Errors
/// When this nginx lacks the module, or a directive of it is missing or refused.
///
/// # Safety
/// `cf` is nginx's context after it has initialised all groups, with `ctx` of an `http {}`; the
/// arguments and the group live as long as the configuration.
pub unsafe fn wrap(
    cf: *mut ngx_conf_t,
    group: *mut ngx_http_upstream_srv_conf_t,
    directives: &[(&'static str, ngx_str_t)],
) -> Result<(), ForeignError> {
    // SAFETY: the caller's promises; cf->ctx is put back.
    unsafe {
        let name = c"ngx_http_upstream_keepalive_module";
        let module = Foreign::find((*cf).cycle, name, "keepalive")?;
        let mut ctx = *(*cf).ctx.cast::<ngx_http_conf_ctx_t>();
        ctx.srv_conf = (*group).srv_conf;
        let saved = mem::replace(&mut (*cf).ctx, ptr::addr_of_mut!(ctx).cast());
        let result = wrap_with(cf, module, group, directives, &mut ctx);
        (*cf).ctx = saved;
        result
    }
}

unsafe fn wrap_with(
    cf: *mut ngx_conf_t,
    module: Foreign,
    group: *mut ngx_http_upstream_srv_conf_t,
    directives: &[(&'static str, ngx_str_t)],
    ctx: *mut ngx_http_conf_ctx_t,
) -> Result<(), ForeignError> {
    // SAFETY: as in wrap(); the module reads the list while it is called, and what it keeps are
    // pointers to the group.
    unsafe {
        let own = (*group).peer.init;
        (*group).peer.init_upstream = Some(keep_init);
        let conf = *(*group).srv_conf.add(module.ctx_index());
        for &(name, value) in directives {
            module.set(cf, conf, name, &[value])?;
        }
        let init = (*group).peer.init_upstream.ok_or(ForeignError::Nginx(Failed))?;
        if init(cf, group) != Status::NGX_OK.into() {
            return Err(ForeignError::Nginx(Failed));
        }
        if !is_same((*group).peer.init, own) {
            return Ok(());
        }

        let hook = module.hooks().init_main_conf;
        let hook = hook.ok_or(ForeignError::Nginx(Failed))?;
        let mut groups = [group];
        let mut upstreams: ngx_http_upstream_main_conf_t = mem::zeroed();
        upstreams.upstreams.elts = groups.as_mut_ptr().cast();
        upstreams.upstreams.nelts = 1;
        upstreams.upstreams.size = mem::size_of_val(&group);
        upstreams.upstreams.nalloc = 1;
        upstreams.upstreams.pool = (*cf).pool;
        let count = ngx_http_max_module;
        let mut main: Vec<*mut c_void> = (0..count).map(|i| *(*ctx).main_conf.add(i)).collect();
        let at = (*ptr::addr_of!(ngx_http_upstream_module)).ctx_index;
        if let Some(place) = main.get_mut(at) {
            *place = ptr::addr_of_mut!(upstreams).cast();
        }
        (*ctx).main_conf = main.as_mut_ptr();
        match hook(cf, ptr::null_mut()) {
            NGX_CONF_OK if !is_same((*group).peer.init, own) => Ok(()),
            _ => Err(ForeignError::Nginx(Failed)),
        }
    }
}

fn is_same(a: ngx_http_upstream_init_peer_pt, b: ngx_http_upstream_init_peer_pt) -> bool {
    a.map(|f| f as usize) == b.map(|f| f as usize)
}

/// What the module finds as the group's own initialisation: `peer.init` is there already.
unsafe extern "C" fn keep_init(_: *mut ngx_conf_t, _: *mut ngx_http_upstream_srv_conf_t) -> isize {
    Status::NGX_OK.into()
}

/// Whether the worker has less than half of its connections (`worker_connections`) left. nginx closes
/// those of clients that are idle when it runs out, but none that are kept to upstreams: other clients would
/// be refused for their sake.
pub fn are_short() -> bool {
    // SAFETY: a worker has a cycle, which is read in its only thread.
    unsafe { (*ngx_cycle).free_connection_n < (*ngx_cycle).connection_n / 2 }
}
