//! Lists of headers.

use core::ptr;

use ngx::ffi::{
    ngx_http_request_t, ngx_list_part_t, ngx_list_push, ngx_list_t, ngx_str_t, ngx_table_elt_t,
};

/// The value of the header of that lower-case name.
///
/// # Safety
/// `list` is a valid list of headers.
pub unsafe fn find(list: &ngx_list_t, name: &[u8]) -> Option<ngx_str_t> {
    let mut part = ptr::addr_of!(list.part);
    // SAFETY: a list's parts hold as many elements as they say.
    unsafe {
        while let Some(some) = part.as_ref() {
            for i in 0..some.nelts {
                let header = &*some.elts.cast::<ngx_table_elt_t>().add(i);
                if header.hash != 0 && header.key.as_bytes().eq_ignore_ascii_case(name) {
                    return Some(header.value);
                }
            }
            part = some.next;
        }
    }
    None
}

/// Whether a header was copied from one of a list: nginx copies all of it but for its name, which it
/// points to.
///
/// # Safety
/// `list` is a valid list of headers.
pub unsafe fn has(list: &ngx_list_t, header: &ngx_table_elt_t) -> bool {
    let mut part = ptr::addr_of!(list.part);
    // SAFETY: a list's parts hold as many elements as they say.
    unsafe {
        while let Some(some) = part.as_ref() {
            let first: *const ngx_table_elt_t = some.elts.cast();
            if (0..some.nelts).any(|i| (*first.add(i)).key.data == header.key.data) {
                return true;
            }
            part = some.next;
        }
    }
    false
}

/// Takes headers out of a list, those that `is_hidden` says.
///
/// # Safety
/// `list` is a valid list of headers.
pub unsafe fn hide(list: &mut ngx_list_t, is_hidden: impl Fn(&ngx_table_elt_t) -> bool) {
    let mut part: *mut ngx_list_part_t = ptr::addr_of_mut!(list.part);
    // SAFETY: a list's parts hold as many elements as they say.
    unsafe {
        while let Some(some) = part.as_mut() {
            for i in 0..some.nelts {
                let header = &mut *some.elts.cast::<ngx_table_elt_t>().add(i);
                if is_hidden(header) {
                    header.hash = 0;
                }
            }
            part = some.next;
        }
    }
}

/// Takes all headers out of a list.
pub fn clear(list: &mut ngx_list_t) {
    list.part.nelts = 0;
    list.part.next = ptr::null_mut();
    list.last = ptr::addr_of_mut!(list.part);
}

/// Adds a header to the response. `None` when memory ran out.
///
/// # Safety
/// `r` is a valid request whose response has not begun; the strings live as long as it does.
pub unsafe fn add(
    r: *mut ngx_http_request_t,
    key: ngx_str_t,
    value: ngx_str_t,
) -> Option<*mut ngx_table_elt_t> {
    // SAFETY: the list is the request's, and an element is zeroed before it is filled (nginx
    // 1.23 added fields).
    unsafe {
        let list = ptr::addr_of_mut!((*r).headers_out.headers);
        let header = ngx_list_push(list).cast::<ngx_table_elt_t>().as_mut()?;
        ptr::write_bytes(header, 0, 1);
        header.hash = 1;
        header.key = key;
        header.value = value;
        Some(header)
    }
}
