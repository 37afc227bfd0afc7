//! Where keys are from, as the configuration says.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;

use ngx::ffi::ngx_msec_t;

use super::schedule::Pace;
use super::slot::{Slot, State};
use crate::nginx::client::Peer;
use crate::nginx::zone::{Digest, Tenant};
use crate::s3::auth::credentials::Credentials;
use crate::s3::sources::sts::Role;
use crate::s3::zeroed::Zeroed;

/// A source of keys.
pub struct Source {
    /// Its name in log lines: that of a block, or the word.
    pub name: Box<str>,
    pub kind: Kind,
    /// For how long a request waits for the first keys.
    pub wait: ngx_msec_t,
    /// Its parameters as text, which tells it from others: no secret is in it.
    pub description: Box<str>,
    digest: Digest,
    slot: Cell<Option<&'static Slot>>,
}

/// What is asked for keys.
pub enum Kind {
    /// The metadata service of an EC2 instance.
    Instance { peer: Peer, authority: Box<str> },
    /// The endpoint for a container's keys.
    Container { peer: Peer, authority: Box<str>, target: Box<str>, authorization: Authorization },
    /// STS, for a token that somebody else has written.
    WebIdentity { sts: Sts, token_file: PathBuf },
    /// STS, with other keys.
    AssumeRole { sts: Sts, from: From },
    /// A file of AWS's tools, whose keys the configuration has read.
    File { path: PathBuf, profile: Box<str>, first: Rc<Credentials> },
}

/// What lets a container ask for its keys.
pub enum Authorization {
    None,
    Text(Zeroed),
    /// A file that is read each time.
    File(PathBuf),
}

/// An endpoint of STS, and what it is asked for.
pub struct Sts {
    pub peer: Peer,
    /// The value of `Host`.
    pub authority: Box<str>,
    /// What requests are signed for.
    pub region: Box<str>,
    pub role: Role,
}

/// Whose keys ask for those of a role.
pub enum From {
    Fixed(Rc<Credentials>),
    Source(Rc<Source>),
}

impl Source {
    /// A source that `description` tells from others, by what `digest` is made of it.
    pub fn new(
        name: &str,
        kind: Kind,
        wait: ngx_msec_t,
        description: String,
        digest: Digest,
    ) -> Self {
        let description = description.into();
        Source { name: name.into(), kind, wait, description, digest, slot: Cell::new(None) }
    }

    /// What all processes know of it; `None` until the configuration is in force.
    #[inline]
    pub fn slot(&self) -> Option<&'static Slot> {
        self.slot.get()
    }

    /// What requests find.
    pub fn state(&self) -> State {
        self.slot().map_or(State::None, Slot::state)
    }

    /// How its keys are renewed.
    pub fn pace(&self) -> Pace {
        match self.kind {
            Kind::Instance { .. } | Kind::Container { .. } => Pace::Platform,
            Kind::WebIdentity { .. } | Kind::AssumeRole { .. } => Pace::Made,
            Kind::File { .. } => Pace::Watched,
        }
    }

    /// Whether somebody is asked for its keys: what is written to a file is an operator's.
    pub fn is_fetched(&self) -> bool {
        !matches!(self.kind, Kind::File { .. })
    }

    /// For how long one question may take, answer and all, in milliseconds.
    pub fn limit(&self) -> ngx_msec_t {
        match self.kind {
            Kind::Instance { .. } => 1_000,
            Kind::Container { .. } => 5_000,
            Kind::WebIdentity { .. } | Kind::AssumeRole { .. } | Kind::File { .. } => 10_000,
        }
    }
}

impl Tenant<Slot> for Source {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn move_in(&self, slot: &'static Slot) {
        self.slot.set(Some(slot));
        if let Kind::File { first, .. } = &self.kind {
            // What the master has read is newer than what was there.
            if slot.keys().is_none_or(|(_, keys)| keys != **first) {
                slot.publish(first, None, 0);
            }
        }
    }
}
