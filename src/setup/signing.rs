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
use crate::credentials::source::Kind;
use crate::location::{module, Signing};
use crate::nginx::zone::{self, Tenant};
use crate::nginx::Failed;
use crate::s3::auth::signer::{Scheme, Signer};
use crate::s3::auth::sigv4::Header;
use crate::s3::auth::{Auth, SigningKeys};
use crate::s3::sources::MAX_ACCESS_KEY_ID;

/// How much memory nginx shares for the keys of up to [`SOURCES`] sources, in bytes: twice what they need, as
/// those of older configurations stay. Of what is not used, none is taken.
const ZONE: usize = 4 << 20;
const SOURCES: usize = 100;

/// Its name, which no directive of nginx can give to another zone.
const NAME: &[u8] = b"s3_private_bucket:keys";

/// How much memory so many sources have, in bytes. It seldom changes, as keys would be fetched anew.
fn zone_size(sources: usize) -> usize {
    ZONE * sources.div_ceil(SOURCES).max(1).next_power_of_two()
}

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
    let size = zone_size(main.shared.sources.len());
    let tenants = main.shared.sources.iter().map(|source| source.clone() as Rc<dyn Tenant<Slot>>);
    // SAFETY: cf is nginx's context; a zeroed slot is one that knows nothing.
    unsafe { zone::add(cf, NAME, size, module(), tenants.collect()) }
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
    let Auth::Signed { keys, scheme, identity } = &**given else {
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
    Ok((Rc::new(Auth::Signed { keys, scheme: scheme.clone(), identity }), Some(resolved)))
}

/// How a location's requests are signed, if they are.
pub fn signing(
    work: &mut Work,
    settings: &Settings,
    auth: &Auth,
    whose: Option<&Resolved>,
    scheme: &'static str,
) -> Option<Signing> {
    let (Auth::Signed { scheme: how, .. }, Some(whose)) = (auth, whose) else { return None };
    let owner = settings.owner();
    let keys = work.keys(whose, settings.region(), how);
    // With all of them.
    let own = headers(settings).iter().map(|own| (&*own.name, Some(&b""[..])));
    let own: Vec<Header> = own.collect();
    let authorization_len = match &keys {
        Keys::Fixed(signer) => signer.authorization_len(owner.as_deref(), &own),
        Keys::Renewed(renewed) => {
            let region = settings.region();
            let longest = Signer::longest_authorization(region, how, owner.as_deref(), &own);
            // In a file is what its operator wrote, whoever gave it.
            let more = match &renewed.source.kind {
                Kind::File { first, .. } => first.access_key_id().len(),
                _ => 0,
            };
            longest + more.saturating_sub(MAX_ACCESS_KEY_ID)
        }
    };
    let presigned_expires = settings.presigned_expires.unwrap_or(300);
    let presigned_text = presigned_expires.to_string();
    let signs_bucket = *how == Scheme::V2;
    Some(Signing {
        keys,
        authorization_len,
        signs_bucket,
        owner,
        scheme,
        presigned_expires,
        presigned_text,
    })
}
