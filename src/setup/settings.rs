//! What the user wrote, and what set-up knows of it until the configuration is read.

use core::ffi::c_void;
use core::ptr;
use std::collections::BTreeMap;
use std::rc::Rc;

use ngx::ffi::{
    ngx_conf_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t, ngx_http_core_srv_conf_t,
    ngx_resolver_t, ngx_str_t,
};

use super::blocks::{Block, Resolved};
use super::counted::Counted;
use super::groups::Keepalive;
use super::place::Place;
use super::tls;
use super::written::{Footprints, Written};
use crate::credentials::keys::{Keys, Renewed};
use crate::credentials::source::{self, From, Source};
use crate::location::{Bucket, Location, Own, Serving, Shared};
use crate::nginx::http_core::Regex;
use crate::nginx::value::Value;
use crate::nginx::{resolver, Failed};
use crate::s3::access_point::AccessPoint;
use crate::s3::auth::credentials::Credentials;
use crate::s3::auth::signer::{Scheme, Signer};
use crate::s3::auth::{Auth, Digest, Identity};
use crate::s3::aws::{Asked, Features, NoEndpoint};
use crate::s3::endpoint::{Addressing, Endpoint};

/// The default of `s3_private_bucket_region`.
const DEFAULT_REGION: &str = "us-east-1";

/// What nginx keeps for one `location`, `if` or `limit_except`: what its requests need comes first.
#[derive(Default)]
#[repr(C)]
pub struct LocationConf {
    pub location: Location,
    pub settings: Settings,
    pub known: Known,
}

/// The directives of a location, merged with those around it; `None` where there is none.
#[derive(Default)]
pub struct Settings {
    pub bucket: BucketSetting,
    pub region: Option<Rc<str>>,
    pub endpoint: Option<Rc<EndpointSetting>>,
    pub addressing: Option<Addressing>,
    pub auth: Option<Rc<Auth>>,
    /// `Some(None)` for `off`.
    pub expected_owner: Option<Option<Rc<str>>>,
    /// In seconds.
    pub presigned_expires: Option<u32>,
    pub key: Option<Value>,
    pub index: Option<Rc<str>>,
    pub pass_args: Option<Rc<[Box<[u8]>]>>,
    /// Sorted by name.
    pub set_args: Option<Rc<Vec<Own>>>,
    /// Likewise, in lower case.
    pub set_headers: Option<Rc<Vec<Own>>>,
    pub pass_headers: Option<Rc<[Box<[u8]>]>>,
    /// Whether errors are masked.
    pub masks: Option<bool>,
    pub append_slash: Option<bool>,
    pub website_redirects: Option<bool>,
    /// `Some(None)` for `off`.
    pub autoindex: Option<Option<Rc<AutoindexSetting>>>,
    pub keepalive: Option<Rc<Keepalive>>,
    /// Where the directive stands; not inherited.
    pub status: Option<Place>,
}

impl Settings {
    /// The access point in the place of a bucket, which was valid when the directive was read.
    pub fn access_point(&self) -> Option<AccessPoint<'static>> {
        let BucketSetting::On(bucket, _) = &self.bucket else { return None };
        let name = bucket.name.constant().and_then(|name| core::str::from_utf8(name).ok())?;
        AccessPoint::parse(name).ok()
    }

    /// The region that requests are signed for: an access point's own.
    pub fn region(&self) -> &str {
        match self.access_point() {
            Some(point) => point.region,
            None => self.region.as_deref().unwrap_or(DEFAULT_REGION),
        }
    }

    /// The account that has to own the bucket.
    pub fn owner(&self) -> Option<Rc<str>> {
        self.expected_owner.clone().flatten()
    }

    /// How the bucket is named in requests; access points and accelerated endpoints have one way.
    pub fn addressing(&self) -> Addressing {
        match self.access_point().is_some() || self.features().is_some_and(|f| f.accelerate) {
            true => Addressing::Virtual,
            false => self.addressing.unwrap_or(Addressing::Auto),
        }
    }

    /// Which of AWS's own endpoints is meant, if one of them is.
    pub fn features(&self) -> Option<Features> {
        match self.endpoint.as_deref().map(|setting| &setting.service) {
            None => Some(Features::default()),
            Some(Service::Aws(features)) => Some(*features),
            Some(Service::Url(_)) => None,
        }
    }

    /// Looks whether AWS has the endpoint that is meant.
    ///
    /// # Errors
    /// Why it has none.
    pub fn check_endpoint(&self) -> Result<(), NoEndpoint> {
        let (Some(features), BucketSetting::On(bucket, _)) = (self.features(), &self.bucket) else {
            return Ok(());
        };
        let asked = match bucket.name.constant() {
            _ if self.access_point().is_some() => Asked::AccessPoint,
            Some(name) => Asked::Bucket(name),
            None => Asked::AnyBucket,
        };
        features.check(self.region(), self.addressing, asked)
    }

    /// Whether clients see nginx's errors and not S3's.
    pub fn masks(&self) -> bool {
        self.masks.unwrap_or(true)
    }

    /// Where requests go: to AWS's endpoint of the region when none is set. It is not put into
    /// [`Settings::endpoint`], which nested locations inherit: theirs can be of another region.
    pub fn destination(&self) -> Destination {
        let setting = self.endpoint.as_deref();
        let endpoint = match setting.map(|setting| &setting.service) {
            Some(Service::Url(endpoint)) => endpoint.clone(),
            _ => {
                let features = self.features().unwrap_or_default();
                features.endpoint(self.region(), self.access_point().is_some())
            }
        };
        Destination { endpoint, upstream: setting.and_then(|setting| setting.upstream.clone()) }
    }
}

