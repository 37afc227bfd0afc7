//! Signatures: each is verified as S3 does, out of nothing but what was written.
#![no_main]

use std::rc::Rc;

use fuzz::auth::credentials::Credentials;
use fuzz::auth::sigv2;
use fuzz::auth::sigv4::stamp::Stamp;
use fuzz::auth::sigv4::{Ask, Header, Method, Signer};
use fuzz::endpoint::is_region;
use fuzz::object::{decoded, sorted_arguments, Key, Target};
use fuzz::own::{argument_fault, header_fault, header_value, is_argument_value};
use fuzz::{decode, fields, time, written};
use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use sha1::Sha1;
use sha2::{Digest, Sha256};

fuzz_target!(|data: &[u8]| {
    let [region, service, id, secret, token, args, added, time, key] = fields(data);
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
    let credentials = Rc::new(credentials);
    let old = sigv2::Signer::new(credentials.clone());
    let signer = Signer::new(credentials, region, service);

    let names = args.split(|&b| b == b'&').filter_map(|arg| arg.split(|&b| b == b'=').next());
    let names = names.filter(|n| {
        let amz = n.len() >= 6 && n[..6].eq_ignore_ascii_case(b"x-amz-");
        !n.is_empty() && !amz && !n.contains(&b'%') && !n.contains(&b'+')
    });
    let Some((own_args, own_headers)) = added_by_operator(added) else { return };
    let own_names = own_args.iter().map(|(name, _)| name.as_bytes());
    let pass_args = sorted_arguments(names.chain(own_names).map(Box::from).collect());
    let place = |name: &str| pass_args.iter().position(|n| **n == *name.as_bytes()).unwrap();
    let own: Vec<_> = own_args.iter().map(|&(name, value)| (place(name), value)).collect();
    let Ok(key) = Key::new(key, true) else { return };
    let target = Target { bucket_in_path: None, key, args, pass_args: &pass_args, own: &own };
    let written = written(&target);
    let sent: Vec<_> = arguments(split(&written).1).collect();
    for (name, value) in own_args {
        // The client has no say in it.
        let found: Vec<_> = sent.iter().filter(|(sent, _)| **sent == *name.as_bytes()).collect();
        assert!(found.iter().all(|(_, sent)| *sent == value) && found.len() <= 1);
        assert_eq!(found.is_empty(), value.is_empty());
    }

    // One that is empty is not sent.
    let value = |value| Some(value).filter(|value: &&[u8]| !value.is_empty());
    let own: Vec<Header> = own_headers.iter().map(|(name, v)| (&**name, value(v))).collect();
    let own_sent: Vec<_> = own.iter().filter_map(|(name, v)| Some((*name, (*v)?))).collect();
    let time = std::array::from_fn(|i| time.get(i).copied().unwrap_or(1).into());
    let stamp = Stamp::new(time);
    let date = std::str::from_utf8(stamp.as_bytes()).unwrap();
    for (owner, method) in [(None, Method::Get), (Some("111122223333"), Method::Head)] {
        let host = b"s3.example.com";
        let bucket = owner.map(|_| &b"bucket"[..]);
        let ask = Ask { method, host, bucket, target: &written, owner, headers: &[] };
        check_old(&old, &ask, &stamp, (id, secret, token));
        let ask = Ask { headers: &own, ..ask };
        let (path, query) = split(&written);

        let mut out = vec![0; signer.authorization_len(owner, &own)];
        signer.authorize(&ask, &stamp, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        let fields = out.strip_prefix("AWS4-HMAC-SHA256 Credential=").unwrap();
        let (credential, fields) = fields.split_once(", SignedHeaders=").unwrap();
        let (names, signature) = fields.split_once(", Signature=").unwrap();
        let values: Vec<_> = names
            .split(';')
            .map(|name| match name {
                "host" => (name, "s3.example.com".as_bytes()),
                "x-amz-content-sha256" => (name, "UNSIGNED-PAYLOAD".as_bytes()),
                "x-amz-date" => (name, date.as_bytes()),
                "x-amz-expected-bucket-owner" => (name, owner.unwrap().as_bytes()),
                "x-amz-security-token" => (name, token.unwrap().as_bytes()),
                _ => *own_sent.iter().find(|(own, _)| *own == name).unwrap(),
            })
            .collect();
        assert!(values.is_sorted_by(|(a, _), (b, _)| a < b), "{names}");
        let fixed = 3 + usize::from(owner.is_some()) + usize::from(token.is_some());
        assert_eq!(values.len(), fixed + own_sent.len());
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
        let pays = own_sent.contains(&("x-amz-request-payer", b"requester"));
        assert_eq!(args.contains(&"X-Amz-Request-Payer"), pays);
        let added = args.iter().filter(|name| name.starts_with("X-Amz-")).count();
        let fixed = 5 + usize::from(owner.is_some()) + usize::from(token.is_some());
        assert_eq!(added, fixed + usize::from(pays));
        assert_eq!(args.len() - added, sent.len());
        let values = [("host", "s3.example.com".as_bytes())];
        let expected = sign(secret, method, path, query, &values, date, scope);
        assert_eq!(signature, expected);
    }
});

/// Arguments of the operator's own, and headers.
type Added<'a> = (Vec<(&'a str, &'a [u8])>, Vec<(String, Vec<u8>)>);

/// What an operator adds, a line each: `?name=value` of an argument, `name:value` of a header. `None` for a value
/// that would be refused.
fn added_by_operator(lines: &[u8]) -> Option<Added<'_>> {
    let (mut args, mut headers) = (Vec::new(), Vec::new());
    for line in lines.split(|&b| b == b'\n') {
        let (by, rest) = match line.strip_prefix(b"?") {
            Some(rest) => (b'=', rest),
            None => (b':', line),
        };
        let Some(at) = rest.iter().position(|&b| b == by) else { continue };
        let (Ok(name), value) = (std::str::from_utf8(&rest[..at]), &rest[at + 1..]) else {
            continue;
        };
        if by == b'=' {
            if !name.is_empty() && argument_fault(name).is_none() {
                is_argument_value(value).then(|| args.push((name, value)))?;
            }
        } else if header_fault(&name.to_ascii_lowercase()).is_none() {
            headers.push((name.to_ascii_lowercase(), header_value(value)?.into_owned()));
        }
    }
    args.sort_by_key(|(name, _)| *name);
    args.dedup_by_key(|(name, _)| *name);
    headers.sort();
    headers.dedup_by(|(a, _), (b, _)| a == b);
    Some((args, headers))
}

