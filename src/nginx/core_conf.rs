//! What nginx's core knows.

use core::ptr;

use ngx::ffi::{geteuid, gid_t, ngx_conf_t, ngx_core_conf_t, ngx_core_module, uid_t};

/// The user and group that workers get, where the master process can choose.
///
/// # Safety
/// `cf` is nginx's context, after the `user` directive.
pub unsafe fn user(cf: *mut ngx_conf_t) -> Option<(uid_t, gid_t)> {
    // SAFETY: the core module has a configuration in every cycle.
    unsafe {
        if geteuid() != 0 {
            return None;
        }
        let index = (*ptr::addr_of!(ngx_core_module)).index;
        let conf = *(*(*cf).cycle).conf_ctx.add(index);
        let conf = conf.cast::<ngx_core_conf_t>().as_ref()?;
        // Unset (-1) without a "user": nginx fills its default in later.
        Some((conf.user, conf.group)).filter(|(uid, _)| *uid != uid_t::MAX)
    }
}
