//! One attempt to get the keys of a source: what it is asked, over which way, until they are there.

use core::future::Future;
use core::pin::Pin;
use core::ptr::NonNull;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::rc::Rc;

use ngx::ffi::{ngx_log_t, ngx_msec_t, ngx_time, O_NONBLOCK};
use thiserror::Error;

use super::slot::Slot;
use super::source::{Authorization, From, Kind, Source, Sts};
use crate::nginx::client::error::{ClientError, Stage};
use crate::nginx::client::response::Reply as Received;
use crate::nginx::client::{exchange, Peer};
use crate::s3::auth::credentials::{Credentials, CredentialsError};
use crate::s3::auth::sigv4::Signer;
use crate::s3::sources::error::SourceError;
use crate::s3::sources::instance::Instance;
use crate::s3::sources::{container, Keys, Reply, Request, Step, HOP_LIMIT};
use crate::s3::zeroed::Zeroed;

/// The longest file that is read for a source, in bytes.
const MOST: u64 = 1024 * 1024;

/// Why an attempt failed.
#[derive(Debug, Error)]
pub enum Failure {
    /// The source was not reached, or did not answer in time; what can be done about it.
    #[error("{0}{1}")]
    Client(ClientError, Hint),
    /// It answered something else.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file that is read for it.
    #[error("cannot read the {0} file as the user of nginx's workers ({1})")]
    File(&'static str, io::Error),
    /// Longer than any that has keys.
    #[error("the {0} file is larger than 1 MiB")]
    Large(&'static str),
    /// A file of AWS's tools.
    #[error("cannot use the credentials in the file: {0}")]
    Credentials(#[from] CredentialsError),
    /// Other keys are needed first.
    #[error("it asks with the keys of \"{0}\", which are not there")]
    Base(Box<str>),
    /// Longer than any that AWS gives.
    #[error("the keys are too long to be kept")]
    Size,
}

/// What an operator can do about a source that is not reached.
#[derive(Debug, Clone, Copy)]
pub struct Hint(&'static str);

impl core::fmt::Display for Hint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(if self.0.is_empty() { "" } else { "; " })?;
        f.write_str(self.0)
    }
}

impl Failure {
    /// Whether nothing but an operator can change it.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Failure::Source(error) if !error.passes())
    }
}

/// What is remembered from one attempt to the next.
#[derive(Default)]
pub struct Asker {
    instance: Instance,
    seen: Option<Seen>,
}

/// What tells a file from what it was: a Kubernetes secret is swapped by a symbolic link.
#[derive(PartialEq, Eq)]
struct Seen {
    inode: (u64, u64),
    len: u64,
    changed: (i64, i64),
}

impl Asker {
    /// Asks a source for its keys; `None` when they are those of the last time.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn ask(
        &mut self,
        source: &Source,
        log: NonNull<ngx_log_t>,
    ) -> Result<Option<Keys>, Failure> {
        let limit = source.limit();
        let keys = match &source.kind {
            Kind::Instance { peer, authority } => {
                let mut request = self.instance.begin(ngx_time());
                loop {
                    let received = talk((peer, authority), &request, limit, log).await;
                    let received = received.map_err(of_instance)?;
                    let step = read_as(&received, |reply| self.instance.answer(reply, ngx_time()))?;
                    match step {
                        Step::Ask(next) => request = next,
                        Step::Done(keys) => break keys,
                    }
                }
            }
            Kind::Container { peer, authority, target, authorization } => {
                let file;
                let token = match authorization {
                    Authorization::None => None,
                    Authorization::Text(text) => Some(text.as_bytes()),
                    Authorization::File(path) => {
                        file = read("authorization token", path)?;
                        Some(file.as_bytes())
                    }
                };
                let request = container::begin(target, token)?;
                let received = talk((peer, authority), &request, limit, log).await;
                let received = received.map_err(|error| Failure::Client(error, Hint("")))?;
                done(read_as(&received, |reply| container::answer(reply, ngx_time()))?)?
            }
            Kind::WebIdentity { sts, token_file } => {
                let token = read("token", token_file)?;
                let request = sts.role.with_web_identity(token.as_bytes())?;
                ask_sts(sts, &request, limit, log).await?
            }
            Kind::AssumeRole { sts, from } => {
                let signer = Signer::new(base(from)?, &sts.region, "sts");
                let request = sts.role.assume(&signer, &sts.authority, ngx_time());
                ask_sts(sts, &request, limit, log).await?
            }
            Kind::File { path, profile, .. } => return self.look(path, profile),
        };
        Ok(Some(keys))
    }