/// The arguments of `s3_private_bucket_autoindex`.
pub struct AutoindexSetting {
    pub format: Value,
    /// How many entries a page has at most.
    pub page: u32,
    pub exact_size: bool,
    pub localtime: bool,
    /// For how many seconds a listing is stored; 0 for not at all.
    pub valid: usize,
}

/// What a location's requests for listings need, and those of the `if` and `limit_except` blocks in it.
pub struct Listings {
    pub serving: Rc<Serving>,
    /// Whether the folder's index page comes first.
    pub is_behind_index: bool,
    /// How long a listing is stored, in seconds.
    pub valid: usize,
    /// The headers that go to S3.
    pub headers: Vec<[ngx_str_t; 2]>,
    /// What tells apart what S3 is asked for.
    pub cache_key: String,
}

/// What is known of a location when it is merged.
pub struct Known {
    /// Whether its requests go to a bucket.
    pub serves: bool,
    /// Its literal prefix, `/` when it has none.
    pub prefix: &'static [u8],
    /// Its regular expression, that of the location around a block; NULL where there is none.
    pub regex: *const Regex,
    /// Its array of all modules' configurations.
    pub loc_conf: Option<*mut *mut c_void>,
    /// Whether it says itself that connections are to be kept.
    pub keeps: bool,
    /// What its requests for listings need, once it is installed.
    pub folder: Option<Rc<Listings>>,
}

impl Default for Known {
    fn default() -> Self {
        Known {
            serves: false,
            prefix: b"/",
            regex: ptr::null(),
            loc_conf: None,
            keeps: false,
            folder: None,
        }
    }
}

/// The argument of `s3_private_bucket`.
#[derive(Default)]
pub enum BucketSetting {
    /// Not in this location.
    #[default]
    Unset,
    /// `off`
    Off,
    /// A bucket, and where the directive stands.
    On(Bucket, Place),
}

impl BucketSetting {
    /// Where the directive stands, for errors; empty when it does not.
    pub fn place(&self) -> String {
        match self {
            BucketSetting::On(_, place) => place.to_string(),
            _ => String::new(),
        }
    }
}

/// The arguments of `s3_private_bucket_endpoint`.
pub struct EndpointSetting {
    pub service: Service,
    /// The `upstream {}` group that connections go through.
    pub upstream: Option<String>,
}

/// Whose endpoint is meant.
pub enum Service {
    /// That of a URL.
    Url(Endpoint),
    /// One of AWS's own, which the region tells.
    Aws(Features),
}

/// Where a location's requests go.
pub struct Destination {
    pub endpoint: Endpoint,
    /// The `upstream {}` group that connections go through, where the user names one.
    pub upstream: Option<String>,
}

/// What nginx keeps for http{}: what requests share comes first. All of it lives as long as the
/// cycle.
#[derive(Default)]
#[repr(C)]
pub struct MainConf {
    pub shared: Shared,
    pub work: Work,
}

/// Named locations, by their servers.
pub type Named = BTreeMap<*mut ngx_http_core_srv_conf_t, Vec<*mut ngx_http_core_loc_conf_t>>;

