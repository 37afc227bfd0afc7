//! Questions to DNS that no request waits for.

use core::ffi::c_void;
use core::{ptr, slice};
use std::net::SocketAddr;

use ngx::ffi::{
    ngx_msec_t, ngx_resolve_name, ngx_resolve_name_done, ngx_resolve_start, ngx_resolver_ctx_t,
    ngx_resolver_t, ngx_str_t, ngx_time, NGX_OK, NGX_RESOLVE_NXDOMAIN,
};

use super::sockaddr;

/// What DNS answers.
pub enum Answer {
    /// Addresses with port 0, and for how many seconds they are valid.
    Addresses(Vec<SocketAddr>, usize),
    /// There is no such name.
    None,
    /// No answer that says anything, and nginx's number for it.
    Failure(isize),
}

/// Somebody who asks.
pub trait Asker {
    /// Takes the answer, in nginx's event loop or within [`ask`].
    fn take(&self, answer: Answer);
}

/// Asks the name servers for a name's addresses. Returns whether an answer is going to come, or came
/// already: the resolver may know it. A worker that shuts down does not wait for it.
///
/// # Safety
/// nginx writes to the name (it makes it lower-case), which outlives the answer, as `asker` does. They
/// and the resolver live as long as the configuration, whose end is the end of the question too.
pub unsafe fn ask<A: Asker>(
    resolver: *mut ngx_resolver_t,
    name: ngx_str_t,
    timeout: ngx_msec_t,
    asker: *const A,
) -> bool {
    // SAFETY: the caller's promises; nginx frees the context of a question that it refuses.
    unsafe {
        if (*resolver).connections.nelts == 0 {
            return false;
        }
        let Some(ctx) = ngx_resolve_start(resolver, ptr::null_mut()).as_mut() else {
            return false;
        };
        ctx.name = name;
        ctx.handler = Some(answered::<A>);
        ctx.data = asker.cast_mut().cast::<c_void>();
        ctx.timeout = timeout;
        ctx.set_cancelable(1);
        ngx_resolve_name(ctx) == NGX_OK as isize
    }
}

unsafe extern "C" fn answered<A: Asker>(ctx: *mut ngx_resolver_ctx_t) {
    // SAFETY: nginx passes the context of ask(), with as many addresses as it says; they are
    // freed with it.
    unsafe {
        let asker: *const A = (*ctx).data.cast();
        let answer = match (*ctx).state {
            0 => {
                let addresses = match (*ctx).naddrs {
                    0 => &[],
                    n => slice::from_raw_parts((*ctx).addrs, n),
                };
                let addresses =
                    addresses.iter().filter_map(|a| sockaddr::read(a.sockaddr)).collect();
                let ttl = usize::try_from((*ctx).valid.saturating_sub(ngx_time())).unwrap_or(0);
                Answer::Addresses(addresses, ttl)
            }
            state if state == NGX_RESOLVE_NXDOMAIN as isize => Answer::None,
            state => Answer::Failure(state),
        };
        ngx_resolve_name_done(ctx);
        (*asker).take(answer);
    }
}
