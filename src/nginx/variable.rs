//! Variables: adding, naming and answering them.

use core::ptr;

use ngx::core::Status;
use ngx::ffi::{
    ngx_conf_t, ngx_hash_key_t, ngx_http_add_variable, ngx_http_get_flushed_variable,
    ngx_http_get_variable_index, ngx_http_request_t, ngx_http_variable_t, ngx_int_t, ngx_str_t,
    ngx_uint_t, ngx_variable_value_t, NGX_HTTP_VAR_NOCACHEABLE,
};

use super::http_core::{elements, main};
use super::{borrowed, Failed};

/// A handler that works out a variable's value, with the argument that was set for it.
pub type Get =
    unsafe extern "C" fn(*mut ngx_http_request_t, *mut ngx_variable_value_t, usize) -> ngx_int_t;

/// Adds a variable that is worked out each time that it is read.
///
/// # Errors
/// When there is one of that name, or memory ran out.
///
/// # Safety
/// `cf` is nginx's context in a preconfiguration hook, and `data` is what `get` expects.
pub unsafe fn add(
    cf: *mut ngx_conf_t,
    name: &str,
    flag: u32,
    get: Get,
    data: usize,
) -> Result<(), Failed> {
    let mut name = borrowed(name.as_bytes());
    let flags = (NGX_HTTP_VAR_NOCACHEABLE | flag) as ngx_uint_t;
    // SAFETY: cf is nginx's context, which copies the name.
    let variable = unsafe { ngx_http_add_variable(cf, &mut name, flags).as_mut() }.ok_or(Failed)?;
    variable.get_handler = Some(get);
    variable.data = data;
    Ok(())
}

/// The place that nginx keeps in every request for a variable, from now on.
///
/// # Errors
/// When memory ran out.
///
/// # Safety
/// `cf` is nginx's context, before its variables are resolved.
pub unsafe fn index(cf: *mut ngx_conf_t, name: &str) -> Result<ngx_uint_t, Failed> {
    let mut name = borrowed(name.as_bytes());
    // SAFETY: cf is nginx's context, which copies the name.
    let index = unsafe { ngx_http_get_variable_index(cf, &mut name) };
    ngx_uint_t::try_from(index).map_err(|_| Failed)
}

/// The value of an indexed variable, unless it is empty.
///
/// # Safety
/// `r` is a valid request, `place` is from [`index`].
pub unsafe fn get(r: *mut ngx_http_request_t, place: ngx_uint_t) -> Option<ngx_str_t> {
    // SAFETY: nginx returns NULL or a valid value.
    unsafe {
        let value = ngx_http_get_flushed_variable(r, place).as_ref()?;
        (value.not_found() == 0 && value.len() > 0)
            .then(|| ngx_str_t { len: value.len() as usize, data: value.data })
    }
}

/// The names of the variables that a configuration uses.
///
/// # Safety
/// `cf` is nginx's context, after the configuration was read.
pub unsafe fn used<'a>(cf: *mut ngx_conf_t) -> impl Iterator<Item = &'a [u8]> {
    // SAFETY: the core module has an array of the variables that were named.
    let variables: &[ngx_http_variable_t] = unsafe { elements(&main(cf).variables) };
    // SAFETY: their names live as long as the configuration.
    variables.iter().map(|variable| unsafe { super::bytes(variable.name) })
}

/// The names of the variables that were added, by modules and by the configuration.
///
/// # Safety
/// `cf` is nginx's context, before its variables are resolved.
pub unsafe fn added<'a>(cf: *mut ngx_conf_t) -> impl Iterator<Item = &'a [u8]> {
    // SAFETY: the names are there until then.
    let known: &[ngx_hash_key_t] = unsafe { elements(&(*main(cf).variables_keys).keys) };
    // SAFETY: they live as long as the configuration.
    known.iter().map(|known| unsafe { super::bytes(known.key) })
}

/// Whether a variable of exactly that name was added.
///
/// # Safety
/// As for [`added`].
pub unsafe fn exists(cf: *mut ngx_conf_t, name: &[u8]) -> bool {
    // SAFETY: the caller's promise.
    unsafe { added(cf) }.any(|known| known == name)
}

/// Answers a variable: with a value, which the request's pool or the configuration has, or with
/// none.
///
/// # Safety
/// `v` is nginx's, for a variable that is worked out.
pub unsafe fn set(v: *mut ngx_variable_value_t, value: Option<ngx_str_t>) -> ngx_int_t {
    // SAFETY: v is nginx's.
    let v = unsafe { &mut *v };
    match value {
        Some(value) => {
            set_found(v, value.len as u32);
            v.data = value.data;
        }
        None => v.set_not_found(1),
    }
    Status::NGX_OK.into()
}

/// Sets the length and the flags of a value that is found. bindgen's setters go through a length bit by
/// bit, which would cost more than all else that a variable does.
fn set_found(v: &mut ngx_variable_value_t, len: u32) {
    const LEN: u32 = (1 << 28) - 1;
    const VALID: u32 = 1 << 28;
    const ESCAPE: u32 = 1 << 31;
    if cfg!(target_endian = "little") {
        let word = ptr::from_mut(v).cast::<u32>();
        // SAFETY: the value begins with a word of bit fields: len, valid, no_cacheable, not_found,
        // escape.
        unsafe { word.write(word.read() & ESCAPE | VALID | len & LEN) };
    } else {
        v.set_len(len);
        v.set_valid(1);
        v.set_no_cacheable(0);
        v.set_not_found(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_what_its_bit_fields_say() {
        // SAFETY: zeroed is how nginx initialises values.
        let mut v: ngx_variable_value_t = unsafe { core::mem::zeroed() };
        v.set_not_found(1);
        v.set_no_cacheable(1);
        v.set_escape(1);
        let text = super::super::constant(b"text");
        // SAFETY: v is a value.
        unsafe { set(&mut v, Some(text)) };
        assert_eq!((v.len(), v.valid(), v.not_found()), (4, 1, 0));
        assert_eq!((v.no_cacheable(), v.escape(), v.data), (0, 1, text.data));
        // SAFETY: v is a value.
        unsafe { set(&mut v, None) };
        assert_eq!(v.not_found(), 1);
    }
}