    /// Reads a file of AWS's tools if it is another than the last time.
    fn look(&mut self, path: &Path, profile: &str) -> Result<Option<Keys>, Failure> {
        let unreadable = |error| Failure::File("credentials", error);
        let meta = fs::metadata(path).map_err(unreadable)?;
        let seen = Seen {
            inode: (meta.dev(), meta.ino()),
            len: meta.len(),
            changed: (meta.mtime(), meta.mtime_nsec()),
        };
        if self.seen.as_ref() == Some(&seen) {
            return Ok(None);
        }
        let text = read("credentials", path)?;
        let credentials = Credentials::in_file(text.as_bytes(), profile)?;
        self.seen = Some(seen);
        Ok(Some(Keys { credentials, expires: None, of: None }))
    }
}

/// The keys that ask for those of a role.
fn base(from: &From) -> Result<Rc<Credentials>, Failure> {
    match from {
        From::Fixed(keys) => Ok(keys.clone()),
        From::Source(source) => match source.slot().and_then(Slot::keys) {
            Some((_, keys)) => Ok(Rc::new(keys)),
            None => Err(Failure::Base(source.name.clone())),
        },
    }
}

async fn ask_sts(
    sts: &Sts,
    request: &Request,
    limit: ngx_msec_t,
    log: NonNull<ngx_log_t>,
) -> Result<Keys, Failure> {
    let received = talk((&sts.peer, &sts.authority), request, limit, log).await;
    let received = received.map_err(|error| Failure::Client(error, Hint("")))?;
    done(read_as(&received, |reply| sts.role.answer(reply, ngx_time()))?)
}

/// Sends a request, and waits for its answer. Behind a pointer: who waits for it would have a copy of the client's
/// code each.
fn talk<'a>(
    (peer, authority): (&'a Peer, &'a str),
    request: &'a Request,
    limit: ngx_msec_t,
    log: NonNull<ngx_log_t>,
) -> Pin<Box<dyn Future<Output = Result<Received, ClientError>> + 'a>> {
    Box::pin(async move {
        let bytes = request.to_bytes(authority);
        // SAFETY: tasks run in a worker's event loop, and end before the configuration does.
        unsafe { exchange(peer, bytes.as_bytes(), limit, log) }.await
    })
}

/// An instance's metadata service that never answers is told apart from others.
fn of_instance(error: ClientError) -> Failure {
    let hint = match error {
        ClientError::TimedOut(Stage::Receiving) => HOP_LIMIT,
        ClientError::TimedOut(_) | ClientError::Connect(_) => "is this an EC2 instance?",
        _ => "",
    };
    Failure::Client(error, Hint(hint))
}

/// What an answer means.
fn read_as<T>(
    received: &Received,
    read: impl FnOnce(&Reply) -> Result<T, SourceError>,
) -> Result<T, Failure> {
    let headers: Vec<_> = received.headers.iter().map(|(n, v)| (&**n, &**v)).collect();
    let reply = Reply { status: received.status, headers: &headers, body: &received.body };
    Ok(read(&reply)?)
}

/// The keys of a source that is asked once.
fn done(step: Step) -> Result<Keys, Failure> {
    match step {
        Step::Done(keys) => Ok(keys),
        Step::Ask(_) => Err(SourceError::Answer("set of keys").into()),
    }
}

/// Opens a file for reading, if nobody has to be waited for: a FIFO would stop the worker.
fn open(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(O_NONBLOCK as i32).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("not a regular file")),
    }
}

/// Reads a small file.
fn read(what: &'static str, path: &Path) -> Result<Zeroed, Failure> {
    // A string that grew would leave a copy of what it held.
    let mut text = String::with_capacity(MOST as usize + 2);
    let read = open(path).and_then(|file| file.take(MOST + 1).read_to_string(&mut text));
    let text = Zeroed::from(text);
    match read {
        // The rest may be that of a secret.
        Ok(len) if len as u64 > MOST => Err(Failure::Large(what)),
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::File(what, error)),
    }
}
