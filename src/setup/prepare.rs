//! A location, before the proxy module merges it.

use core::ffi::c_void;
use core::mem;
use std::rc::Rc;

use ngx::ffi::{ngx_conf_t, ngx_http_conf_ctx_t};

use super::check::{check, check_signed};
use super::error::SetupError;
use super::settings::{BucketSetting, Kind, LocationConf, Pending, Work};
use super::written::{passes_uri, proxy_module, Footprints, Written};
use crate::handler::handle;
use crate::nginx::foreign::Foreign;
use crate::nginx::{bytes, http_core};

/// Looks at a location, and has those that serve a bucket wait for [`super::install`].
///
/// # Errors
/// What is wrong with the location.
///
/// # Safety
/// `cf->ctx` holds the location's configurations, `conf` among them, and `prev` is that of the level
/// above.
pub unsafe fn prepare(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    prev: &LocationConf,
    conf: &mut LocationConf,
) -> Result<(), SetupError> {
    // SAFETY: cf->ctx is as this function asks for; nginx has made the core configuration of every
    // location. Commands that are tried write to that too, so that no reference to it is kept.
    let (ctx, location) = unsafe {
        let ctx: ngx_http_conf_ctx_t = *(*cf).ctx.cast();
        (ctx, http_core::location(&ctx))
    };
    // SAFETY: as above.
    let (is_block, has_handler) =
        unsafe { ((*location).noname() != 0, (*location).handler.is_some()) };
    conf.known.loc_conf = Some(ctx.loc_conf);
    (conf.known.prefix, conf.known.regex) = match is_block {
        true => (prev.known.prefix, prev.known.regex),
        // SAFETY: it is no block.
        false => unsafe { (http_core::literal_prefix(&*location), http_core::regex(&*location)) },
    };

    let own = matches!(conf.settings.bucket, BucketSetting::On(..));
    let inherits = is_block
        && prev.known.serves
        && matches!(conf.settings.bucket, BucketSetting::Unset)
        // A block with a handler of its own does not go to S3.
        && !has_handler;
    conf.known.serves = own || inherits;
    let keepalive = [&conf.settings.keepalive, &prev.settings.keepalive];
    let [here, above] = keepalive.map(|setting| setting.as_ref().map(Rc::as_ptr));
    conf.known.keeps = here.is_some() && here != above;
    if !conf.known.serves {
        return Ok(());
    }

    // SAFETY: cf has a cycle; the location's proxy configuration is not merged yet.
    unsafe {
        let proxy = proxy_module(cf)?;
        let slot = ctx.loc_conf.add(proxy.ctx_index());
        let kind = if own {
            check(cf, &conf.settings)?;
            let around = prev.known.loc_conf.filter(|_| is_block && prev.known.serves);
            let around = around.map(|array| *array.add(proxy.ctx_index()));
            let written = written(cf, &mut work.footprints, proxy, *slot, around, has_handler)?;
            check_signed(&conf.settings, &written)?;
            Kind::Own(written)
        } else {
            // nginx merges a substitute, as this one is to inherit what the module sets.
            Kind::Block { proxy: mem::replace(&mut *slot, proxy.create(cf)?), outer: prev }
        };
        (*location).handler = Some(handle);
        if own && bytes((*location).name).ends_with(b"/") {
            // As proxy_pass does, while nginx has not built its location tree yet.
            (*location).set_auto_redirect(1);
        }
        work.pending.push(Pending { ctx, conf, kind });
    }
    Ok(())
}

/// What the user wrote in a location with a bucket of its own, whose proxy configuration is `conf`.
/// `around` is that of the location around an `if`.
///
/// # Safety
/// As for [`prepare`].
unsafe fn written(
    cf: *mut ngx_conf_t,
    known: &mut Footprints,
    proxy: Foreign,
    conf: *mut c_void,
    around: Option<*mut c_void>,
    has_handler: bool,
) -> Result<Written, SetupError> {
    // SAFETY: the caller's promise.
    unsafe {
        let mut written = Written::find(cf, known, proxy, conf)?;
        if !written.has("proxy_pass") {
            if has_handler {
                return Err(SetupError::Handler);
            }
        } else if !passes_uri(cf, known, proxy, conf)? {
            return Err(SetupError::ProxyPass);
        }
        if let Some(around) = around {
            // What cannot stand in an "if" counts where it is meant for S3: in a location with a
            // bucket around it. What is meant for another server does not.
            written.extend(Written::find(cf, known, proxy, around)?);
        }
        Ok(written)
    }
}
