//! The settings of nginx's proxy module that a location gets, as values: what an operator would write
//! by hand. The table of doc/settings.md is this one.

use ngx::ffi::{
    NGX_HTTP_UPSTREAM_IGN_SET_COOKIE, NGX_HTTP_UPSTREAM_IGN_VARY,
    NGX_HTTP_UPSTREAM_IGN_XA_BUFFERING, NGX_HTTP_UPSTREAM_IGN_XA_CHARSET,
    NGX_HTTP_UPSTREAM_IGN_XA_EXPIRES, NGX_HTTP_UPSTREAM_IGN_XA_LIMIT_RATE,
    NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT,
};

use crate::location::Host;
use crate::nginx::template::literal;
use crate::request::own_variables::{header_name, HEADERS};
use crate::request::variables::{AUTHORIZATION, CHOICE, SESSION, TOKEN};
use crate::s3::answer::is_named;
use crate::s3::auth::signer::Scheme;
use crate::s3::auth::sigv4::{Header, UNSIGNED_PAYLOAD};
use crate::s3::auth::{Auth, SigningKeys};
use crate::s3::endpoint::Endpoint;

/// One setting: a directive, its value, and what it is set for.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    pub name: &'static str,
    pub value: String,
    pub why: &'static str,
}

/// What the settings of a location depend on.
pub struct Plan<'a> {
    pub endpoint: &'a Endpoint,
    pub host: &'a Host,
    /// The `upstream {}` group that connections go through, if there is one.
    pub group: Option<&'a str>,
    /// As whom S3 is asked: [`crate::s3::auth::Digest::short`].
    pub identity: &'a str,
    /// The certificates of the system: [`super::tls::ca_bundle_of_the_system`].
    pub ca_bundle: Option<&'static str>,
    /// The operator's own headers, without the value where that differs between requests.
    pub own_headers: &'a [Header<'a>],
    /// Whether clients see nginx's errors and not S3's.
    pub masks: bool,
    /// Whether connections are kept.
    pub keeps: bool,
    pub around: Around,
}

/// What of other directives, which the user wrote in a location or around it, its settings depend on.
#[derive(Clone, Copy, Default)]
pub struct Around {
    /// Whether `slice` is on.
    pub slices: bool,
    /// Whether nginx asks for a cached object with HEAD when a client sends that.
    pub keeps_head: bool,
    /// Whether nothing needs an answer as a file, nor did the user say how large one may be.
    pub is_not_stored: bool,
    /// Whether a method or a body for S3 is inherited from the levels above.
    pub inherits_method: bool,
    pub inherits_body: bool,
}