/// The arguments of a query, decoded.
fn arguments(query: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
    query
        .split('&')
        .filter_map(|arg| arg.split_once('='))
        .map(|(name, value)| (decode(name.as_bytes(), false), decode(value.as_bytes(), false)))
}

/// Verifies Signature Version 2, of a request and of a URL, as a server does that decodes the arguments.
fn check_old(old: &sigv2::Signer, ask: &Ask, stamp: &Stamp, key: (&str, &str, Option<&str>)) {
    let (id, secret, token) = key;
    let mut out = vec![0; old.authorization_len()];
    old.authorize(ask, stamp, &mut out).unwrap();
    let signature = out.strip_prefix(format!("AWS {id}:").as_bytes()).unwrap();
    let date = time::civil(stamp.seconds()).http_date();
    assert_eq!(signature, sign_old(ask, &date, ask.target, secret, token));

    let mut out = vec![0; old.presigned_len(ask)];
    let len = old.presign(ask, "300", stamp, &mut out).unwrap();
    let url = out[..len].strip_prefix(ask.host).unwrap();
    let at = url.windows(15).rposition(|w| w == b"AWSAccessKeyId=").unwrap();
    let target = &url[..at - 1];
    assert_eq!(target, ask.target);
    let args = std::str::from_utf8(&url[at..]).unwrap();
    let args: Vec<_> = args.split('&').map(|arg| arg.split_once('=').unwrap()).collect();
    let value = |wanted: &str| {
        let (_, value) = args.iter().find(|(name, _)| *name == wanted)?;
        Some(decoded(value.as_bytes(), b'+').collect::<Vec<u8>>())
    };
    assert_eq!(value("AWSAccessKeyId").as_deref(), Some(id.as_bytes()));
    assert_eq!(value("x-amz-security-token").as_deref(), token.map(str::as_bytes));
    assert_eq!(value("x-amz-expected-bucket-owner").as_deref(), ask.owner.map(str::as_bytes));
    let end = value("Expires").unwrap();
    assert_eq!(end, (stamp.seconds() + 300).to_string().as_bytes());
    assert_eq!(value("Signature").unwrap(), sign_old(ask, &end, target, secret, token));
}

fn sign_old(ask: &Ask, date: &[u8], target: &[u8], secret: &str, token: Option<&str>) -> Vec<u8> {
    let (path, query) = split(target);
    let mut text = format!("{}\n\n\n", ask.method.name()).into_bytes();
    text.extend_from_slice(date);
    text.push(b'\n');
    let owner = ask.owner.map(|owner| format!("x-amz-expected-bucket-owner:{owner}\n"));
    let token = token.map(|token| format!("x-amz-security-token:{token}\n"));
    text.extend(owner.into_iter().chain(token).flat_map(String::into_bytes));
    if let Some(bucket) = ask.bucket {
        text.push(b'/');
        text.extend_from_slice(bucket);
    }
    text.extend_from_slice(path.as_bytes());
    let mut separator = b'?';
    for (name, value) in query.split('&').filter_map(|arg| arg.split_once('=')) {
        if sigv2::SIGNED_ARGUMENTS.contains(&name.as_bytes()) {
            text.push(separator);
            separator = b'&';
            text.extend_from_slice(name.as_bytes());
            if !value.is_empty() {
                text.push(b'=');
                text.extend(decoded(value.as_bytes(), b'+'));
            }
        }
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(&text);
    let digest = mac.finalize().into_bytes();
    let bit = |at: usize| digest.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
    let sextet = |i: usize| (0..6).fold(0, |sextet, at| sextet << 1 | usize::from(bit(6 * i + at)));
    let mut text: Vec<u8> = (0..27).map(|i| LETTERS[sextet(i)]).collect();
    text.push(b'=');
    text
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn split(target: &[u8]) -> (&str, &str) {
    let target = std::str::from_utf8(target).unwrap();
    target.split_once('?').unwrap_or((target, ""))
}

fn sign(
    secret: &str,
    method: Method,
    path: &str,
    query: &str,
    headers: &[(&str, &[u8])],
    date: &str,
    scope: &str,
) -> String {
    let mut request = format!("{}\n{path}\n{query}\n", method.name()).into_bytes();
    for (name, value) in headers {
        request.extend([name.as_bytes(), b":", value, b"\n"].concat());
    }
    let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    request.extend(format!("\n{}\nUNSIGNED-PAYLOAD", names.join(";")).into_bytes());
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
