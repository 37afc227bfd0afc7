//! Why an exchange failed, and where. No message has a byte of the request or of the answer.

use core::fmt;
use std::io;

use thiserror::Error;

use super::response::ResponseError;
use crate::nginx::resolve::Reason;

/// How far an exchange is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Asks DNS.
    Resolving,
    /// Connects to an address.
    Connecting,
    /// Agrees on TLS.
    Handshake,
    /// Sends the request.
    Sending,
    /// Waits for the answer, or reads it.
    Receiving,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Resolving => "while its name was looked up",
            Stage::Connecting => "while connecting",
            Stage::Handshake => "in the TLS handshake",
            Stage::Sending => "while the request was sent",
            Stage::Receiving => "while waiting for the answer",
        })
    }
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The time for all of it was over.
    #[error("timed out {0}")]
    TimedOut(Stage),
    /// A name, and no resolver to ask.
    #[error("no resolver is configured to look its name up")]
    NoResolver,
    /// DNS knows no such name, or no address of it.
    #[error("its name has no address")]
    NoAddress,
    /// DNS did not answer, or with an error.
    #[error("its name could not be looked up ({0})")]
    Resolver(Reason),
    /// No connection, for this reason of the system: refused, unreachable.
    #[error("could not connect ({0})")]
    Connect(io::Error),
    /// No TLS: no version or cipher in common, or the other side does not speak it.
    #[error("the TLS handshake failed")]
    Handshake,
    /// A certificate that is not trusted, is for another name, or is out of date, in OpenSSL's words.
    #[error("its certificate is not accepted ({0})")]
    Verify(String),
    /// The connection broke: it was reset, or TLS was.
    #[error("the connection broke {0} ({1})")]
    Lost(Stage, io::Error),
    /// Something that is no whole answer.
    #[error(transparent)]
    Response(#[from] ResponseError),
    /// The worker ends, so that nobody waits for the answer.
    #[error("nginx is shutting down")]
    Exiting,
    /// nginx has no connection or memory left; it has logged why.
    #[error("nginx could not open a connection")]
    NoConnection,
}
