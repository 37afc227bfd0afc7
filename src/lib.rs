//! nginx module that makes a location serve the objects of a private S3 bucket.
//!
//! The directives expand into settings of nginx's own proxy module, whose per-request parts are
//! variables. The source has floors; each may use those below it and none above (`make lint` looks):
//!
//! | | |
//! | --- | --- |
//! | `module` | the tables that nginx reads, and its hooks |
//! | `conf` | the directives |
//! | `setup` | what a location becomes in nginx's own modules, when the configuration is read |
//! | `handler`, `status` | the content handlers: one refuses a request, or passes it on and has its answer watched; one shows what is counted |
//! | `answer` | S3's answers: judged before nginx acts on them, filtered before a client sees them |
//! | `request` | a request: refused or named, signed, its variables |
//! | `connections` | connections to S3 that are kept: addresses, and a request's way to one |
//! | `location`, `log` | what a location holds when requests come; lines in the error log |
//! | `credentials`, `counts` | keys that renew themselves, and a worker's copy of them; what is counted, in shared memory |
//! | `nginx` | a thin ground over nginx that knows nothing of S3 |
//! | `s3` | pure: keys, endpoints, signatures, secrets, answers; no nginx, no I/O, no clock |

mod answer;
mod conf;
mod connections;
mod counts;
mod credentials;
mod handler;
mod location;
mod log;
mod module;
mod nginx;
mod request;
mod s3;
mod setup;
mod status;
