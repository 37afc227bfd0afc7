//! Where a directive stands.

use core::fmt;

use ngx::ffi::ngx_conf_t;

/// A place in the configuration, for errors that are found when it is merged.
#[derive(Clone, Default)]
pub struct Place {
    pub file: String,
    pub line: usize,
}

impl Place {
    /// Where nginx is reading.
    ///
    /// # Safety
    /// `cf` is nginx's context.
    pub unsafe fn of(cf: *mut ngx_conf_t) -> Self {
        // SAFETY: a directive is read from a file (or from -g, which has none).
        match unsafe { (*cf).conf_file.as_ref() } {
            Some(file) => Place { file: file.file.name.to_string(), line: file.line },
            None => Place::default(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in {}:{}", self.file, self.line)
    }
}
