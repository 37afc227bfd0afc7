//! The system's CA certificates, and TLS contexts that locations share: each would read those again.

use core::ffi::c_void;
use core::mem::size_of;
use std::collections::BTreeMap;
use std::path::Path;

use ngx::ffi::{
    ngx_array_t, ngx_command_t, ngx_conf_t, ngx_http_complex_value_t, ngx_http_upstream_conf_t,
    ngx_keyval_t, ngx_ssl_t, ngx_str_t,
};
use ngx::ngx_string;

use super::written::upstream_part;
use crate::nginx::foreign::{Foreign, ForeignError};
use crate::nginx::http_core::elements;

/// Where systems keep the certificates that they trust: Debian, Red Hat, SUSE, Alpine and BSD.
const CA_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The certificates that the system trusts, if it has any.
pub fn ca_bundle_of_the_system() -> Option<&'static str> {
    CA_BUNDLES.into_iter().find(|bundle| Path::new(bundle).exists())
}

/// One context for all locations whose context would be the same.
pub type Contexts = BTreeMap<Key, *mut ngx_ssl_t>;

/// What a context is made from, setting by setting.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(Vec<Setting>);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Setting {
    /// A number, or a pointer to what is the same only where it was inherited.
    Words(Vec<usize>),
    Text(Vec<u8>),
    Pairs(Vec<(Vec<u8>, Vec<u8>)>),
}

/// Gives a merged configuration of the proxy module a TLS context: the one of an earlier location if it is
/// the same.
///
/// # Errors
/// When nginx cannot make the context; it has logged why.
///
/// # Safety
/// `cf->ctx` is the location's, and `conf` was merged without a context.
pub unsafe fn share(
    cf: *mut ngx_conf_t,
    contexts: &mut Contexts,
    proxy: Foreign,
    conf: *mut c_void,
) -> Result<(), ForeignError> {
    // SAFETY: the caller's promise; a configuration below this one gets the same settings.
    unsafe {
        let upstream = upstream_part(proxy, conf)?;
        let key = key(proxy, conf, upstream);
        if let Some(&ssl) = key.as_ref().and_then(|key| contexts.get(key)) {
            upstream.ssl = ssl;
            return Ok(());
        }
        let maker = proxy.create(cf)?;
        proxy.set(cf, maker, "proxy_pass", &[ngx_string!("https://$s3_private_bucket_uri")])?;
        proxy.merge(cf, conf, maker)?;
        let made = upstream_part(proxy, maker)?;
        upstream.ssl = made.ssl;
        // Before nginx 1.23 it moves them out of temporary memory when it makes the context.
        upstream.ssl_passwords = made.ssl_passwords;
        if let Some(key) = key {
            contexts.insert(key, made.ssl);
        }
        Ok(())
    }
}

/// Reads what the context of a merged configuration is made from; `None` where that cannot be compared.
unsafe fn key(
    proxy: Foreign,
    conf: *mut c_void,
    upstream: &ngx_http_upstream_conf_t,
) -> Option<Key> {
    let commands = proxy.commands().filter(|c| c.name.as_bytes().starts_with(b"proxy_ssl_"));
    // SAFETY: the configuration is the proxy module's.
    unsafe {
        let words = proxy.words(conf);
        commands.map(|c| setting(c, conf, words, upstream)).collect::<Option<_>>().map(Key)
    }
}

unsafe fn setting(
    command: &ngx_command_t,
    conf: *mut c_void,
    words: &[usize],
    upstream: &ngx_http_upstream_conf_t,
) -> Option<Setting> {
    // SAFETY: these commands write values of these types at their offset.
    unsafe {
        let at: *mut usize = conf.byte_add(command.offset).cast();
        Some(match command.name.as_bytes() {
            // For each connection, not in its context.
            b"proxy_ssl_name" | b"proxy_ssl_server_name" | b"proxy_ssl_certificate_cache" => {
                Setting::Words(Vec::new())
            }
            b"proxy_ssl_session_reuse"
            | b"proxy_ssl_protocols"
            | b"proxy_ssl_verify"
            | b"proxy_ssl_verify_depth" => Setting::Words(vec![*at]),
            b"proxy_ssl_ciphers" | b"proxy_ssl_trusted_certificate" | b"proxy_ssl_crl" => {
                Setting::Text((*at.cast::<ngx_str_t>()).as_bytes().to_vec())
            }
            b"proxy_ssl_certificate" | b"proxy_ssl_certificate_key" => {
                match (*at.cast::<*const ngx_http_complex_value_t>()).as_ref() {
                    None => Setting::Words(Vec::new()),
                    Some(value) if value.lengths.is_null() => {
                        Setting::Text(value.value.as_bytes().to_vec())
                    }
                    // nginx keeps passwords for it with the location.
                    Some(_) => return None,
                }
            }
            b"proxy_ssl_password_file" => Setting::Words(vec![upstream.ssl_passwords.addr()]),
            b"proxy_ssl_conf_command" => {
                let array = (*at.cast::<*const ngx_array_t>()).as_ref();
                let pairs: &[ngx_keyval_t] = array.map_or(&[], |array| elements(array));
                let bytes = |text: &ngx_str_t| text.as_bytes().to_vec();
                Setting::Pairs(pairs.iter().map(|p| (bytes(&p.key), bytes(&p.value))).collect())
            }
            // One that a newer nginx has: at most as long as a string, if its place is told.
            _ if command.offset > 0 => {
                let first = command.offset / size_of::<usize>();
                Setting::Words(words.get(first..first + 2)?.to_vec())
            }
            _ => return None,
        })
    }
}
