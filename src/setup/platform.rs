//! What the platform says of its keys: the environment of nginx's master process, and what a block says in its
//! place.

use std::env;
use std::path::Path;
use std::rc::Rc;

use ngx::ffi::ngx_conf_t;

use super::blocks::{Block, Resolved, Word};
use super::peer::peer;
use super::readable;
use super::settings::Work;
use super::source_error::SourcesError;
use crate::credentials::source::{Authorization, Kind, Sts};
use crate::s3::auth::credentials::Credentials;
use crate::s3::endpoint::is_region;
use crate::s3::sources::sts::{is_role_arn, is_session_name, Role};
use crate::s3::sources::uri::{Asked, Uri};

/// As whom STS is asked, where nobody says.
const SESSION_NAME: &str = "nginx";

/// What AWS's tools would take first; `None` for keys in the environment itself.
pub fn by_environment() -> Option<Word> {
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

/// The keys of the environment itself.
///
/// # Errors
/// When they are none.
pub fn fixed_by_environment() -> Result<Resolved, SourcesError> {
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

/// The metadata service of an instance, and what tells it from others.
///
/// # Errors
/// What is wrong with it.
///
/// # Safety
/// `cf` is nginx's context in a postconfiguration hook.
pub unsafe fn instance(
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

/// The endpoint for a container's keys, likewise.
///
/// # Errors
/// What is wrong with it.
///
/// # Safety
/// As for [`instance`].
pub unsafe fn container(
    cf: *mut ngx_conf_t,
    work: &mut Work,
    block: &Block,
) -> Result<(Kind, String), SourcesError> {
    let name = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
    let (uri, is_of_task) = match variable(name) {
        Some(path) => {
            let uri = Uri::relative(&path);
            (uri.map_err(|error| SourcesError::Environment(name, error.to_string()))?, true)
        }
        None => {
            let uri = uri_of("AWS_CONTAINER_CREDENTIALS_FULL_URI", Asked::Container)?;
            (uri.ok_or(SourcesError::NoContainer)?, false)
        }
    };
    let file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    let authorization = match (file, variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")) {
        (Some(file), _) => {
            // SAFETY: cf is nginx's context.
            unsafe { readable::warn(cf, &block.name, Path::new(&file)) };
            Authorization::File(file.into())
        }
        (None, Some(text)) => Authorization::Text(text.into()),
        (None, None) => Authorization::None,
    };
    let scheme = if uri.tls { "https" } else { "http" };
    // ECS gives each task a path of its own, which is all that protects its keys; a cache outlives the task.
    let target = if is_of_task { "" } else { &uri.target };
    let description = format!("container {scheme}://{}{target}", uri.authority());
    // SAFETY: cf is nginx's context.
    let peer = unsafe { peer(cf, work, block, &uri) }?;
    let (authority, target) = (uri.authority().into(), uri.target.into());
    Ok((Kind::Container { peer, authority, target, authorization }, description))
}

/// A role for a token, likewise.
///
/// # Errors
/// What is wrong with it.
///
/// # Safety
/// As for [`instance`].
pub unsafe fn web_identity(
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
    unsafe { readable::warn(cf, &block.name, &token_file) };
    Ok((Kind::WebIdentity { sts, token_file }, description))
}

/// The endpoint of STS, and what it is asked for, likewise.
///
/// # Errors
/// What is wrong with it.
///
/// # Safety
/// As for [`instance`].
pub unsafe fn sts(
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
