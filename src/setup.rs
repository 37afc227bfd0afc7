//! What a location becomes in nginx's own modules, when the configuration is read.
//!
//! A location that serves a bucket keeps the proxy configuration that the user wrote, for nested
//! locations to inherit. Requests get another one, that inherits from it as a nested block would
//! and holds what the module sets. It is filled through the proxy module's own commands, so
//! that only their names are relied upon, and put in place after all locations were merged:
//! nothing that the module sets can reach a location that does not serve a bucket.

pub mod around;
pub mod blocks;
pub mod check;
pub mod conditions;
pub mod counted;
pub mod error;
pub mod folders;
pub mod groups;
pub mod install;
pub mod keep;
pub mod names;
pub mod own;
pub mod peer;
pub mod place;
pub mod platform;
pub mod prepare;
pub mod proxy;
pub mod readable;
pub mod settings;
pub mod signing;
pub mod slices;
pub mod source_error;
pub mod sources;
pub mod status;
pub mod tls;
pub mod written;
