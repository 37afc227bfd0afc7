//! From what the configuration says of keys to the sources that they come from.
//!
//! Nothing is asked here: what the environment says is read, and everything that can be wrong is told.

use std::env;
use std::rc::Rc;

use ngx::ffi::{ngx_conf_t, NGX_LOG_NOTICE, NGX_LOG_WARN};

use super::blocks::{Block, Origin, Resolved, Word};
use super::platform::{
    by_environment, container, fixed_by_environment, instance, sts, web_identity,
};
use super::settings::Work;
use super::source_error::{Refused, SourcesError};
use crate::credentials::source::{From, Kind, Source};
use crate::log;
use crate::s3::auth::credentials::Credentials;
use crate::s3::auth::fingerprint;

/// For how long a request waits for the first keys, in milliseconds.
const WAIT: usize = 5_000;
/// The longest session of a role that another assumed role asks for, in seconds ("Role chaining", IAM User
/// Guide).
const CHAINED: u32 = 3_600;

/// What an operator has to know of an upgrade on the fly.
const HANDED_ON: &str =
    "; an upgrade on the fly hands on only those AWS_ variables that an \"env\" directive names";

/// The source of a file of AWS's tools, and what it held when the configuration was read.
pub fn of_file(work: &mut Work, path: &str, profile: &str, first: Rc<Credentials>) -> Resolved {
    // Both can have spaces, and a path has no NUL: "a b" and "c" are not "a" and "b c".
    let between = if profile.contains(' ') { '\0' } else { ' ' };
    let description = format!("file {path}{between}{profile}");
    // No block has a name with spaces.
    if let Some((_, known)) = work.resolved.iter().find(|(known, _)| **known == *description) {
        return known.clone();
    }
    let kind = Kind::File { path: path.into(), profile: profile.into(), first };
    let digest = fingerprint(&description);
    let source = Source::new(path, kind, WAIT, description.clone(), digest);
    let made = Resolved::Source(Rc::new(source));
    work.resolved.push((description.into(), made.clone()));
    made
}

/// Looks at all blocks, whether they are used or not.
///
/// # Errors
/// The first one that is wrong, and where it stands.
///
/// # Safety
/// `cf` is nginx's context in a postconfiguration hook.
pub unsafe fn check(cf: *mut ngx_conf_t, work: &mut Work) -> Result<(), (Refused, String)> {
    let names: Vec<_> = work.blocks.iter().map(|b| (b.name.clone(), b.place.to_string())).collect();
    for (name, place) in &names {
        // SAFETY: the caller's promise.
        if let Err(error) = unsafe { resolve(cf, work, name) } {
            // What is wrong may be the one whose keys ask for these.
            let wrong = names.iter().find(|(name, _)| *name == error.name);
            return Err((error, wrong.map_or(place, |(_, place)| place).clone()));
        }
    }
    Ok(())
}

/// What keys a name stands for: that of a block, or a word.
///
/// # Errors
/// Why it stands for none.
///
/// # Safety
/// As for [`check`].
pub unsafe fn resolve(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    name: &str,
) -> Result<Resolved, Refused> {
    let mut path = Vec::new();
    // SAFETY: the caller's promise.
    unsafe { named(cf, work, name, &mut path) }.map_err(|error| {
        let name = path.pop().unwrap_or_default();
        Refused { name, error }
    })
}

/// [`resolve`], on the way from `path`; an error leaves the way to what is wrong there.
unsafe fn named(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    name: &str,
    path: &mut Vec<Box<str>>,
) -> Result<Resolved, SourcesError> {
    if let Some((_, known)) = work.resolved.iter().find(|(known, _)| **known == *name) {
        return Ok(known.clone());
    }
    path.push(name.into());
    if path[..path.len() - 1].iter().any(|before| **before == *name) {
        return Err(SourcesError::Loop(path.join(" -> ")));
    }
    let at = work.blocks.iter().position(|block| *block.name == *name);
    let block = match (at, Word::named(name)) {
        (Some(at), _) => work.blocks.swap_remove(at),
        (None, Some(word)) if word != Word::AssumeRole => Block::of(word),
        (None, _) => return Err(SourcesError::Unknown(name.into())),
    };
    // SAFETY: the caller's promise.
    let made = unsafe { make(cf, work, &block, path) };
    if at.is_some() {
        work.blocks.push(block);
    }
    let made = made?;
    path.pop();
    work.resolved.push((name.into(), made.clone()));
    Ok(made)
}

