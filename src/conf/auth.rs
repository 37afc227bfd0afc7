//! `s3_private_bucket_auth`: as whom S3 is asked.
//!
//! No message repeats an argument that is not a word of the directive: it may be a secret in the wrong
//! place.

use core::mem;
use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;
use std::{env, fs};

use ngx::ffi::{ngx_conf_full_name, ngx_conf_t, ngx_str_t, NGX_LOG_WARN, NGX_OK};
use ngx::ngx_conf_log_error;

use super::error::ConfError;
use super::given::{parameter, text, Given};
use crate::credentials::slot::Slot;
use crate::nginx::pool;
use crate::s3::auth::credentials::{Credentials, CredentialsError};
use crate::s3::auth::secret::{is_secret_header, Secret};
use crate::s3::auth::signer::Scheme;
use crate::s3::auth::{Auth, SigningKeys};
use crate::s3::endpoint::is_region;
use crate::setup::blocks::{Origin, Word};

/// Reads the arguments of the directive, and the files that they name.
///
/// # Errors
/// What is wrong with them.
pub fn auth(given: &Given) -> Result<Rc<Auth>, ConfError> {
    let (cf, args) = (given.cf, given.args);
    let auth = match args[0].as_bytes() {
        b"none" => match args.get(1) {
            None => Auth::None,
            Some(_) => return Err(ConfError::AuthParameter("\"none\" takes none")),
        },
        // SAFETY: cf is nginx's context.
        b"secret" => unsafe { secret(cf, &args[1..]) }?,
        // SAFETY: cf is nginx's context.
        b"sigv4" => unsafe { sigv4(cf, &args[1..]) }?,
        // SAFETY: cf is nginx's context.
        b"sigv2" => unsafe { sigv2(cf, &args[1..]) }?,
        _ => {
            let cure = "use \"secret\", \"sigv4\", \"sigv2\" or \"none\"";
            return Err(ConfError::AuthParameter(cure));
        }
    };
    Ok(Rc::new(auth))
}

/// Reads the arguments behind `secret`.
unsafe fn secret(cf: *mut ngx_conf_t, args: &[ngx_str_t]) -> Result<Auth, ConfError> {
    let mut header = "User-Agent";
    if let Some(arg) = args.get(1) {
        let name = parameter(arg, "header").ok_or(ConfError::AuthParameter(
            "use \"header=name\", and quotes around a secret with spaces",
        ))?;
        header = core::str::from_utf8(name).map_err(|_| ConfError::NotText)?;
        if args.len() > 2 {
            let cure = "a secret and \"header=name\" are all it takes";
            return Err(ConfError::AuthParameter(cure));
        }
        if !is_secret_header(header) {
            return Err(ConfError::Header);
        }
    }
    let secret = args.first().ok_or(ConfError::NoSecret)?;
    // SAFETY: cf is nginx's context.
    Ok(Auth::Secret(unsafe { read_secret(cf, secret, header) }?))
}

/// Reads the secret of `data:text`, or of a file.
unsafe fn read_secret(
    cf: *mut ngx_conf_t,
    arg: &ngx_str_t,
    header: &str,
) -> Result<Secret, ConfError> {
    let invalid = |place| move |error| ConfError::Secret { place, error };
    if let Some(data) = arg.as_bytes().strip_prefix(b"data:") {
        return Secret::new(header, data).map_err(invalid("\"data:\""));
    }
    if arg.is_empty() || parameter(arg, "header").is_some() {
        return Err(ConfError::NoSecret);
    }
    // SAFETY: cf is nginx's context.
    let (path, bytes) = unsafe { read_private(cf, "secret", arg.as_bytes()) }?;
    Secret::new(header, &bytes).map_err(invalid("the file")).map(|secret| secret.in_file(path))
}

/// Reads a file with a secret or with credentials, whose path is relative to nginx's
/// configuration. Returns its absolute path too. No error has the path: it may be a secret that was
/// meant to stand behind `data:`.
unsafe fn read_private(
    cf: *mut ngx_conf_t,
    what: &'static str,
    path: &[u8],
) -> Result<(String, Vec<u8>), ConfError> {
    // SAFETY: cf is nginx's context.
    let path = unsafe { full_name(cf, path) }?;
    let cure = match what {
        "secret" => "create it, with mode 0600, or write the secret itself behind \"data:\"",
        _ => "create it, with mode 0600",
    };
    let unreadable = |error| ConfError::File { what, error, cure };
    let bytes = fs::read(&path).map_err(unreadable)?;
    if fs::metadata(&path).map_err(unreadable)?.permissions().mode() & 0o004 != 0 {
        ngx_conf_log_error!(
            NGX_LOG_WARN,
            cf,
            "\"s3_private_bucket_auth\" directive: the {what} file can be read by all users; \
             use \"chmod 600\""
        );
    }
    Ok((path, bytes))
}

