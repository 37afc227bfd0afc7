//! From what the configuration says of keys to the sources that they come from.
//!
//! Nothing is asked here: what the environment says is read, and everything that can be wrong is told.

use std::env;
use std::path::Path;
use std::rc::Rc;

use ngx::ffi::{ngx_conf_t, NGX_LOG_NOTICE};
use thiserror::Error;

use super::blocks::{Block, Origin, Word};
use super::peer::{peer, PeerError};
use super::settings::Work;
use crate::credentials::source::{Authorization, From, Kind, Source, Sts};
use crate::log;
use crate::s3::auth::credentials::Credentials;
use crate::s3::auth::fingerprint;
use crate::s3::endpoint::is_region;
use crate::s3::sources::sts::{is_role_arn, is_session_name, Role};
use crate::s3::sources::uri::{Asked, Uri, UriError};

/// For how long a request waits for the first keys, in milliseconds.
const WAIT: usize = 5_000;
/// As whom STS is asked, where nobody says.
const SESSION_NAME: &str = "nginx";
/// The longest session of a role that another assumed role asks for, in seconds ("Role chaining", IAM User
/// Guide).
const CHAINED: u32 = 3_600;

/// Why a source cannot be used.
#[derive(Debug, Error)]
pub enum SourcesError {
    /// No block of that name.
    #[error(
        "there are none of that name; define them with \"s3_private_bucket_credentials {0} {{ ... }}\" in \
         http{{}}"
    )]
    Unknown(Box<str>),
    /// A block that does not say what it is.
    #[error(
        "it has no \"source\"; add \"source\" with \"instance\", \"container\", \"web_identity\", \
         \"assume_role\", \"default\" or \"file=path\""
    )]
    NoSource,
    /// A directive that means nothing for its source.
    #[error("\"{0}\" does not go with \"source {1}\"; remove it")]
    Surplus(&'static str, &'static str),
    /// A directive that its source needs.
    #[error("\"source {1}\" needs \"{0}\"; add it")]
    Missing(&'static str, &'static str),
    /// Keys that ask for themselves.
    #[error("it asks for its own keys: {0}; let one of them come from elsewhere")]
    Loop(String),
    /// A longer session than AWS gives.
    #[error(
        "\"duration\" is more than 1h, and STS gives no more to who asks with the keys of a role; use \
         at most \"1h\""
    )]
    Duration,
    /// The environment says that there is no metadata service.
    #[error(
        "AWS_EC2_METADATA_DISABLED is set in the environment of nginx's master process; unset it"
    )]
    Disabled,
    /// Neither IPv4 nor IPv6.
    #[error("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE is \"{0}\"; set it to \"IPv4\" or \"IPv6\"")]
    Mode(String),
    /// What ECS and EKS set.
    #[error(
        "the environment of nginx's master process has neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI \
         nor AWS_CONTAINER_CREDENTIALS_FULL_URI, which ECS and EKS Pod Identity set; give the task or \
         the service account a role"
    )]
    NoContainer,
    /// What EKS sets, or a directive.
    #[error(
        "it has no \"{directive}\", and the environment of nginx's master process no {variable}; set one \
         of them"
    )]
    NoValue { directive: &'static str, variable: &'static str },
    /// A value of the environment.
    #[error("{0} in the environment of nginx's master process is not valid: {1}")]
    Environment(&'static str, String),
    /// Where it is asked.
    #[error("\"endpoint\" is \"{0}\": {1}")]
    Endpoint(Box<str>, UriError),
    /// How it is asked.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

/// What a name stands for.
#[derive(Clone)]
pub enum Resolved {
    /// A key that stays, and where it is from.
    Fixed(Rc<Credentials>, Box<str>),
    /// Keys that are renewed.
    Source(Rc<Source>),
}

/// A name, and why it cannot be used.
#[derive(Debug, Error)]
#[error("cannot use the credentials \"{name}\": {error}")]
pub struct Refused {
    name: Box<str>,
    error: SourcesError,
}

/// The source of a file of AWS's tools, and what it held when the configuration was read.
pub fn of_file(work: &mut Work, path: &str, profile: &str, first: Rc<Credentials>) -> Resolved {
    let description = format!("file {path} {profile}");
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
                // SAFETY: cf is nginx's context.
                unsafe { log::of_configuration(cf, NGX_LOG_NOTICE, &block.name, what) };
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

/// What AWS's tools would take first; `None` for keys in the environment itself.
fn by_environment() -> Option<Word> {
    let has = |name| variable(name).is_some();
    if has("AWS_ACCESS_KEY_ID") && has("AWS_SECRET_ACCESS_KEY") {
        None
    } else if has("AWS_ROLE_ARN") && has("AWS_WEB_IDENTITY_TOKEN_FILE") {
        Some(Word::WebIdentity)
    } else if has("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        || has("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    {
        Some(Word::Container)
    } else {
        Some(Word::Instance)
    }
}

fn fixed_by_environment() -> Result<Resolved, SourcesError> {
    let [id, secret, token] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
        .map(|name| variable(name).unwrap_or_default());
    let token = Some(token.as_str()).filter(|token| !token.is_empty());
    let keys = Credentials::new(&id, &secret, token)
        .map_err(|error| SourcesError::Environment("AWS_ACCESS_KEY_ID", error.to_string()))?;
    Ok(Resolved::Fixed(Rc::new(keys), "env".into()))
}

/// A variable of the environment that is not empty.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// A variable of the environment as a URI.
fn uri_of(name: &'static str, asked: Asked) -> Result<Option<Uri>, SourcesError> {
    let parse = |text: String| {
        Uri::parse(&text, asked).map_err(|e| SourcesError::Environment(name, e.to_string()))
    };
    variable(name).map(parse).transpose()
}

unsafe fn instance(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    block: &Block,
) -> Result<(Kind, String), SourcesError> {
    if variable("AWS_EC2_METADATA_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
        return Err(SourcesError::Disabled);
    }
    let of_environment = || uri_of("AWS_EC2_METADATA_SERVICE_ENDPOINT", Asked::Instance);
    let uri = match written_endpoint(block, Asked::Instance)?
        .map_or_else(of_environment, |u| Ok(Some(u)))?
    {
        Some(uri) => uri,
        None => match variable("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE") {
            None => Uri::instance(false),
            Some(mode) if mode.eq_ignore_ascii_case("ipv4") => Uri::instance(false),
            Some(mode) if mode.eq_ignore_ascii_case("ipv6") => Uri::instance(true),
            Some(other) => return Err(SourcesError::Mode(other)),
        },
    };
    let authority = uri.authority();
    let description = format!("instance {authority}");
    // SAFETY: cf is nginx's context.
    let peer = unsafe { peer(cf, work, block, &uri) }?;
    Ok((Kind::Instance { peer, authority: authority.into() }, description))
}

unsafe fn container(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    block: &Block,
) -> Result<(Kind, String), SourcesError> {
    let name = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
    let uri = match variable(name) {
        Some(path) => Uri::relative(&path)
            .map_err(|error| SourcesError::Environment(name, error.to_string()))?,
        None => uri_of("AWS_CONTAINER_CREDENTIALS_FULL_URI", Asked::Container)?
            .ok_or(SourcesError::NoContainer)?,
    };
    let file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    let authorization = match (file, variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")) {
        (Some(file), _) => {
            // SAFETY: cf is nginx's context.
            unsafe { super::readable::warn(cf, &block.name, Path::new(&file)) };
            Authorization::File(file.into())
        }
        (None, Some(text)) => Authorization::Text(text.into()),
        (None, None) => Authorization::None,
    };
    let scheme = if uri.tls { "https" } else { "http" };
    let description = format!("container {scheme}://{}{}", uri.authority(), uri.target);
    // SAFETY: cf is nginx's context.
    let peer = unsafe { peer(cf, work, block, &uri) }?;
    let (authority, target) = (uri.authority().into(), uri.target.into());
    Ok((Kind::Container { peer, authority, target, authorization }, description))
}

unsafe fn web_identity(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    block: &Block,
) -> Result<(Kind, String), SourcesError> {
    let role_arn = role_or_variable(block.role_arn.as_deref())?;
    let (directive, name) = ("token_file", "AWS_WEB_IDENTITY_TOKEN_FILE");
    let token_file = match &block.token_file {
        Some(file) => file.clone(),
        None => variable(name).ok_or(SourcesError::NoValue { directive, variable: name })?.into(),
    };
    // SAFETY: cf is nginx's context.
    let (sts, description) = unsafe { sts(cf, work, block, role_arn) }?;
    let description = format!("web_identity {description} {}", token_file.display());
    // SAFETY: cf is nginx's context.
    unsafe { super::readable::warn(cf, &block.name, &token_file) };
    Ok((Kind::WebIdentity { sts, token_file }, description))
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

/// The endpoint of STS, and what it is asked for.
unsafe fn sts(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    block: &Block,
    role_arn: Box<str>,
) -> Result<(Sts, String), SourcesError> {
    let region = match &block.region {
        Some(region) => Some(region.clone()),
        None => region_of_environment()?,
    };
    let uri = match (written_endpoint(block, Asked::Sts)?, &region) {
        (Some(uri), _) => uri,
        (None, Some(region)) => Uri::sts(region),
        (None, None) => {
            let (directive, variable) = ("region", "AWS_REGION");
            return Err(SourcesError::NoValue { directive, variable });
        }
    };
    let name: Box<str> = match block.session_name.as_deref() {
        Some(name) => name.into(),
        None => match variable("AWS_ROLE_SESSION_NAME") {
            Some(name) if is_session_name(&name) => name.into(),
            Some(other) => {
                let error = format!("\"{other}\" is no session name");
                return Err(SourcesError::Environment("AWS_ROLE_SESSION_NAME", error));
            }
            None => SESSION_NAME.into(),
        },
    };
    let region: Box<str> = region.unwrap_or_else(|| "us-east-1".into());
    let role = Role {
        arn: role_arn,
        session_name: name,
        external_id: block.external_id.clone(),
        seconds: block.duration,
    };
    let scheme = if uri.tls { "https" } else { "http" };
    let description = format!(
        "{scheme}://{} {region} {} {} {} {}",
        uri.authority(),
        role.arn,
        role.session_name,
        role.external_id.as_deref().unwrap_or_default(),
        role.seconds.unwrap_or_default()
    );
    // SAFETY: cf is nginx's context.
    let peer = unsafe { peer(cf, work, block, &uri) }?;
    Ok((Sts { peer, authority: uri.authority().into(), region, role }, description))
}

fn written_endpoint(block: &Block, asked: Asked) -> Result<Option<Uri>, SourcesError> {
    let Some(text) = &block.endpoint else { return Ok(None) };
    let uri = Uri::parse(text, asked);
    uri.map(Some).map_err(|error| SourcesError::Endpoint(text.clone(), error))
}

/// The region of the environment, as AWS's tools look for it.
fn region_of_environment() -> Result<Option<Box<str>>, SourcesError> {
    for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
        match variable(name) {
            Some(region) if is_region(&region) => return Ok(Some(region.into())),
            Some(other) => {
                return Err(SourcesError::Environment(name, format!("\"{other}\" is no region")))
            }
            None => {}
        }
    }
    Ok(None)
}

/// The role of a directive, or of a variable of the environment in its place.
fn role_or_variable(written: Option<&str>) -> Result<Box<str>, SourcesError> {
    let (directive, name) = ("role_arn", "AWS_ROLE_ARN");
    match (written, variable(name)) {
        (Some(value), _) => Ok(value.into()),
        (None, Some(value)) if is_role_arn(&value) => Ok(value.into()),
        (None, Some(value)) => {
            Err(SourcesError::Environment(name, format!("\"{value}\" is not the ARN of a role")))
        }
        (None, None) => Err(SourcesError::NoValue { directive, variable: name }),
    }
}
