//! Signature Version 4 of a form that is posted to another service than S3, with its body ("Create a signed AWS
//! API request", IAM User Guide).

use sha2::{Digest, Sha256};

use super::{hex, Canonical, Header, Signer, Stamp};
use crate::s3::time::{civil, Civil};
use crate::s3::zeroed::Zeroed;

/// The `Content-Type` of a form.
pub const FORM: &str = "application/x-www-form-urlencoded";

impl Stamp {
    /// Takes a time in Unix seconds.
    pub fn at(seconds: i64) -> Self {
        let Civil { year, month, day, hour, minute, second } = civil(seconds);
        let [month, day, hour, minute, second] = [month, day, hour, minute, second].map(u32::from);
        Stamp::new([year.into(), month, day, hour, minute, second])
    }
}

impl Signer {
    /// Signs a form that is posted to `/` on a host.
    ///
    /// Returns the headers that are sent with it, beside `Host`.
    pub fn sign_form(&self, host: &str, body: &str, stamp: &Stamp) -> Vec<(&'static str, Zeroed)> {
        let payload = hex(&Sha256::digest(body).into()).map(char::from);
        let payload = String::from_iter(payload);
        let date = String::from_iter(stamp.as_bytes().map(char::from));
        let token = self.credentials.session_token();
        let headers: [Header; 5] = [
            ("content-type", Some(FORM.as_bytes())),
            ("host", Some(host.as_bytes())),
            ("x-amz-content-sha256", Some(payload.as_bytes())),
            ("x-amz-date", Some(date.as_bytes())),
            ("x-amz-security-token", token.map(str::as_bytes)),
        ];
        let canonical = Canonical {
            method: "POST",
            path: b"/",
            query: &[],
            headers: &headers,
            payload: &payload,
        };
        let authorization = self.value(&headers, stamp, &self.sign(&canonical, stamp));

        let mut sent: Vec<(&'static str, Zeroed)> = vec![
            ("Content-Type", FORM.into()),
            ("X-Amz-Content-Sha256", payload.into()),
            ("X-Amz-Date", date.into()),
            ("Authorization", authorization.into()),
        ];
        sent.extend(token.map(|token| ("X-Amz-Security-Token", token.into())));
        sent
    }

    /// The value of `Authorization`, whose parts all are ASCII.
    fn value(&self, headers: &[Header], stamp: &Stamp, signature: &[u8; 64]) -> String {
        let mut out = vec![0; self.value_len(headers)];
        let written = self.write_value(headers, stamp, signature, &mut out);
        debug_assert!(written.is_ok(), "it is as long as was said");
        out.into_iter().map(char::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::{Duration, SystemTime};

    use aws_sigv4::http_request::{
        sign, PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::s3::auth::credentials::Credentials;

    fn signer(id: &str, secret: &str, token: Option<&str>, region: &str, service: &str) -> Signer {
        let credentials = Credentials::new(id, secret, token).ok().unwrap();
        Signer::new(Rc::new(credentials), region, service)
    }

    /// `post-x-www-form-urlencoded` of AWS's Signature Version 4 test suite, which does not sign the hash as
    /// a header.
    #[test]
    fn published_test_suite() {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let signer = signer("AKIDEXAMPLE", secret, None, "us-east-1", "service");
        let stamp = Stamp::new([2015, 8, 30, 12, 36, 0]);
        let payload = hex(&Sha256::digest("Param1=value1").into());
        let headers: [Header; 3] = [
            ("content-type", Some(FORM.as_bytes())),
            ("host", Some(b"example.amazonaws.com")),
            ("x-amz-date", Some(stamp.as_bytes())),
        ];
        let canonical = Canonical {
            method: "POST",
            path: b"/",
            query: &[],
            headers: &headers,
            payload: core::str::from_utf8(&payload).unwrap(),
        };
        assert_eq!(
            signer.value(&headers, &stamp, &signer.sign(&canonical, &stamp)),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        );
    }

    #[test]
    fn stamps_are_of_a_time() {
        assert_eq!(Stamp::at(1_795_600_800).as_bytes(), b"20261125T100000Z");
        assert_eq!(Stamp::at(0), Stamp::new([1970, 1, 1, 0, 0, 0]));
    }

    /// What AWS's own signer adds to the same request: its headers, lower-case and sorted.
    fn by_aws(
        signer: &Signer,
        region: &str,
        host: &str,
        body: &str,
        at: u64,
    ) -> Vec<(String, String)> {
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let c = &signer.credentials;
        let token = c.session_token().map(str::to_owned);
        let (id, secret) = (c.access_key_id(), c.secret_access_key());
        let identity =
            aws_credential_types::Credentials::new(id, secret, token, None, "test").into();
        let params = aws_sigv4::sign::v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name("sts")
            .time(SystemTime::UNIX_EPOCH + Duration::from_secs(at))
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let headers = [("host", host), ("content-type", FORM)].into_iter();
        let body = SignableBody::Bytes(body.as_bytes());
        let request =
            SignableRequest::new("POST", format!("https://{host}/"), headers, body).unwrap();
        let (headers, _) = sign(request, &params).unwrap().into_parts().0.into_parts();
        let mut headers: Vec<_> =
            headers.iter().map(|h| (h.name().to_owned(), h.value().to_owned())).collect();
        headers.push(("content-type".to_owned(), FORM.to_owned()));
        headers.sort();
        headers
    }

    proptest! {
        #[test]
        fn same_as_aws_signer(
            id in "[0-9A-Za-z_.@+:%-]{1,40}",
            secret in "[!-~]{1,80}",
            token in proptest::option::of("[!-~]{1,80}"),
            region in "[a-z0-9-]{1,20}",
            host in "[a-z0-9]{1,10}(\\.[a-z]{1,10}){0,2}(:[1-9][0-9]{0,3})?",
            body in "\\PC{0,200}",
            at in 0_u64..8_000_000_000,
        ) {
            let signer = signer(&id, &secret, token.as_deref(), &region, "sts");
            let ours = signer.sign_form(&host, &body, &Stamp::at(at as i64));
            let ours = ours.iter().map(|(name, value)| (name.to_lowercase(), value.to_string()));
            let mut ours: Vec<_> = ours.collect();
            ours.sort();
            prop_assert_eq!(ours, by_aws(&signer, &region, &host, &body, at));
        }
    }
}