/// The absolute path of a file, whose own is relative to nginx's configuration.
///
/// # Errors
/// When it is not text, or memory ran out.
///
/// # Safety
/// `cf` is nginx's context.
pub unsafe fn full_name(cf: *mut ngx_conf_t, path: &[u8]) -> Result<String, ConfError> {
    // nginx wants a NUL behind it.
    // SAFETY: cf has a cycle; the call replaces the string by an absolute one in its pool.
    unsafe {
        let mut full = pool::copy(cf, path)?;
        if ngx_conf_full_name((*cf).cycle, &mut full, 1) != NGX_OK as isize {
            return Err(ConfError::Nginx);
        }
        Ok(text(&full)?.to_owned())
    }
}

/// Where a key is: the words behind `sigv4` and `sigv2`.
#[derive(Default)]
struct Source<'a> {
    /// Which of both.
    kind: &'static str,
    env: bool,
    /// A word that names a source.
    word: Option<Word>,
    credentials: Option<&'a str>,
    file: Option<&'a str>,
    profile: Option<&'a str>,
    access_key_id: Option<&'a str>,
    secret_access_key: Option<&'a str>,
    service: Option<&'a str>,
}

impl<'a> Source<'a> {
    fn profile(&self) -> &str {
        self.profile.unwrap_or("default")
    }

    /// Whether none of the words that tell a key is there.
    fn has_no_key(&self) -> bool {
        !self.env
            && [self.file, self.profile, self.access_key_id, self.secret_access_key]
                .iter()
                .all(Option::is_none)
    }

    fn read(args: &'a [ngx_str_t], kind: &'static str) -> Result<Self, ConfError> {
        let mut source = Source { kind, ..Source::default() };
        for arg in args {
            let arg = text(arg)?;
            let Some((name, value)) = arg.split_once('=') else {
                let is_new = match Word::named(arg) {
                    Some(Word::AssumeRole) => return Err(ConfError::Role(kind)),
                    Some(word) => source.word.replace(word).is_none(),
                    None => arg == "env" && !mem::replace(&mut source.env, true),
                };
                if !is_new {
                    return Err(ConfError::NoKey(kind));
                }
                continue;
            };
            let slot = match name {
                "credentials" => &mut source.credentials,
                "file" => &mut source.file,
                "profile" => &mut source.profile,
                "access_key_id" => &mut source.access_key_id,
                "secret_access_key" => &mut source.secret_access_key,
                "service" => &mut source.service,
                _ => {
                    return Err(ConfError::AuthParameter(
                        "use \"credentials=\", \"file=\", \"profile=\", \"access_key_id=\", \
                         \"secret_access_key=\" or \"service=\"",
                    ))
                }
            };
            if slot.replace(value).is_some() || value.is_empty() {
                let value = format!("{name}=");
                return Err(ConfError::Parameter { value, cure: "write it once, with a value" });
            }
        }
        Ok(source)
    }
}

/// Reads the key in the environment of nginx's master process.
///
/// # Errors
/// [`ConfError::Environment`] when there is none, or what is wrong with it.
pub fn environment() -> Result<Rc<Credentials>, ConfError> {
    let get = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let needed = |name| get(name).ok_or(ConfError::Environment(name));
    let id = needed("AWS_ACCESS_KEY_ID")?;
    let secret = needed("AWS_SECRET_ACCESS_KEY")?;
    let token = get("AWS_SESSION_TOKEN");
    let credentials = Credentials::new(&id, &secret, token.as_deref());
    let place = "the environment";
    credentials.map(Rc::new).map_err(|error| ConfError::Credentials { place, error })
}

/// Reads `file=path [profile=name]`.
///
/// # Errors
/// What is wrong with the arguments or the file.
///
/// # Safety
/// `cf` is nginx's context.
pub unsafe fn file(cf: *mut ngx_conf_t, args: &[ngx_str_t]) -> Result<Origin, ConfError> {
    let source = Source::read(args, "sigv4")?;
    let (Some(path), None, None) = (source.file, source.word, source.service) else {
        return Err(ConfError::NoFile);
    };
    // SAFETY: the caller's promise.
    let (path, first) = unsafe { shared_file(cf, path, source.profile()) }?;
    Ok(Origin::File { path: path.into(), profile: source.profile().into(), first })
}

