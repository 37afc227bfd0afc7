//! The variables that a configuration names, and those that it may not.

use ngx::ffi::ngx_conf_t;
use thiserror::Error;

use super::own_variables::is_of_headers;
use super::variables::{AUTHORIZATION, CAPTURE, CHOICE, PREFIX, SESSION, TOKEN};
use crate::nginx::variable::{added, exists, used};

/// A name in the configuration that it may not have.
#[derive(Debug, Error)]
pub enum NameError {
    /// A log format or another directive that would show signatures.
    #[error("keeps signatures in the variable \"${AUTHORIZATION}\", which nothing else may use; remove it")]
    Authorization,
    /// The same, of a session token.
    #[error(
        "keeps session tokens in the variable \"${TOKEN}\", which nothing else may use; remove it"
    )]
    Token,
    /// A directive that would set or show headers of the operator's own: what is signed would not be what is sent.
    #[error("keeps headers in the variable \"${0}\", which nothing else may use; remove it")]
    Header(String),
    /// A directive that would choose for a request that is not built, or a connection that is not made.
    #[error(
        "chooses connections with the variable \"${0}\", which nothing else may use; remove it"
    )]
    Choice(&'static str),
    /// A name that is not one of the module's, nor the configuration's own.
    #[error("has no variable \"${0}\"; correct its name")]
    Unknown(String),
}

/// Checks the variables that the configuration names.
///
/// The proxy module's values are cached in the request, so that a log format could show a signature:
/// what nobody names cannot be shown.
///
/// # Errors
/// The first of [`NameError`]'s reasons that applies.
///
/// # Safety
/// `cf` is nginx's context after the configuration was read, before set-up names any itself.
pub unsafe fn check_names(cf: *mut ngx_conf_t) -> Result<(), NameError> {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(name) = used(cf).chain(added(cf)).find(|name| is_of_headers(name)) {
            return Err(NameError::Header(name.escape_ascii().to_string()));
        }
        for name in used(cf) {
            if name == AUTHORIZATION.as_bytes() {
                return Err(NameError::Authorization);
            }
            if name == TOKEN.as_bytes() {
                return Err(NameError::Token);
            }
            if let Some(choice) = [CHOICE, SESSION].into_iter().find(|c| name == c.as_bytes()) {
                return Err(NameError::Choice(choice));
            }
            let ours = name.starts_with(PREFIX.as_bytes()) && !name.starts_with(CAPTURE.as_bytes());
            if ours && !exists(cf, name) {
                return Err(NameError::Unknown(name.escape_ascii().to_string()));
            }
        }
    }
    Ok(())
}
