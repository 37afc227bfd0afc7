//! A server's name or address, and the addresses behind a name.

use core::cell::Cell;
use core::future::poll_fn;
use core::task::{Poll, Waker};
use std::net::{IpAddr, Ipv4Addr};

use ngx::ffi::{ngx_resolver_t, ngx_str_t};

use super::error::ClientError;
use crate::nginx::resolve::{ask, Answer, Asker, Question};

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name, for DNS and for the certificate.
    Name(Box<str>),
    /// An address, which the certificate has to have.
    Address(IpAddr),
}

impl Host {
    /// Reads a name or an address, IPv6 ones with or without brackets. `localhost` stays a name for the
    /// certificate.
    pub fn new(text: &str) -> Self {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        match bare.parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(text.into()),
        }
    }

    /// Its addresses, at least one, as long as it takes: the resolver goes on asking. DNS is not asked for `localhost`, so that it cannot lie.
    ///
    /// # Errors
    /// `NoResolver`, `NoAddress` or `Resolver`.
    ///
    /// # Safety
    /// In a worker's event loop; the resolver lives as long as the configuration, whose end is that of the future.
    pub async unsafe fn addresses(
        &self,
        resolver: Option<*mut ngx_resolver_t>,
    ) -> Result<Vec<IpAddr>, ClientError> {
        let name = match self {
            Host::Address(address) => return Ok(vec![*address]),
            Host::Name(name) if name.eq_ignore_ascii_case("localhost") => {
                return Ok(vec![Ipv4Addr::LOCALHOST.into()])
            }
            Host::Name(name) => name,
        };
        let resolver = resolver.ok_or(ClientError::NoResolver)?;
        // SAFETY: the caller's promises.
        match unsafe { Lookup::begin(name, resolver) }.answer().await {
            Answer::Addresses(found, _) if !found.is_empty() => {
                Ok(found.iter().map(|address| address.ip()).collect())
            }
            Answer::Addresses(..) | Answer::None => Err(ClientError::NoAddress),
            Answer::Failure(reason) => Err(ClientError::Resolver(reason)),
        }
    }
}

/// Somebody who waits for DNS.
struct Waiting {
    answer: Cell<Option<Answer>>,
    waker: Cell<Option<Waker>>,
}

impl Asker for Waiting {
    fn take(&self, answer: Answer) {
        self.answer.set(Some(answer));
        let waker = self.waker.take();
        // The task runs within it, and may be done with the answer behind it.
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A question that is taken back when it is dropped.
struct Lookup {
    waiting: *mut Waiting,
    name: *mut [u8],
    question: Option<Question>,
}

impl Lookup {
    /// # Safety
    /// As [`Host::addresses`].
    unsafe fn begin(name: &str, resolver: *mut ngx_resolver_t) -> Self {
        let waiting =
            Box::into_raw(Box::new(Waiting { answer: Cell::new(None), waker: Cell::new(None) }));
        let name: *mut [u8] = Box::into_raw(Box::from(name.as_bytes()));
        let text = ngx_str_t { len: name.len(), data: name.cast() };
        // SAFETY: the name and who waits are freed with the question, when it is answered or taken back.
        // It has no end of its own: who waits takes it back.
        let question = unsafe { ask(resolver, text, 0, waiting) };
        Lookup { waiting, name, question }
    }

    async fn answer(mut self) -> Answer {
        poll_fn(|cx| {
            // SAFETY: it lives as long as this.
            let waiting = unsafe { &*self.waiting };
            match waiting.answer.take() {
                Some(answer) => {
                    // nginx has forgotten it.
                    self.question = None;
                    Poll::Ready(answer)
                }
                None => {
                    waiting.waker.set(Some(cx.waker().clone()));
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        // SAFETY: both are ours; without an answer nginx has them until the question is taken back.
        unsafe {
            if (*self.waiting).answer.take().is_none() {
                if let Some(question) = self.question.take() {
                    question.cancel();
                }
            }
            drop(Box::from_raw(self.waiting));
            drop(Box::from_raw(self.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_names() {
        let v6 = Host::Address("fd00:ec2::254".parse().unwrap());
        for (text, host) in [
            ("169.254.169.254", Host::Address(Ipv4Addr::new(169, 254, 169, 254).into())),
            ("[fd00:ec2::254]", v6.clone()),
            ("fd00:ec2::254", v6),
            ("sts.example", Host::Name("sts.example".into())),
            ("localhost", Host::Name("localhost".into())),
        ] {
            assert_eq!(Host::new(text), host);
        }
    }
}
