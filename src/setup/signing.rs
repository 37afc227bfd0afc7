//! What a location signs with, and the memory in which keys are shared that are renewed.

use core::mem;
use std::rc::Rc;

use ngx::ffi::ngx_conf_t;

use super::blocks::Resolved;
use super::error::SetupError;
use super::own::headers;
use super::settings::{MainConf, Settings, Work};
use super::sources;
use crate::credentials::keys::Keys;
use crate::credentials::slot::Slot;
use crate::location::{module, Signing};
use crate::nginx::zone::{self, Tenant};
use crate::nginx::Failed;
use crate::s3::auth::sigv4::{Header, Signer};
use crate::s3::auth::{Auth, SigningKeys};

/// How much memory nginx shares for keys, in bytes: for some two hundred sources, over all reloads. Of
/// what is not used, none is taken.
const ZONE: usize = 4 << 20;

/// Has nginx share the keys that are renewed among its processes.
///
/// # Errors
/// When nginx refuses the memory.
///
/// # Safety
/// `cf` is nginx's context in a postconfiguration hook.
pub unsafe fn share_keys(cf: *mut ngx_conf_t, main: &mut MainConf) -> Result<(), Failed> {
    main.shared.sources = mem::take(&mut main.work.sources);
    if main.shared.sources.is_empty() {
        return Ok(());
    }
    let tenants = main.shared.sources.iter().map(|source| source.clone() as Rc<dyn Tenant<Slot>>);
    // SAFETY: cf is nginx's context; a zeroed slot is one that knows nothing.
    unsafe { zone::add(cf, b"s3_private_bucket", ZONE, module(), tenants.collect()) }
}

/// As whom a location asks S3, with what its keys stand for looked up.
///
/// # Errors
/// Why the keys cannot be used.
///
/// # Safety
/// `cf` is nginx's context in a postconfiguration hook.
pub unsafe fn whose(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    given: &Rc<Auth>,
) -> Result<(Rc<Auth>, Option<Resolved>), SetupError> {
    let Auth::Sigv4 { keys, service, identity } = &**given else {
        return Ok((given.clone(), None));
    };
    let resolved = match keys {
        SigningKeys::Fixed(key) => Resolved::Fixed(key.clone(), identity.clone()),
        SigningKeys::File { path, profile, first } => {
            sources::of_file(work, path, profile, first.clone())
        }
        // SAFETY: cf is nginx's context.
        SigningKeys::Source(name) => unsafe { sources::resolve(cf, work, name) }?,
    };
    let (keys, identity) = match &resolved {
        Resolved::Fixed(key, identity) => (SigningKeys::Fixed(key.clone()), identity.clone()),
        Resolved::Source(source) => (keys.clone(), source.description.clone()),
    };
    Ok((Rc::new(Auth::Sigv4 { keys, service: service.clone(), identity }), Some(resolved)))
}

/// How a location's requests are signed, if they are.
pub fn signing(
    work: &mut Work,
    settings: &Settings,
    auth: &Auth,
    whose: Option<&Resolved>,
    scheme: &'static str,
) -> Option<Signing> {
    let (Auth::Sigv4 { service, .. }, Some(whose)) = (auth, whose) else { return None };
    let owner = settings.owner();
    let keys = work.keys(whose, settings.region(), service);
    // With all of them.
    let own = headers(settings).iter().map(|own| (&*own.name, Some(&b""[..])));
    let own: Vec<Header> = own.collect();
    let authorization_len = match &keys {
        Keys::Fixed(signer) => signer.authorization_len(owner.as_deref(), &own),
        Keys::Renewed(_) => {
            Signer::longest_authorization(settings.region(), service, owner.as_deref(), &own)
        }
    };
    let presigned_expires = settings.presigned_expires.unwrap_or(300);
    let presigned_text = presigned_expires.to_string();
    Some(Signing { keys, authorization_len, owner, scheme, presigned_expires, presigned_text })
}
