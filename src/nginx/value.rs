//! Strings of a configuration that may have variables, and the captures of regular expressions in
//! them.

use core::{mem, ptr};
use std::rc::Rc;

use ngx::ffi::{
    ngx_conf_t, ngx_http_compile_complex_value, ngx_http_compile_complex_value_t,
    ngx_http_complex_value, ngx_http_complex_value_t, ngx_http_request_t, ngx_int_t, ngx_str_t,
    ngx_uint_t, NGX_OK,
};

use super::http_core::Regex;
use super::template::with_own_captures;
use super::{pool, variable, Failed};

/// A capture of a regular expression: its digit, and the place of the variable that holds it.
pub type Capture = (u8, ngx_uint_t);

/// A compiled string that may have variables.
#[derive(Clone)]
pub struct Value {
    compiled: *mut ngx_http_complex_value_t,
    /// The captures that it uses, for [`set_captures`].
    pub captures: Rc<[Capture]>,
}

impl Value {
    /// Compiles a string. Captures in it are read from variables whose names begin with `captures`, which
    /// [`set_captures`] sets: `$1` itself means what the last regular expression found, of a `map` in the
    /// same string too.
    ///
    /// # Errors
    /// When nginx refuses the string (it logged why), or memory ran out.
    ///
    /// # Safety
    /// `cf` is nginx's configuration context.
    pub unsafe fn compile(
        cf: *mut ngx_conf_t,
        text: &[u8],
        captures: &str,
    ) -> Result<Self, Failed> {
        let (text, digits) = match cfg!(ngx_feature = "pcre") {
            true => with_own_captures(text, captures),
            // nginx refuses them.
            false => (text.to_vec(), Vec::new()),
        };
        // SAFETY: cf is nginx's context, in whose pool the text is; zeroed is how nginx initialises
        // both structures.
        unsafe {
            let mut text = pool::copy(cf, &text)?;
            let index = |digit| {
                let name = format!("{captures}{}", char::from(b'0' + digit));
                Ok((digit, variable::index(cf, &name)?))
            };
            let captures = digits.into_iter().map(index).collect::<Result<_, Failed>>()?;
            let compiled: *mut ngx_http_complex_value_t = pool::zeroed(cf)?;
            let mut ccv: ngx_http_compile_complex_value_t = mem::zeroed();
            ccv.cf = cf;
            ccv.value = &mut text;
            ccv.complex_value = compiled;
            match ngx_http_compile_complex_value(&mut ccv) == NGX_OK as ngx_int_t {
                true => Ok(Value { compiled, captures }),
                false => Err(Failed),
            }
        }
    }

    /// The string, if it has no variables.
    pub fn constant(&self) -> Option<&'static [u8]> {
        // SAFETY: compiled values live as long as the configuration, as do their strings.
        unsafe { (*self.compiled).lengths.is_null().then(|| super::bytes((*self.compiled).value)) }
    }

    /// The string with the values that its variables have in a request.
    ///
    /// # Errors
    /// When nginx could not evaluate one, or memory ran out.
    ///
    /// # Safety
    /// `r` is a valid request of a location with this value.
    pub unsafe fn evaluate(&self, r: *mut ngx_http_request_t) -> Result<ngx_str_t, Failed> {
        let mut out = ngx_str_t::empty();
        // SAFETY: the value was compiled for the configuration of this request.
        match unsafe { ngx_http_complex_value(r, self.compiled, &mut out) } == NGX_OK as ngx_int_t {
            true => Ok(out),
            false => Err(Failed),
        }
    }
}

/// Puts the captures of a location where its values read them: those of its own regular
/// expression, whatever ran since; without one, those of the last.
///
/// # Safety
/// `r` is a valid request, `regex` that of its location or NULL, and the places are from
/// [`Value::compile`].
#[cfg(ngx_feature = "pcre")]
pub unsafe fn set_captures(r: *mut ngx_http_request_t, regex: *const Regex, captures: &[Capture]) {
    const MOST: usize = 10;
    if captures.is_empty() {
        return;
    }
    // SAFETY: nginx keeps ncaptures numbers at captures; a match writes two of the three numbers for
    // each capture. Every request has a place for each indexed variable.
    unsafe {
        let mut own = [-1; 3 * MOST];
        let mut found = match (*r).captures.is_null() {
            // An expression without captures leaves a count, but no room.
            true => &[][..],
            false => core::slice::from_raw_parts((*r).captures, (*r).ncaptures),
        };
        let mut data = (*r).captures_data;
        if regex.as_ref().is_some_and(|regex| regex.ncaptures > 0) {
            let uri = &mut (*r).uri;
            let (room, numbers) = (own.len(), own.as_mut_ptr());
            let count = ngx::ffi::ngx_regex_exec((*regex).regex, uri, numbers, room);
            if let Ok(count) = usize::try_from(count) {
                // What is behind the pairs of this match is left of others. PCRE says 0 where
                // there are more pairs than room.
                let pairs = if count == 0 { MOST } else { count.min(MOST) };
                (found, data) = (&own[..2 * pairs], uri.data);
            }
        }
        for &(digit, index) in captures {
            let pair = found.get(2 * usize::from(digit)..).and_then(|rest| rest.first_chunk());
            let value = pair.filter(|&&[start, end]| start >= 0 && end >= start);
            let value = value.map(|&[start, end]| ngx_str_t {
                len: (end - start) as usize,
                data: data.add(start as usize),
            });
            let v = (*r).variables.add(index);
            variable::set(v, value.or(Some(ngx_str_t::empty())));
        }
    }
}

/// Without regular expressions there are no captures.
///
/// # Safety
/// None is needed.
#[cfg(not(ngx_feature = "pcre"))]
pub unsafe fn set_captures(_: *mut ngx_http_request_t, _: *const Regex, _: &[Capture]) {}

/// Evaluates regular expressions of other variables without a trace: the script that reads a
/// variable may have measured `$1` already, and is going to copy it.
///
/// # Safety
/// `r` is a valid request.
#[cfg(ngx_feature = "pcre")]
pub unsafe fn keep_captures<T>(r: *mut ngx_http_request_t, f: impl FnOnce() -> T) -> T {
    // SAFETY: nginx keeps ncaptures numbers at captures, which a match overwrites in place.
    unsafe {
        let (count, data) = ((*r).ncaptures, (*r).captures_data);
        let mut saved = [0; 64];
        // An expression without captures leaves a count, but no room.
        let kept = if (*r).captures.is_null() { 0 } else { count.min(saved.len()) };
        if kept > 0 {
            ptr::copy_nonoverlapping((*r).captures, saved.as_mut_ptr(), kept);
        }
        let result = f();
        // A match may have allocated another array, where a clone of the request has the first.
        if kept > 0 {
            ptr::copy_nonoverlapping(saved.as_ptr(), (*r).captures, kept);
        }
        (*r).ncaptures = kept;
        (*r).captures_data = data;
        result
    }
}

/// Without regular expressions there are no captures.
///
/// # Safety
/// None is needed.
#[cfg(not(ngx_feature = "pcre"))]
pub unsafe fn keep_captures<T>(_: *mut ngx_http_request_t, f: impl FnOnce() -> T) -> T {
    f()
}
