//! Refuses an nginx that the module cannot work with, before any code is compiled.

/// The oldest nginx that the module is tested with (nginx_version).
const OLDEST: u64 = 1_022_001;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=DEP_NGINX_VERSION_NUMBER");

    let version = std::env::var("DEP_NGINX_VERSION_NUMBER")
        .ok()
        .and_then(|v| v.parse::<u64>().ok())
        .expect("nginx-sys tells the nginx version in DEP_NGINX_VERSION_NUMBER");
    if version < OLDEST {
        println!("cargo::error=nginx {version} is too old: 1.22.1 or newer is needed");
    }
}