unsafe fn make(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    block: &Block,
    path: &mut Vec<Box<str>>,
) -> Result<Resolved, SourcesError> {
    let (kind, description) = match block.source.as_ref().ok_or(SourcesError::NoSource)? {
        Origin::Word(word) => {
            let chosen = if *word == Word::Default { by_environment() } else { Some(*word) };
            if *word == Word::Default {
                let what = chosen.map_or("AWS_ACCESS_KEY_ID", Word::text);
                let what = format!("chosen by the environment: {what}");
                // What says another source may be missing, and the instance's role may do more.
                let (level, more) = match chosen == Some(Word::Instance) && is_handed_on() {
                    true => (NGX_LOG_WARN, HANDED_ON),
                    false => (NGX_LOG_NOTICE, ""),
                };
                // SAFETY: cf is nginx's context.
                unsafe { log::of_configuration(cf, level, &block.name, what + more) };
            }
            let Some(word) = chosen else {
                return fixed_by_environment();
            };
            only(block, word.text(), allowed(word))?;
            // SAFETY: the caller's promise.
            unsafe {
                match word {
                    Word::Instance | Word::Default => instance(cf, work, block)?,
                    Word::Container => container(cf, work, block)?,
                    Word::WebIdentity => web_identity(cf, work, block)?,
                    Word::AssumeRole => assume_role(cf, work, block, path)?,
                }
            }
        }
        Origin::File { path, profile, first } => {
            only(block, "file=path", &[])?;
            return Ok(of_file(work, path, profile, first.clone()));
        }
        Origin::Fixed(keys, from) => return Ok(Resolved::Fixed(keys.clone(), from.clone())),
        Origin::Block(name) => return Err(SourcesError::Unknown(name.clone())),
    };
    let digest = fingerprint(&description);
    let wait = block.wait.unwrap_or(WAIT);
    let source = Source::new(&block.name, kind, wait, description, digest);
    Ok(Resolved::Source(Rc::new(source)))
}

/// Whether another nginx has started this one, in an upgrade on the fly.
fn is_handed_on() -> bool {
    env::var_os("NGINX").is_some()
}

/// The directives beside `wait` that a source has.
fn allowed(word: Word) -> &'static [&'static str] {
    match word {
        Word::Instance | Word::Default => &["endpoint"],
        Word::Container => &["trusted_certificate", "resolver", "resolver_timeout"],
        Word::WebIdentity => &[
            "role_arn",
            "session_name",
            "duration",
            "region",
            "endpoint",
            "token_file",
            "trusted_certificate",
            "resolver",
            "resolver_timeout",
        ],
        Word::AssumeRole => &[
            "from",
            "role_arn",
            "external_id",
            "session_name",
            "duration",
            "region",
            "endpoint",
            "trusted_certificate",
            "resolver",
            "resolver_timeout",
        ],
    }
}

fn only(block: &Block, source: &'static str, allowed: &[&str]) -> Result<(), SourcesError> {
    match block.written().into_iter().find(|name| !allowed.contains(name)) {
        Some(name) => Err(SourcesError::Surplus(name, source)),
        None => Ok(()),
    }
}

unsafe fn assume_role(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    block: &Block,
    path: &mut Vec<Box<str>>,
) -> Result<(Kind, String), SourcesError> {
    let word = Word::AssumeRole.text();
    let role_arn = block.role_arn.clone().ok_or(SourcesError::Missing("role_arn", word))?;
    // SAFETY: the caller's promise.
    let base = unsafe {
        match block.from.as_ref().ok_or(SourcesError::Missing("from", word))? {
            Origin::Word(word) => named(cf, work, word.text(), path)?,
            Origin::Block(name) => named(cf, work, name, path)?,
            Origin::Fixed(keys, from) => Resolved::Fixed(keys.clone(), from.clone()),
            Origin::File { path, profile, first } => of_file(work, path, profile, first.clone()),
        }
    };
    let (from, asker) = match base {
        Resolved::Fixed(keys, from) => (From::Fixed(keys), from),
        Resolved::Source(source) => {
            let is_role = matches!(
                source.kind,
                Kind::Instance { .. }
                    | Kind::Container { .. }
                    | Kind::WebIdentity { .. }
                    | Kind::AssumeRole { .. }
            );
            if is_role && block.duration.is_some_and(|seconds| seconds > CHAINED) {
                return Err(SourcesError::Duration);
            }
            let asker = source.description.clone();
            (From::Source(source), asker)
        }
    };
    // SAFETY: cf is nginx's context.
    let (sts, description) = unsafe { sts(cf, work, block, role_arn) }?;
    let description = format!("assume_role {description} from {asker}");
    Ok((Kind::AssumeRole { sts, from }, description))
}
