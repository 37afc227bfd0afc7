//! What a location signs with: a key that stays, or a worker's copy of one that is renewed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::source::Source;
use crate::s3::auth::signer::{Scheme, Signer};

/// What a location signs with.
#[derive(Clone)]
pub enum Keys {
    /// A key that stays as the configuration has it.
    Fixed(Rc<Signer>),
    /// A key that is renewed.
    Renewed(Rc<Renewed>),
}

/// A worker's copy of keys that are renewed, for one region and way to sign.
pub struct Renewed {
    pub source: Rc<Source>,
    region: Box<str>,
    scheme: Scheme,
    /// The version that the signer is of.
    version: Cell<u64>,
    signer: RefCell<Option<Rc<Signer>>>,
}

impl Keys {
    /// The signer of now, and the version of its keys, 0 for one that stays; `None` where there are no keys
    /// yet.
    #[inline]
    pub fn signer(&self) -> Option<(u64, Rc<Signer>)> {
        match self {
            Keys::Fixed(signer) => Some((0, signer.clone())),
            Keys::Renewed(renewed) => renewed.signer(),
        }
    }

    /// When the keys of now end, in Unix seconds, if they do.
    pub fn end(&self) -> Option<i64> {
        self.source()?.slot()?.expires()
    }

    /// Where the keys are from, if they are renewed.
    pub fn source(&self) -> Option<&Rc<Source>> {
        match self {
            Keys::Fixed(_) => None,
            Keys::Renewed(renewed) => Some(&renewed.source),
        }
    }
}

impl Renewed {
    /// Keys of a source, to sign with for a region.
    pub fn new(source: Rc<Source>, region: &str, scheme: &Scheme) -> Self {
        let (version, signer) = Default::default();
        Renewed { source, region: region.into(), scheme: scheme.clone(), version, signer }
    }

    /// Whether this is what [`Renewed::new`] would make.
    pub fn is_for(&self, source: &Rc<Source>, region: &str, scheme: &Scheme) -> bool {
        Rc::ptr_eq(&self.source, source) && *self.region == *region && self.scheme == *scheme
    }

    #[inline]
    fn signer(&self) -> Option<(u64, Rc<Signer>)> {
        let slot = self.source.slot()?;
        if slot.version() != self.version.get() {
            self.renew();
        }
        Some((self.version.get(), self.signer.borrow().clone()?))
    }

    /// Takes the keys that are there now. While they are being replaced the old ones stay.
    #[cold]
    fn renew(&self) {
        let Some((version, keys)) = self.source.slot().and_then(|slot| slot.keys()) else { return };
        let signer = Signer::new(Rc::new(keys), &self.region, &self.scheme);
        self.version.set(version);
        self.signer.replace(Some(Rc::new(signer)));
    }
}