/// What set-up carries from one location to the next.
#[derive(Default)]
pub struct Work {
    /// Locations whose proxy settings are put in place after nginx merged all of them.
    pub pending: Vec<Pending>,
    /// The words of the proxy module's configuration that a command writes.
    pub footprints: Footprints,
    /// The resolver with the system's name servers, once a location needed it.
    resolver: Option<*mut ngx_resolver_t>,
    /// The TLS contexts that locations share.
    pub tls: tls::Contexts,
    /// How many locations have their folders shown as pages.
    pub folders: usize,
    /// Those of them that servers are to know by their names.
    pub named: Named,
    /// The blocks of keys that renew themselves.
    pub blocks: Vec<Block>,
    /// What names of keys stand for, once they were looked up.
    pub resolved: Vec<(Box<str>, Resolved)>,
    /// The sources that locations use.
    pub sources: Vec<Rc<Source>>,
    /// One signer for each key, region and way to sign, so that each derives one key a day.
    signers: Vec<Rc<Signer>>,
    /// The same of keys that are renewed.
    renewed: Vec<Rc<Renewed>>,
    /// What is to be counted.
    pub counted: Counted,
    /// As whom S3 is asked by the locations that were seen.
    identities: Vec<(Digest, Rc<Auth>)>,
}

impl Work {
    /// As much of an identity's digest as tells it from those of the locations that were seen before. Two
    /// secrets in the configuration, in places of the same names, are two identities.
    pub fn digest(&mut self, identity: &Identity, auth: &Rc<Auth>) -> String {
        let mut nth = 0;
        let digest = loop {
            let digest = Identity { nth, ..*identity }.digest();
            let mut same = self.identities.iter().filter(|(known, _)| *known == digest);
            match same.all(|(_, known)| known.has_secret_of(auth)) {
                true => break digest,
                false => nth += 1,
            }
        };
        let others = self.identities.iter().map(|(known, _)| known);
        let short = digest.short(others).to_owned();
        if !self.identities.iter().any(|(known, _)| *known == digest) {
            self.identities.push((digest, auth.clone()));
        }
        short
    }

    /// What a location signs with.
    pub fn keys(&mut self, whose: &Resolved, region: &str, scheme: &Scheme) -> Keys {
        let source = match whose {
            Resolved::Fixed(key, _) => return Keys::Fixed(self.signer(key, region, scheme)),
            Resolved::Source(source) => source,
        };
        self.uses(source);
        match self.renewed.iter().find(|known| known.is_for(source, region, scheme)) {
            Some(known) => Keys::Renewed(known.clone()),
            None => {
                let renewed = Rc::new(Renewed::new(source.clone(), region, scheme));
                self.renewed.push(renewed.clone());
                Keys::Renewed(renewed)
            }
        }
    }

    /// The resolver with the system's name servers, made for the first that needs it. `None` when it has none.
    ///
    /// # Errors
    /// When nginx could not make it.
    ///
    /// # Safety
    /// `cf` is nginx's configuration context.
    pub unsafe fn resolver_of_the_system(
        &mut self,
        cf: *mut ngx_conf_t,
    ) -> Result<Option<*mut ngx_resolver_t>, Failed> {
        if self.resolver.is_none() {
            // SAFETY: the caller's promise.
            self.resolver = unsafe { resolver::of_the_system(cf) }?;
        }
        Ok(self.resolver)
    }

    /// Takes note of a source whose keys are needed, and of those that it asks with.
    fn uses(&mut self, source: &Rc<Source>) {
        if let source::Kind::AssumeRole { from: From::Source(base), .. } = &source.kind {
            self.uses(base);
        }
        if !self.sources.iter().any(|known| Rc::ptr_eq(known, source)) {
            self.sources.push(source.clone());
        }
    }

    /// The signer for a key and a region.
    fn signer(&mut self, key: &Rc<Credentials>, region: &str, scheme: &Scheme) -> Rc<Signer> {
        match self.signers.iter().find(|signer| signer.is_for(key, region, scheme)) {
            Some(signer) => signer.clone(),
            None => {
                let signer = Rc::new(Signer::new(key.clone(), region, scheme));
                self.signers.push(signer.clone());
                signer
            }
        }
    }
}

/// A location whose requests get another proxy configuration once all are merged.
pub struct Pending {
    /// The location's configurations, as `cf->ctx` holds them.
    pub ctx: ngx_http_conf_ctx_t,
    pub conf: *mut LocationConf,
    pub kind: Kind,
}

/// What kind of location is pending.
pub enum Kind {
    /// A location with a bucket of its own, and what the user wrote in it.
    Own(Written),
    /// An `if` or `limit_except` block: its unmerged proxy configuration, and the location around it.
    Block { proxy: *mut c_void, outer: *const LocationConf },
}