/// Reads a profile of a file of AWS's tools. Returns its absolute path too.
unsafe fn shared_file(
    cf: *mut ngx_conf_t,
    path: &str,
    profile: &str,
) -> Result<(String, Rc<Credentials>), ConfError> {
    // SAFETY: cf is nginx's context.
    let (path, bytes) = unsafe { read_private(cf, "credentials", path.as_bytes()) }?;
    let credentials =
        Credentials::in_file(&bytes, profile)
            .and_then(|keys| {
                if Slot::has_room_for(&keys) {
                    Ok(keys)
                } else {
                    Err(CredentialsError::TooLong)
                }
            })
            .map_err(|error| ConfError::Credentials { place: "the file", error })?;
    Ok((path, Rc::new(credentials)))
}

/// Reads the arguments behind `sigv4`.
unsafe fn sigv4(cf: *mut ngx_conf_t, args: &[ngx_str_t]) -> Result<Auth, ConfError> {
    let source = Source::read(args, "sigv4")?;
    let service = source.service.unwrap_or("s3");
    // SAFETY: cf is nginx's context.
    let auth = unsafe { signed(cf, &source, Scheme::V4 { service: service.into() }) }?;
    if !is_region(service) {
        return Err(ConfError::Service);
    }
    Ok(auth)
}

/// Reads the arguments behind `sigv2`, whose signatures have no scope.
unsafe fn sigv2(cf: *mut ngx_conf_t, args: &[ngx_str_t]) -> Result<Auth, ConfError> {
    let source = Source::read(args, "sigv2")?;
    if source.service.is_some() {
        return Err(ConfError::AuthParameter("\"service=\" is of \"sigv4\": remove it"));
    }
    // SAFETY: cf is nginx's context.
    unsafe { signed(cf, &source, Scheme::V2) }
}

/// Reads whose signature it is.
unsafe fn signed(cf: *mut ngx_conf_t, source: &Source, scheme: Scheme) -> Result<Auth, ConfError> {
    let (keys, identity) = match (source.word, source.credentials) {
        (None, None) => {
            // SAFETY: cf is nginx's context.
            unsafe { signing_keys(cf, source) }?
        }
        (Some(word), None) if source.has_no_key() => {
            (SigningKeys::Source(word.text().into()), String::new())
        }
        (None, Some(name)) if source.has_no_key() => {
            (SigningKeys::Source(name.into()), String::new())
        }
        _ => return Err(ConfError::NoKey(source.kind)),
    };
    Ok(Auth::Signed { keys, scheme, identity: identity.into() })
}

/// Reads a key. Returns where it is from too, for [`Auth::Signed`].
unsafe fn signing_keys(
    cf: *mut ngx_conf_t,
    source: &Source,
) -> Result<(SigningKeys, String), ConfError> {
    let invalid = |place| move |error| ConfError::Credentials { place, error };
    match (source.file, source.env, source.access_key_id, source.secret_access_key) {
        (Some(path), false, None, None) => {
            // SAFETY: cf is nginx's context.
            let (path, first) = unsafe { shared_file(cf, path, source.profile()) }?;
            let (path, profile) = (path.into(), source.profile().into());
            let identity = format!("file {path} {profile}");
            Ok((SigningKeys::File { path, profile, first }, identity))
        }
        _ if source.profile.is_some() => Err(ConfError::NoKey(source.kind)),
        (None, true, None, None) => Ok((SigningKeys::Fixed(environment()?), "env".to_owned())),
        (None, false, Some(id), Some(secret)) => {
            let credentials = match secret.strip_prefix("data:") {
                Some(secret) => {
                    Credentials::new(id, secret, None).map_err(invalid("the configuration"))
                }
                None => {
                    // SAFETY: cf is nginx's context.
                    let (_, bytes) = unsafe { read_private(cf, "secret", secret.as_bytes()) }?;
                    let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
                    core::str::from_utf8(secret)
                        .map_err(|_| CredentialsError::NotText)
                        .and_then(|secret| Credentials::new(id, secret, None))
                        .map_err(invalid("the file"))
                }
            };
            Ok((SigningKeys::Fixed(Rc::new(credentials?)), format!("key {id}")))
        }
        _ => Err(ConfError::NoKey(source.kind)),
    }
}
