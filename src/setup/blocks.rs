//! What `s3_private_bucket_credentials` says, directive by directive.

use std::path::PathBuf;
use std::rc::Rc;

use ngx::ffi::{ngx_msec_t, ngx_resolver_t};

use super::place::Place;
use crate::credentials::source::Source;
use crate::s3::auth::credentials::Credentials;

/// What keys can be asked of, or the keys themselves.
#[derive(Clone)]
pub enum Origin {
    /// What the platform has.
    Word(Word),
    /// The block of that name.
    Block(Box<str>),
    /// A key that stays, and where it is from.
    Fixed(Rc<Credentials>, Box<str>),
    /// A file of AWS's tools, and what it held when the configuration was read.
    File { path: Box<str>, profile: Box<str>, first: Rc<Credentials> },
}

/// A source that has a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Instance,
    Container,
    WebIdentity,
    AssumeRole,
    /// What the environment says.
    Default,
}

impl Word {
    const ALL: [Word; 5] =
        [Word::Instance, Word::Container, Word::WebIdentity, Word::AssumeRole, Word::Default];

    /// The source of that word.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|word| word.text() == text)
    }

    /// The word.
    pub fn text(self) -> &'static str {
        match self {
            Word::Instance => "instance",
            Word::Container => "container",
            Word::WebIdentity => "web_identity",
            Word::AssumeRole => "assume_role",
            Word::Default => "default",
        }
    }
}

/// The directives of a block; `None` where there is none.
#[derive(Default)]
pub struct Block {
    /// The argument of the block.
    pub name: Box<str>,
    pub place: Place,
    pub source: Option<Origin>,
    pub from: Option<Origin>,
    pub role_arn: Option<Box<str>>,
    pub external_id: Option<Box<str>>,
    pub session_name: Option<Box<str>>,
    /// In seconds.
    pub duration: Option<u32>,
    pub region: Option<Box<str>>,
    /// As it is written: what may be asked there depends on the source.
    pub endpoint: Option<Box<str>>,
    pub token_file: Option<PathBuf>,
    pub trusted_certificate: Option<PathBuf>,
    pub resolver: Option<*mut ngx_resolver_t>,
    pub resolver_timeout: Option<ngx_msec_t>,
    pub wait: Option<ngx_msec_t>,
}

impl Block {
    /// The block that a word of `s3_private_bucket_auth` stands for.
    pub fn of(word: Word) -> Self {
        let source = Some(Origin::Word(word));
        Block { name: word.text().into(), source, ..Block::default() }
    }

    /// The names of the directives that are written, beside `source` and `wait`.
    pub fn written(&self) -> Vec<&'static str> {
        let all = [
            ("from", self.from.is_some()),
            ("role_arn", self.role_arn.is_some()),
            ("external_id", self.external_id.is_some()),
            ("session_name", self.session_name.is_some()),
            ("duration", self.duration.is_some()),
            ("region", self.region.is_some()),
            ("endpoint", self.endpoint.is_some()),
            ("token_file", self.token_file.is_some()),
            ("trusted_certificate", self.trusted_certificate.is_some()),
            ("resolver", self.resolver.is_some()),
            ("resolver_timeout", self.resolver_timeout.is_some()),
        ];
        all.into_iter().filter(|(_, is_written)| *is_written).map(|(name, _)| name).collect()
    }
}

/// What a name stands for.
#[derive(Clone)]
pub enum Resolved {
    /// A key that stays, and where it is from.
    Fixed(Rc<Credentials>, Box<str>),
    /// Keys that are renewed.
    Source(Rc<Source>),
}
