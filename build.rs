//! Refuses an nginx that the module cannot work with, and tells the code what it was built with.
//!
//! `nginx-sys` has to be a direct dependency for the `DEP_NGINX_*` variables to arrive here.

use std::env;

/// The oldest nginx that the module is tested with (nginx_version).
const OLDEST: u64 = 1_022_001;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=DEP_NGINX_VERSION_NUMBER");
    println!("cargo::rerun-if-env-changed=DEP_NGINX_FEATURES");
    println!("cargo::rustc-check-cfg=cfg(ngx_feature, values(\"pcre\"))");

    let version = env::var("DEP_NGINX_VERSION_NUMBER").ok().and_then(|v| v.parse::<u64>().ok());
    if version.is_some_and(|v| v < OLDEST) {
        println!("cargo::error=nginx is too old: 1.22.1 or newer is needed");
    }

    let features = env::var("DEP_NGINX_FEATURES").unwrap_or_default();
    let has = |wanted| features.split(',').any(|f| f.trim() == wanted);
    for needed in ["http_ssl", "http_cache"] {
        if !has(needed) {
            println!("cargo::error=nginx is configured without {needed}, which the module needs");
        }
    }
    // Rust's unwinder, so that nginx need not load libgcc_s for one module.
    println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    // nginx's own symbols, which the library finds in nginx and a binary of unit tests does without.
    println!("cargo::rustc-link-arg=-Wl,--unresolved-symbols=ignore-all");
    if has("pcre") {
        println!("cargo::rustc-cfg=ngx_feature=\"pcre\"");
    }
}
