//! Memory of nginx's pools, which lives as long as a request or a configuration.

use core::{ptr, slice};

use ngx::core::Pool;
use ngx::ffi::{ngx_conf_t, ngx_http_request_t, ngx_palloc, ngx_pcalloc, ngx_pnalloc, ngx_str_t};

use super::Failed;

/// Allocates zeroed bytes in the request's pool.
///
/// # Errors
/// When memory ran out.
///
/// # Safety
/// `r` is a valid request that outlives the result.
pub unsafe fn buffer<'a>(r: *mut ngx_http_request_t, len: usize) -> Result<&'a mut [u8], Failed> {
    // SAFETY: the buffer is as long as asked for, and zeroed before it is a slice.
    unsafe {
        let data: *mut u8 = ngx_pnalloc((*r).pool, len).cast();
        if data.is_null() {
            return Err(Failed);
        }
        ptr::write_bytes(data, 0, len);
        Ok(slice::from_raw_parts_mut(data, len))
    }
}

/// Joins pieces in the request's pool.
///
/// # Errors
/// When memory ran out.
///
/// # Safety
/// `r` is a valid request that outlives the result.
pub unsafe fn concat<const N: usize>(
    r: *mut ngx_http_request_t,
    parts: [&[u8]; N],
) -> Result<ngx_str_t, Failed> {
    // SAFETY: r is a valid request.
    let out = unsafe { buffer(r, parts.iter().map(|p| p.len()).sum()) }?;
    let mut at = 0;
    for part in parts {
        out[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    Ok(ngx_str_t { len: out.len(), data: out.as_mut_ptr() })
}

/// Copies a structure into the request's pool.
///
/// # Errors
/// When memory ran out.
///
/// # Safety
/// `r` is a valid request, and `from` points to a `T`.
pub unsafe fn copy_in_request<T: Copy>(
    r: *mut ngx_http_request_t,
    from: *const T,
) -> Result<*mut T, Failed> {
    // SAFETY: the copy is as long as was asked for, and aligned as all that nginx allocates.
    unsafe {
        let copy: *mut T = ngx_palloc((*r).pool, size_of::<T>()).cast();
        if copy.is_null() {
            return Err(Failed);
        }
        ptr::copy_nonoverlapping(from, copy, 1);
        Ok(copy)
    }
}

/// Copies text into the configuration's pool, with the NUL that nginx wants behind file names.
///
/// # Errors
/// When memory ran out.
///
/// # Safety
/// `cf` is nginx's configuration context.
pub unsafe fn copy(cf: *mut ngx_conf_t, text: &[u8]) -> Result<ngx_str_t, Failed> {
    // SAFETY: the pool is the configuration's; the copy is as long as was asked for.
    unsafe {
        let data: *mut u8 = ngx_pnalloc((*cf).pool, text.len() + 1).cast();
        if data.is_null() {
            return Err(Failed);
        }
        ptr::copy_nonoverlapping(text.as_ptr(), data, text.len());
        *data.add(text.len()) = 0;
        Ok(ngx_str_t { len: text.len(), data })
    }
}

/// Allocates a zeroed structure in the configuration's pool, as nginx initialises its own.
///
/// # Errors
/// When memory ran out.
///
/// # Safety
/// `cf` is nginx's configuration context; a zeroed `T` is valid.
pub unsafe fn zeroed<T>(cf: *mut ngx_conf_t) -> Result<*mut T, Failed> {
    // SAFETY: the pool is the configuration's.
    let memory: *mut T = unsafe { ngx_pcalloc((*cf).pool, size_of::<T>()) }.cast();
    (!memory.is_null()).then_some(memory).ok_or(Failed)
}

/// Copies an array of words into the configuration's pool.
///
/// # Errors
/// When memory ran out.
///
/// # Safety
/// `cf` is nginx's configuration context, and `from` has `count` elements.
pub unsafe fn copy_array<T: Copy>(
    cf: *mut ngx_conf_t,
    from: *const T,
    count: usize,
) -> Result<*mut T, Failed> {
    // SAFETY: the pool is the configuration's; the copy is as long as was asked for.
    unsafe {
        let copy: *mut T = ngx_palloc((*cf).pool, count * size_of::<T>()).cast();
        if copy.is_null() {
            return Err(Failed);
        }
        ptr::copy_nonoverlapping(from, copy, count);
        Ok(copy)
    }
}

/// Keeps a value as long as the configuration.
///
/// # Errors
/// When memory ran out.
///
/// # Safety
/// `cf` is nginx's configuration context.
pub unsafe fn keep<T>(cf: *mut ngx_conf_t, value: T) -> Result<*mut T, Failed> {
    // SAFETY: the pool is the configuration's.
    let kept = unsafe { Pool::from_ngx_pool((*cf).pool) }.allocate(value);
    if kept.is_null() {
        Err(Failed)
    } else {
        Ok(kept)
    }
}