impl Plan<'_> {
    /// The `Host` header, as a value of nginx.
    fn host_text(&self) -> &str {
        match self.host {
            Host::Constant(host) => host,
            Host::PerRequest(_) => "$s3_private_bucket_host",
        }
    }

    /// All settings, in the order in which they are made.
    pub fn settings(&self) -> Vec<Setting> {
        let mut all = vec![
            Setting {
                name: "proxy_pass",
                value: format!(
                    "{}://{}$s3_private_bucket_uri",
                    self.endpoint.scheme(),
                    self.group.unwrap_or(self.host_text())
                ),
                why: "ask S3 for the object",
            },
            Setting {
                name: "proxy_http_version",
                value: "1.1".to_owned(),
                why: "let connections be kept, and have answers framed",
            },
            Setting {
                name: "proxy_pass_request_headers",
                value: "off".to_owned(),
                why: "send nothing that the client says",
            },
            Setting {
                name: "proxy_pass_request_body",
                value: "off".to_owned(),
                why: "send nothing that the client says",
            },
        ];
        all.extend(self.tls());
        if self.masks {
            all.push(Setting {
                name: "proxy_intercept_errors",
                value: "on".to_owned(),
                why: "let error_page answer for S3",
            });
        }
        if self.around.is_not_stored {
            all.push(Setting {
                name: "proxy_max_temp_file_size",
                value: "0".to_owned(),
                why: "read no more of an object than its client does",
            });
        }
        all.push(Setting {
            name: "proxy_cache_key",
            value: self.cache_key(),
            why: "cache an object for those alone who ask as the same",
        });
        for (inherits, name, value) in [
            (self.around.inherits_method, "proxy_method", "$s3_private_bucket_method"),
            (self.around.inherits_body, "proxy_set_body", ""),
        ] {
            // Only where there is one: to read its value costs each request a little.
            if inherits {
                let why = "not change what S3 is asked by what is meant for another server";
                all.push(Setting { name, value: value.to_owned(), why });
            }
        }
        all
    }

    fn tls(&self) -> Vec<Setting> {
        if !self.endpoint.https {
            return Vec::new();
        }
        let why = "verify that it is S3";
        let mut name = self.host_text().to_owned();
        if self.keeps {
            // Adds nothing: when nginx reads the name, it is time to resume a session.
            name += &format!("${{{SESSION}}}");
        }
        let mut all = vec![
            Setting { name: "proxy_ssl_server_name", value: "on".to_owned(), why },
            Setting { name: "proxy_ssl_name", value: name, why },
            Setting { name: "proxy_ssl_verify", value: "on".to_owned(), why },
            Setting { name: "proxy_ssl_verify_depth", value: "3".to_owned(), why },
        ];
        if let Some(bundle) = self.ca_bundle {
            let name = "proxy_ssl_trusted_certificate";
            all.push(Setting { name, value: bundle.to_owned(), why });
        }
        all
    }

    /// What tells apart in nginx's cache what S3 is asked for.
    ///
    /// Without the scheme, which the port tells: the key is hashed for each request.
    pub fn cache_key(&self) -> String {
        let (identity, host) = (self.identity, self.host_text());
        let tells_scheme = self.endpoint.https || self.endpoint.port.is_some();
        let port = if tells_scheme { "" } else { ":80" };
        let slice = if self.around.slices { "$slice_range" } else { "" };
        // Between spaces, which no host has.
        let method = if self.around.keeps_head { " $s3_private_bucket_method " } else { "" };
        let varies = self.own_headers.iter().any(|(_, value)| value.is_none());
        // As long for all.
        let headers = if varies { format!("${{{HEADERS}}}") } else { String::new() };
        format!("{identity}{headers}{method}{host}{port}$s3_private_bucket_uri{slice}")
    }

    /// The headers that go to S3 with every request: who asks for which host. A value that is empty is
    /// not sent.
    pub fn headers<'a>(&'a self, auth: &'a Auth, owner: Option<&str>) -> Vec<(&'a str, String)> {
        let mut all: Vec<(&str, String)> = vec![("Host", self.host_text().to_owned())];
        let literal = |text| literal(text, "${s3_private_bucket_dollar}");
        if let Some(owner) = owner {
            all.push(("X-Amz-Expected-Bucket-Owner", owner.to_owned()));
        }
        match auth {
            Auth::None => (),
            Auth::Secret(secret) => all.push((secret.header(), literal(secret.value()))),
            Auth::Signed { keys, scheme, .. } => {
                all.push(("Authorization", format!("${AUTHORIZATION}")));
                match scheme {
                    Scheme::V4 { .. } => {
                        all.push(("X-Amz-Date", "$s3_private_bucket_date".to_owned()));
                        all.push(("X-Amz-Content-Sha256", UNSIGNED_PAYLOAD.to_owned()));
                    }
                    Scheme::V2 => all.push(("Date", "$s3_private_bucket_http_date".to_owned())),
                }
                let token = match keys {
                    SigningKeys::Fixed(key) => key.session_token().map(literal),
                    SigningKeys::File { .. } | SigningKeys::Source(_) => Some(format!("${TOKEN}")),
                };
                all.extend(token.map(|token| ("X-Amz-Security-Token", token)));
            }
        }
        let own = self.own_headers.iter().enumerate();
        all.extend(own.map(|(nth, (name, _))| (*name, format!("${}", header_name(nth)))));
        // The proxy module's own.
        let dropped = ["Connection", "Content-Length", "Transfer-Encoding"];
        all.extend(dropped.map(|name| (name, String::new())));
        if self.keeps {
            // Never sent: when nginx looks whether it is empty, it is time to choose.
            all.push(("X-S3-Private-Bucket-Choice", format!("${CHOICE}")));
        }
        all
    }
}

/// Headers of an answer that nginx would act upon, and what of its upstream module ignores each: whoever
/// can write an object is not to steer nginx, nor to say what its cache keeps.
const STEERING: [(&[u8], u32); 7] = [
    (b"X-Accel-Redirect", NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT),
    (b"X-Accel-Expires", NGX_HTTP_UPSTREAM_IGN_XA_EXPIRES),
    (b"X-Accel-Limit-Rate", NGX_HTTP_UPSTREAM_IGN_XA_LIMIT_RATE),
    (b"X-Accel-Buffering", NGX_HTTP_UPSTREAM_IGN_XA_BUFFERING),
    (b"X-Accel-Charset", NGX_HTTP_UPSTREAM_IGN_XA_CHARSET),
    (b"Set-Cookie", NGX_HTTP_UPSTREAM_IGN_SET_COOKIE),
    // Of what S3's answer may vary by nothing is sent to it but what the cache key tells.
    (b"Vary", NGX_HTTP_UPSTREAM_IGN_VARY),
];

