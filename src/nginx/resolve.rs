//! Questions to DNS that no request waits for.

use core::ffi::{c_void, CStr};
use core::ptr::NonNull;
use core::{fmt, ptr, slice};
use std::net::SocketAddr;

use ngx::ffi::{
    ngx_int_t, ngx_msec_t, ngx_resolve_name, ngx_resolve_name_done, ngx_resolve_start,
    ngx_resolver_ctx_t, ngx_resolver_strerror, ngx_resolver_t, ngx_str_t, ngx_time, NGX_ERROR,
    NGX_OK, NGX_RESOLVE_NXDOMAIN,
};

use super::sockaddr;

/// What DNS answers.
pub enum Answer {
    /// Addresses with port 0, and for how many seconds they are valid.
    Addresses(Vec<SocketAddr>, usize),
    /// There is no such name.
    None,
    /// No answer that says anything, and why.
    Failure(Reason),
}

/// Why there is no answer: nginx's number for it.
#[derive(Debug)]
pub struct Reason(isize);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: nginx returns a constant for every number.
        let text = unsafe { CStr::from_ptr(ngx_resolver_strerror(self.0).cast()) };
        write!(f, "{}: {}", self.0, text.to_string_lossy())
    }
}

/// Somebody who asks.
pub trait Asker {
    /// Takes the answer, in nginx's event loop or within [`ask`].
    fn take(&self, answer: Answer);
}

/// A question that was asked.
pub struct Question(NonNull<ngx_resolver_ctx_t>);

impl Question {
    /// Takes it back: there will be no answer.
    ///
    /// # Safety
    /// It has not been answered, and its configuration lives.
    pub unsafe fn cancel(self) {
        // SAFETY: the caller's promise: nginx still has its context.
        unsafe { ngx_resolve_name_done(self.0.as_ptr()) }
    }
}

/// Asks the name servers for a name's addresses. The answer may come at once: the resolver may know it. A worker
/// that shuts down does not wait for it. Returns the question, unless it could not be asked. A `timeout` of 0 is none.
///
/// # Safety
/// nginx writes to the name (it makes it lower-case), which outlives the answer, as `asker` does. They
/// and the resolver live as long as the configuration, whose end is the end of the question too.
pub unsafe fn ask<A: Asker>(
    resolver: *mut ngx_resolver_t,
    name: ngx_str_t,
    timeout: ngx_msec_t,
    asker: *const A,
) -> Option<Question> {
    // SAFETY: the caller's promises; nginx frees the context of a question that it refuses.
    unsafe {
        // Without a name server nginx returns a pointer that is none.
        if (*resolver).connections.nelts > 0 {
            if let Some(mut context) = NonNull::new(ngx_resolve_start(resolver, ptr::null_mut())) {
                let ctx = context.as_mut();
                ctx.name = name;
                ctx.handler = Some(answered::<A>);
                ctx.data = asker.cast_mut().cast::<c_void>();
                ctx.timeout = timeout;
                ctx.set_cancelable(1);
                if ngx_resolve_name(ctx) == NGX_OK as ngx_int_t {
                    return Some(Question(context));
                }
            }
        }
        (*asker).take(Answer::Failure(Reason(NGX_ERROR as isize)));
    }
    None
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
            state => Answer::Failure(Reason(state)),
        };
        ngx_resolve_name_done(ctx);
        (*asker).take(answer);
    }
}
