//! nginx module that makes a location serve the objects of a private S3 bucket.
//!
//! The directives expand into settings of nginx's own proxy module (`proxy`), whose per-request
//! parts are variables (`variables`); `upstream` looks at S3's answers, `response` filters them; `object`,
//! `endpoint`, `auth` and `answer` are pure.

mod answer;
// Only the directives make the enum.
#[cfg_attr(test, allow(dead_code))]
mod auth;
mod endpoint;
mod object;
mod resolver;
mod template;

// What touches nginx needs nginx's own symbols, which a unit test binary does not have.
#[cfg(not(test))]
mod conf;
#[cfg(not(test))]
mod module;
#[cfg(not(test))]
mod proxy;
#[cfg(not(test))]
mod request;
#[cfg(not(test))]
mod response;
#[cfg(not(test))]
mod upstream;
#[cfg(not(test))]
mod variables;