/// What `proxy_ignore_headers` is to have beside what the user wrote: the headers that no pattern of
/// `pass` names, as bits of nginx's.
pub fn ignored_headers(pass: &[Box<[u8]>]) -> u32 {
    let ignored = STEERING.iter().filter(|(name, _)| !is_named(name, pass));
    ignored.fold(0, |all, (_, bit)| all | bit)
}

/// Headers that clients send to S3, if they send them at all.
pub const CONDITIONS: [(&str, &str); 6] = [
    ("Range", "$s3_private_bucket_range"),
    ("If-Range", "$s3_private_bucket_if_range"),
    ("If-Match", "$s3_private_bucket_if_match"),
    ("If-None-Match", "$s3_private_bucket_if_none_match"),
    ("If-Modified-Since", "$s3_private_bucket_if_modified_since"),
    ("If-Unmodified-Since", "$s3_private_bucket_if_unmodified_since"),
];

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::s3::auth::credentials::Credentials;
    use crate::s3::auth::secret::Secret;

    fn plan<'a>(endpoint: &'a Endpoint, host: &'a Host) -> Plan<'a> {
        Plan {
            endpoint,
            host,
            group: None,
            identity: "id:",
            ca_bundle: Some("/ca"),
            own_headers: &[],
            masks: false,
            keeps: false,
            around: Around::default(),
        }
    }

    fn value(plan: &Plan, name: &str) -> Option<String> {
        plan.settings().into_iter().find(|s| s.name == name).map(|s| s.value)
    }

    #[test]
    fn connections_go_to_the_group_and_the_host_is_the_endpoints() {
        let endpoint = Endpoint::parse("https://s3.example.com:9000").unwrap();
        let constant = Host::Constant("b.s3.example.com:9000".to_owned());
        let per_request = Host::PerRequest("s3.example.com:9000".to_owned());
        for (host, group, pass, name) in [
            (&constant, None, "b.s3.example.com:9000", "b.s3.example.com:9000"),
            (&constant, Some("s3"), "s3", "b.s3.example.com:9000"),
            (&per_request, None, "$s3_private_bucket_host", "$s3_private_bucket_host"),
            (&per_request, Some("s3"), "s3", "$s3_private_bucket_host"),
        ] {
            let plan = Plan { group, ..plan(&endpoint, host) };
            let pass = format!("https://{pass}$s3_private_bucket_uri");
            assert_eq!(value(&plan, "proxy_pass"), Some(pass));
            assert_eq!(value(&plan, "proxy_ssl_name").as_deref(), Some(name));
            let (header, value) = &plan.headers(&Auth::None, None)[0];
            assert_eq!((*header, value.as_str()), ("Host", name));
        }
    }

    #[test]
    fn tls_is_set_for_https_alone() {
        let host = Host::Constant("h".to_owned());
        for (url, count) in [("https://h", 5), ("http://h", 0)] {
            let endpoint = Endpoint::parse(url).unwrap();
            let settings = plan(&endpoint, &host).settings();
            assert_eq!(settings.iter().filter(|s| s.name.starts_with("proxy_ssl_")).count(), count);
        }
        let endpoint = Endpoint::parse("https://h").unwrap();
        let without = Plan { ca_bundle: None, ..plan(&endpoint, &host) };
        assert_eq!(value(&without, "proxy_ssl_trusted_certificate"), None);
        let kept = Plan { keeps: true, ..plan(&endpoint, &host) };
        let name = value(&kept, "proxy_ssl_name");
        assert_eq!(name.as_deref(), Some("h${s3_private_bucket_session}"));
    }

    #[test]
    fn cache_keys_differ_by_what_is_asked() {
        let host = Host::Constant("h".to_owned());
        for (url, slices, keeps_head, expected) in [
            ("https://h", false, false, "id:h$s3_private_bucket_uri"),
            ("http://h", false, false, "id:h:80$s3_private_bucket_uri"),
            ("http://h:9", true, false, "id:h$s3_private_bucket_uri$slice_range"),
            ("https://h", false, true, "id: $s3_private_bucket_method h$s3_private_bucket_uri"),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            let around = Around { slices, keeps_head, ..Around::default() };
            let plan = Plan { around, ..plan(&endpoint, &host) };
            assert_eq!(value(&plan, "proxy_cache_key").as_deref(), Some(expected));
        }
    }

    #[test]
    fn headers_of_the_operator_are_sent_and_told_apart() {
        let (endpoint, host) = (Endpoint::parse("https://h").unwrap(), Host::Constant("h".into()));
        let own: [Header; 2] = [("x-a", Some(b"1")), ("x-b", None)];
        let plan = Plan { own_headers: &own, ..plan(&endpoint, &host) };
        let headers = plan.headers(&Auth::None, None);
        assert_eq!(headers[1], ("x-a", "$s3_private_bucket_header_0".to_owned()));
        assert_eq!(headers[2], ("x-b", "$s3_private_bucket_header_1".to_owned()));
        let key = "id:${s3_private_bucket_headers}h$s3_private_bucket_uri";
        assert_eq!(value(&plan, "proxy_cache_key").as_deref(), Some(key));
        let constant = Plan { own_headers: &own[..1], ..self::plan(&endpoint, &host) };
        let key = "id:h$s3_private_bucket_uri";
        assert_eq!(value(&constant, "proxy_cache_key").as_deref(), Some(key));
    }

    #[test]
    fn what_is_optional_is_set_where_it_is_needed() {
        let (endpoint, host) = (Endpoint::parse("http://h").unwrap(), Host::Constant("h".into()));
        let without = plan(&endpoint, &host);
        let around = Around {
            is_not_stored: true,
            inherits_method: true,
            inherits_body: true,
            ..Around::default()
        };
        let with = Plan { masks: true, around, ..plan(&endpoint, &host) };
        for (name, expected) in [
            ("proxy_intercept_errors", "on"),
            ("proxy_max_temp_file_size", "0"),
            ("proxy_method", "$s3_private_bucket_method"),
            ("proxy_set_body", ""),
        ] {
            assert_eq!(value(&without, name), None);
            assert_eq!(value(&with, name).as_deref(), Some(expected));
        }
    }

    #[test]
    fn nothing_steers_nginx_unless_it_is_named() {
        let named = |names: &[&str]| -> Vec<Box<[u8]>> {
            names.iter().map(|name| name.as_bytes().into()).collect()
        };
        let all = ignored_headers(&[]);
        assert_eq!(all.count_ones(), 7);
        assert_eq!(ignored_headers(&named(&["vary"])), all & !NGX_HTTP_UPSTREAM_IGN_VARY);
        assert_eq!(ignored_headers(&named(&["X-Accel-*"])).count_ones(), 2);
        assert_eq!(ignored_headers(&named(&["*"])), 0);
    }

    #[test]
    fn headers_prove_who_asks() {
        let (endpoint, host) = (Endpoint::parse("http://h").unwrap(), Host::Constant("h".into()));
        let plan = plan(&endpoint, &host);
        let kept = Plan { keeps: true, ..self::plan(&endpoint, &host) };
        let (name, value) = kept.headers(&Auth::None, None).pop().unwrap();
        assert_eq!((name, &*value), ("X-S3-Private-Bucket-Choice", "$s3_private_bucket_choice"));
        let secret = Auth::Secret(Secret::new("Referer", b"a$b").ok().unwrap());
        let signed = |scheme| {
            let credentials = Rc::new(Credentials::new("id", "key", Some("t$")).ok().unwrap());
            Auth::Signed { keys: SigningKeys::Fixed(credentials), scheme, identity: "".into() }
        };
        let (sigv4, sigv2) = (signed(Scheme::V4 { service: "s3".into() }), signed(Scheme::V2));
        for (auth, owner, expected) in [
            (&Auth::None, None, &[("Host", "h")][..]),
            (&Auth::None, Some("1"), &[("Host", "h"), ("X-Amz-Expected-Bucket-Owner", "1")]),
            (&secret, None, &[("Host", "h"), ("Referer", "a${s3_private_bucket_dollar}b")]),
            (
                &sigv4,
                None,
                &[
                    ("Host", "h"),
                    ("Authorization", "$s3_private_bucket_authorization"),
                    ("X-Amz-Date", "$s3_private_bucket_date"),
                    ("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"),
                    ("X-Amz-Security-Token", "t${s3_private_bucket_dollar}"),
                ],
            ),
            (
                &sigv2,
                None,
                &[
                    ("Host", "h"),
                    ("Authorization", "$s3_private_bucket_authorization"),
                    ("Date", "$s3_private_bucket_http_date"),
                    ("X-Amz-Security-Token", "t${s3_private_bucket_dollar}"),
                ],
            ),
        ] {
            let headers = plan.headers(auth, owner);
            let sent = headers.iter().filter(|(_, value)| !value.is_empty());
            let sent: Vec<_> = sent.map(|(name, value)| (*name, value.as_str())).collect();
            assert_eq!(sent, expected);
            assert_eq!(headers.len(), expected.len() + 3);
        }
    }
}
