//! A directive's arguments, and what all directives do with them.

use ngx::ffi::{ngx_conf_t, ngx_str_t};

use super::error::ConfError;
use crate::nginx::value::Value;
use crate::request::variables::CAPTURE;

/// The arguments of a directive, without its name. They live as long as the configuration.
pub struct Given<'a> {
    pub cf: *mut ngx_conf_t,
    pub args: &'a [ngx_str_t],
}

impl<'a> Given<'a> {
    /// The first argument as text.
    ///
    /// # Errors
    /// [`ConfError::NotText`].
    pub fn text(&self) -> Result<&'a str, ConfError> {
        text(&self.args[0])
    }

    /// Compiles a string that may have variables, and captures of the location.
    ///
    /// # Errors
    /// When nginx refuses it; it has logged why.
    pub fn compile(&self, value: &[u8]) -> Result<Value, ConfError> {
        // SAFETY: cf is nginx's context.
        Ok(unsafe { Value::compile(self.cf, value, CAPTURE) }?)
    }

    /// All arguments as bytes, none of which may be empty.
    ///
    /// # Errors
    /// [`ConfError::Empty`] with the cure.
    pub fn names(&self, cure: &'static str) -> Result<Vec<Box<[u8]>>, ConfError> {
        match self.args.iter().any(|arg| arg.is_empty()) {
            true => Err(ConfError::Empty(cure)),
            false => Ok(self.args.iter().map(|arg| arg.as_bytes().into()).collect()),
        }
    }

    /// Whether the first argument is the first of two words.
    ///
    /// # Errors
    /// [`ConfError::Word`] when it is neither.
    pub fn either(&self, yes: &'static str, no: &'static str) -> Result<bool, ConfError> {
        match self.args[0].as_bytes() {
            word if word == yes.as_bytes() => Ok(true),
            word if word == no.as_bytes() => Ok(false),
            _ => Err(ConfError::Word { value: self.args[0].to_string(), yes, no }),
        }
    }
}

/// An argument as text.
///
/// # Errors
/// [`ConfError::NotText`].
pub fn text(arg: &ngx_str_t) -> Result<&str, ConfError> {
    core::str::from_utf8(arg.as_bytes()).map_err(|_| ConfError::NotText)
}

/// What follows `name=` in an argument.
pub fn parameter<'a>(arg: &'a ngx_str_t, name: &str) -> Option<&'a [u8]> {
    arg.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// Stores the value of a directive that stands once on a level.
///
/// # Errors
/// [`ConfError::Duplicate`] when there is one already.
pub fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), ConfError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(ConfError::Duplicate),
    }
}

/// A message without what stands behind `data:` in an argument: a secret in the wrong directive
/// is not to be repeated either.
pub fn without_secrets(mut message: String, args: &[ngx_str_t]) -> String {
    for arg in args.iter().filter_map(|arg| text(arg).ok()) {
        if let Some(at) = arg.find("data:").filter(|at| at + 5 < arg.len()) {
            message = message.replace(&arg[at..], "data:...");
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nginx::constant;

    #[test]
    fn secrets_in_the_wrong_place_are_not_repeated() {
        let args = [constant(b"key=data:hush"), constant(b"data:"), constant(b"plain")];
        for (message, expected) in [
            ("unknown \"key=data:hush\"", "unknown \"key=data:...\""),
            ("needs \"data:\" or plain", "needs \"data:\" or plain"),
        ] {
            assert_eq!(without_secrets(message.to_owned(), &args), expected);
        }
    }

    #[test]
    fn parameters_have_a_name_and_a_value() {
        let arg = constant(b"prefix=a=b");
        assert_eq!(parameter(&arg, "prefix"), Some(&b"a=b"[..]));
        assert_eq!(parameter(&arg, "pre"), None);
        assert_eq!(parameter(&constant(b"prefix"), "prefix"), None);
    }
}
