//! Locations that show what is counted, and the memory in which that is.

use std::rc::Rc;

use ngx::ffi::{ngx_conf_t, ngx_http_conf_ctx_t};
use thiserror::Error;

use super::counted::Counted;
use super::settings::{BucketSetting, MainConf, Settings};
use crate::counts::counter::Counts;
use crate::counts::table::Table;
use crate::location::module;
use crate::nginx::zone::{self, Tenant};
use crate::nginx::{http_core, Failed};
use crate::status::handle;

/// How much memory nginx shares for what is counted, in bytes. It never changes, as counts stay over reloads.
const ZONE: usize = 1 << 20;

/// Its name, which no directive of nginx can give to another zone.
const NAME: &[u8] = b"s3_private_bucket:status";

// nginx's own part of a zone is small.
const _: () = assert!(size_of::<Table>() < ZONE * 3 / 4);

/// Why a location cannot show what is counted.
#[derive(Debug, Error)]
pub enum StatusError {
    /// A bucket in the same location.
    #[error("shares its location with \"s3_private_bucket\"; give it one of its own")]
    Bucket,
    /// A second content handler.
    #[error(
        "shares its location with another handler of requests (as \"proxy_pass\" is); give it one of its own"
    )]
    Handler,
}

/// Has a location show what is counted, if it is to; and the `if` and `limit_except` blocks in it.
///
/// # Errors
/// What speaks against it.
///
/// # Safety
/// `cf->ctx` holds the location's configurations, its own settings among them; `around` are those of the level above.
pub unsafe fn show(
    cf: *mut ngx_conf_t,
    counted: &mut Counted,
    around: &Settings,
    own: &Settings,
) -> Result<(), StatusError> {
    // SAFETY: the caller's promise; nginx has made the core configuration of every location.
    let location = unsafe { &mut *http_core::location(&*(*cf).ctx.cast::<ngx_http_conf_ctx_t>()) };
    if own.status.is_none() {
        let is_free = location.handler.is_none() && matches!(own.bucket, BucketSetting::Unset);
        if around.status.is_some() && location.noname() != 0 && is_free {
            location.handler = Some(handle);
        }
        return Ok(());
    }
    if matches!(own.bucket, BucketSetting::On(..)) {
        return Err(StatusError::Bucket);
    }
    if location.handler.is_some() {
        return Err(StatusError::Handler);
    }
    location.handler = Some(handle);
    counted.is_shown = true;
    Ok(())
}

/// Has nginx share what is counted among its processes, where a location shows it.
///
/// # Errors
/// When nginx refuses the memory.
///
/// # Safety
/// `cf` is nginx's context in a postconfiguration hook.
pub unsafe fn share_counts(cf: *mut ngx_conf_t, main: &mut MainConf) -> Result<(), Failed> {
    let counted = std::mem::take(&mut main.work.counted);
    if !counted.is_shown {
        return Ok(());
    }
    let counts = Rc::new(Counts::new(counted.counters));
    main.shared.counts = Some(counts.clone());
    // SAFETY: cf is nginx's context; a zeroed table is one in which nothing was counted.
    unsafe { zone::add(cf, NAME, ZONE, module(), vec![counts as Rc<dyn Tenant<Table>>]) }
}
