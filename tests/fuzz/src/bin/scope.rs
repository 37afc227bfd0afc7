//! Signatures: each is verified as S3 does, out of nothing but what was written.
#![no_main]

use std::rc::Rc;

use fuzz::auth::credentials::Credentials;
use fuzz::auth::sigv4::stamp::Stamp;
use fuzz::auth::sigv4::{Ask, Method, Signer};
use fuzz::endpoint::is_region;
use fuzz::fields;
use fuzz::object::{sorted_arguments, Key, Target};
use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

fuzz_target!(|data: &[u8]| {
    let [region, service, id, secret, token, args, time, key] = fields(data);
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let (Some(region), Some(service), Some(id), Some(secret), Some(token)) =
        (text(region), text(service), text(id), text(secret), text(token))
    else {
        return;
    };
    let token = Some(token).filter(|t| !t.is_empty());
    if !is_region(region) || !is_region(service) {
        return;
    }
    let Ok(credentials) = Credentials::new(id, secret, token) else { return };
    let signer = Signer::new(Rc::new(credentials), region, service);

    let names = args.split(|&b| b == b'&').filter_map(|arg| arg.split(|&b| b == b'=').next());
    let names = names.filter(|n| {
        let amz = n.len() >= 6 && n[..6].eq_ignore_ascii_case(b"x-amz-");
        !n.is_empty() && !amz && !n.contains(&b'%') && !n.contains(&b'+')
    });
    let pass_args = sorted_arguments(names.map(Box::from).collect());
    let Ok(key) = Key::new(key, true) else { return };
    let target = Target { bucket_in_path: None, key, args, pass_args: &pass_args, own: &[] };
    let mut written = vec![0; target.len()];
    target.write(&mut written);

    let time = std::array::from_fn(|i| time.get(i).copied().unwrap_or(1).into());
    let stamp = Stamp::new(time);
    let date = std::str::from_utf8(stamp.as_bytes()).unwrap();
    for (owner, method) in [(None, Method::Get), (Some("111122223333"), Method::Head)] {
        let ask = Ask { method, host: b"s3.example.com", target: &written, owner, headers: &[] };
        let (path, query) = split(&written);

        let mut out = vec![0; signer.authorization_len(owner, &[])];
        signer.authorize(&ask, &stamp, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        let fields = out.strip_prefix("AWS4-HMAC-SHA256 Credential=").unwrap();
        let (credential, fields) = fields.split_once(", SignedHeaders=").unwrap();
        let (names, signature) = fields.split_once(", Signature=").unwrap();
        let values: Vec<_> = names
            .split(';')
            .map(|name| match name {
                "host" => (name, "s3.example.com"),
                "x-amz-content-sha256" => (name, "UNSIGNED-PAYLOAD"),
                "x-amz-date" => (name, date),
                "x-amz-expected-bucket-owner" => (name, owner.unwrap()),
                "x-amz-security-token" => (name, token.unwrap()),
                _ => panic!("{name}"),
            })
            .collect();
        assert_eq!(values.len(), 3 + usize::from(owner.is_some()) + usize::from(token.is_some()));
        let scope = credential.strip_prefix(id).unwrap().strip_prefix('/').unwrap();
        let expected = sign(secret, method, path, query, &values, date, scope);
        assert_eq!(signature, expected);

        let mut out = vec![0; signer.presigned_len(&ask, "300")];
        signer.presign(&ask, "300", &stamp, &mut out).unwrap();
        let url = String::from_utf8(out).unwrap();
        let url = url.strip_prefix("s3.example.com").unwrap();
        let (query, signature) = url.rsplit_once("&X-Amz-Signature=").unwrap();
        let (path, query) = query.split_once('?').unwrap();
        let args: Vec<_> = query.split('&').map(|arg| arg.split('=').next().unwrap()).collect();
        assert!(args.is_sorted_by(|a, b| a < b), "{args:?}");
        let values = [("host", "s3.example.com")];
        let expected = sign(secret, method, path, query, &values, date, scope);
        assert_eq!(signature, expected);
    }
});

fn split(target: &[u8]) -> (&str, &str) {
    let target = std::str::from_utf8(target).unwrap();
    target.split_once('?').unwrap_or((target, ""))
}

fn sign(
    secret: &str,
    method: Method,
    path: &str,
    query: &str,
    headers: &[(&str, &str)],
    date: &str,
    scope: &str,
) -> String {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    let request = format!(
        "{}\n{path}\n{query}\n{lines}\n{}\nUNSIGNED-PAYLOAD",
        method.name(),
        names.join(";")
    );
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(request)));
    let key =
        scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| mac(&key, part));
    hex(&mac(&key, &text))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
