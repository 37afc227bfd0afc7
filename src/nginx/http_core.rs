//! nginx's core module: what a location, a server and the whole of http{} have.

#[cfg(not(ngx_feature = "pcre"))]
use core::ffi::c_void;
use core::ffi::{c_char, CStr};
use core::{ptr, slice};

use ngx::ffi::{
    ngx_array_t, ngx_conf_t, ngx_cycle_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t,
    ngx_http_core_main_conf_t, ngx_http_core_module, ngx_http_core_srv_conf_t, ngx_http_request_t,
    ngx_module_t,
};

/// A regular expression of nginx, and its variables.
#[cfg(ngx_feature = "pcre")]
pub type Regex = ngx::ffi::ngx_http_regex_t;
/// Nothing, in an nginx without regular expressions.
#[cfg(not(ngx_feature = "pcre"))]
pub type Regex = c_void;

/// The core module's configuration of the location in `ctx`.
///
/// # Safety
/// `ctx` is that of a location.
pub unsafe fn location(ctx: &ngx_http_conf_ctx_t) -> *mut ngx_http_core_loc_conf_t {
    // SAFETY: nginx makes one for every location.
    unsafe { (*ctx.loc_conf.add(index())).cast() }
}

/// The core module's configuration of a request's location.
///
/// # Safety
/// `r` is a valid request.
pub unsafe fn location_of<'a>(r: *mut ngx_http_request_t) -> &'a ngx_http_core_loc_conf_t {
    // SAFETY: nginx makes one for every location, which outlives its requests.
    unsafe { &*(*(*r).loc_conf.add(index())).cast() }
}

/// The core module's configuration of http{}.
///
/// # Safety
/// `cf` is nginx's context inside of http{}.
pub unsafe fn main<'a>(cf: *mut ngx_conf_t) -> &'a ngx_http_core_main_conf_t {
    // SAFETY: the core module has one in every http{}.
    unsafe {
        let ctx: *const ngx_http_conf_ctx_t = (*cf).ctx.cast();
        &*(*(*ctx).main_conf.add(index())).cast()
    }
}

/// The first name of the server that is configured.
///
/// # Safety
/// `cf` is nginx's context inside of a server{}.
pub unsafe fn server_name<'a>(cf: *mut ngx_conf_t) -> &'a [u8] {
    // SAFETY: the core module has one in every server{}, which lives as long as all do.
    unsafe {
        let ctx: *const ngx_http_conf_ctx_t = (*cf).ctx.cast();
        let server: *const ngx_http_core_srv_conf_t = (*(*ctx).srv_conf.add(index())).cast();
        super::bytes((*server).server_name)
    }
}

fn index() -> usize {
    // SAFETY: nginx has given the core module its place before anything of a configuration is read.
    unsafe { (*ptr::addr_of!(ngx_http_core_module)).ctx_index }
}

/// The literal prefix of a location; `/` where it has none (exact, regular expression and named
/// locations).
///
/// # Safety
/// The location is not an `if` or `limit_except` block.
pub unsafe fn literal_prefix(location: &ngx_http_core_loc_conf_t) -> &'static [u8] {
    let has_none =
        location.exact_match() != 0 || location.named() != 0 || !regex(location).is_null();
    match has_none {
        true => b"/",
        // SAFETY: the name lives as long as the configuration.
        false => unsafe { super::bytes(location.name) },
    }
}

/// A location's regular expression, or NULL.
#[cfg(ngx_feature = "pcre")]
pub fn regex(location: &ngx_http_core_loc_conf_t) -> *const Regex {
    location.regex
}

/// A location's regular expression: there are none.
#[cfg(not(ngx_feature = "pcre"))]
pub fn regex(_: &ngx_http_core_loc_conf_t) -> *const Regex {
    ptr::null()
}

/// The elements of an array of nginx.
///
/// # Safety
/// They are of type `T`, and live as long as `'a`.
pub unsafe fn elements<'a, T>(array: &ngx_array_t) -> &'a [T] {
    match array.nelts {
        0 => &[],
        // SAFETY: the caller's promise.
        n => unsafe { slice::from_raw_parts(array.elts.cast(), n) },
    }
}

/// The modules of the cycle.
///
/// # Safety
/// They are complete, as they are when a configuration is read.
pub unsafe fn modules(cycle: *mut ngx_cycle_t) -> impl Iterator<Item = &'static ngx_module_t> {
    // SAFETY: the array ends with NULL; loaded modules are not freed.
    (0..).map_while(move |i| unsafe { (*(*cycle).modules.add(i)).as_ref() })
}

/// Finds a module of the cycle by its name.
///
/// # Safety
/// The cycle's modules are complete, as they are when a configuration is read.
pub unsafe fn module_named(cycle: *mut ngx_cycle_t, name: &CStr) -> Option<&'static ngx_module_t> {
    // SAFETY: the caller's promise; a module's name is a C string.
    unsafe { modules(cycle).find(|m| CStr::from_ptr(m.name.cast::<c_char>()) == name) }
}
