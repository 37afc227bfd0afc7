//! Shared memory with places that are found by a digest, and stay over reloads.

use core::ffi::c_void;
use core::{mem, ptr};
use std::rc::Rc;

use ngx::core::Status;
use ngx::ffi::{
    ngx_conf_t, ngx_int_t, ngx_module_t, ngx_shared_memory_add, ngx_shm_zone_t, ngx_slab_calloc,
    ngx_slab_pool_t, NGX_LOG_EMERG,
};
use ngx::ngx_log_error;

use super::Failed;

/// What tells a place from others, over reloads.
pub type Digest = [u8; 32];

/// A place, behind what the zone keeps of it.
#[repr(C)]
struct Place<T> {
    next: *mut Place<T>,
    digest: Digest,
    value: T,
}

/// Someone who wants a place in the zone.
pub trait Tenant<T> {
    /// What tells its place.
    fn digest(&self) -> Digest;
    /// Takes the place. It is shared memory that all processes see at the same address.
    fn move_in(&self, place: &'static T);
}

/// What a zone's initialisation is handed.
struct Wanted<T: 'static> {
    tenants: Vec<Rc<dyn Tenant<T>>>,
}

/// Adds a zone in which each tenant gets a place, which is zeroed when it is new. A zone of that name and size
/// that an older configuration had is used again; places are only ever added, as workers of that one go on.
///
/// # Errors
/// When nginx refuses the zone.
///
/// # Safety
/// `cf` is nginx's context; `T` is valid when zeroed, and shared by processes.
pub unsafe fn add<T: Sync + 'static>(
    cf: *mut ngx_conf_t,
    name: &'static [u8],
    size: usize,
    module: &'static ngx_module_t,
    tenants: Vec<Rc<dyn Tenant<T>>>,
) -> Result<(), Failed> {
    let mut name = super::constant(name);
    // SAFETY: nginx keeps the name, which is a constant, and compares the module's address only.
    unsafe {
        let tag = ptr::from_ref(module).cast_mut().cast::<c_void>();
        let zone = ngx_shared_memory_add(cf, &mut name, size, tag).as_mut().ok_or(Failed)?;
        zone.init = Some(init::<T>);
        // init() takes it.
        zone.data = Box::into_raw(Box::new(Wanted { tenants })).cast();
    }
    Ok(())
}

/// nginx's hook once the memory is there, `old` being the data of the zone that it was before.
unsafe extern "C" fn init<T: Sync + 'static>(
    zone: *mut ngx_shm_zone_t,
    _: *mut c_void,
) -> ngx_int_t {
    // SAFETY: nginx passes the zone whose data add() set, once for each; its memory begins with a slab pool, whose own data
    // is ours.
    unsafe {
        let wanted: Box<Wanted<T>> = Box::from_raw((*zone).data.cast());
        (*zone).data = ptr::null_mut();
        let pool: *mut ngx_slab_pool_t = (*zone).shm.addr.cast();
        for tenant in &wanted.tenants {
            let Some(place) = find::<T>(pool, tenant.digest()) else {
                ngx_log_error!(
                    NGX_LOG_EMERG,
                    (*zone).shm.log,
                    "shared memory zone \"{}\" is full of what older configurations had; restart nginx",
                    (*zone).shm.name
                );
                return Status::NGX_ERROR.into();
            };
            tenant.move_in(place);
        }
    }
    Status::NGX_OK.into()
}

/// The place of that digest, a new one if there is none; `None` when the zone is full.
unsafe fn find<T: 'static>(pool: *mut ngx_slab_pool_t, digest: Digest) -> Option<&'static T> {
    // SAFETY: the pool's data is the first of our places, none of which is ever freed; only the master
    // process adds some.
    unsafe {
        let first = (*pool).data.cast::<Place<T>>();
        let mut at = first;
        while let Some(place) = at.as_ref() {
            if place.digest == digest {
                return Some(&place.value);
            }
            at = place.next;
        }
        let new: *mut Place<T> = ngx_slab_calloc(pool, mem::size_of::<Place<T>>()).cast();
        if new.is_null() {
            return None;
        }
        (*new).next = first;
        (*new).digest = digest;
        (*pool).data = new.cast();
        Some(&(*new).value)
    }
}
