//! Sources of keys: what they answer, at which addresses, and what they are sent.
#![no_main]

use fuzz::auth::sigv4::stamp::Stamp;
use fuzz::fields;
use fuzz::sources::error::SourceError;
use fuzz::sources::instance::Instance;
use fuzz::sources::sts::{is_external_id, is_role_arn, is_session_name, Role};
use fuzz::sources::uri::{Asked, Uri};
use fuzz::sources::{container, json, Keys, Reply, Request, Step};
use fuzz::sources::{MAX_ACCESS_KEY_ID, MAX_SESSION_TOKEN};
use fuzz::time::{seconds, LAST};
use libfuzzer_sys::fuzz_target;

const NOW: i64 = 1_795_600_800;

fuzz_target!(|data: &[u8]| {
    let [text, status, token, list, body] = fields(data);
    let status = std::str::from_utf8(status).ok().and_then(|s| s.parse().ok()).unwrap_or(200);
    let reply = Reply { status, headers: &[("x-aws-ec2-metadata-token-ttl-seconds", text)], body };
    check_instance([token, list, body], &reply);
    check_json(body);

    let role = Role {
        arn: "arn:aws:iam::123456789012:role/media".into(),
        session_name: "nginx".into(),
        external_id: None,
        seconds: None,
    };
    check(container::answer(&reply, NOW));
    check(role.answer(&reply, NOW));
    for asked in [container::begin("/", Some(token)), role.with_web_identity(token)] {
        check(asked.map(Step::Ask));
    }

    let Ok(text) = std::str::from_utf8(text) else { return };
    if is_role_arn(text) || is_session_name(text) || is_external_id(text) {
        assert!((2..=2048).contains(&text.len()));
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b)));
    }
    if let Some(at) = seconds(text.as_bytes()) {
        assert!((0..=LAST).contains(&at) && text.trim() == text);
        let stamp = String::from_utf8(Stamp::at(at).as_bytes().to_vec()).unwrap();
        let (date, time) = (stamp.split_at(8).0, &stamp[9..15]);
        let date = [&date[..4], &date[4..6], &date[6..]].join("-");
        let time = [&time[..2], &time[2..4], &time[4..]].join(":");
        assert_eq!(seconds(format!("{date}T{time}Z").as_bytes()), Some(at));
    }
    for asked in [Asked::Instance, Asked::Container, Asked::Sts] {
        check_uri(text, asked);
    }
});

/// Looks at what a conversation comes to.
fn check(step: Result<Step, SourceError>) -> Option<Keys> {
    match step {
        Ok(Step::Ask(request)) => check_request(&request),
        Ok(Step::Done(keys)) => {
            let (id, token) = (keys.credentials.access_key_id(), keys.credentials.session_token());
            assert!((1..=MAX_ACCESS_KEY_ID).contains(&id.len()));
            assert!(token.is_none_or(|token| (1..=MAX_SESSION_TOKEN).contains(&token.len())));
            assert!(keys.expires.is_none_or(|at| at > NOW));
            let of = keys.of.as_deref().unwrap_or("a");
            assert!(!of.is_empty() && of.bytes().all(|b| b.is_ascii_graphic()), "it is logged");
            return Some(keys);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "it is logged");
            assert!(text.len() < 400);
        }
    }
    None
}

/// Nothing ends a line or the head that should not.
fn check_request(request: &Request) {
    let bytes = request.to_bytes("host");
    let (head, body) = bytes.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    assert_eq!(lines.next().unwrap().split(' ').count(), 3);
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        assert!(value.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
        assert!(!name.eq_ignore_ascii_case("content-length") || value == body.len().to_string());
    }
    let is_form = |b: u8| b.is_ascii_alphanumeric() || b"-._~%&=".contains(&b);
    assert!(body.bytes().all(is_form));
}

/// Answers as they should be asked for, then the same again, and at last another status.
fn check_instance(bodies: [&[u8]; 3], last: &Reply) {
    let mut instance = Instance::default();
    for _ in 0..2 {
        check_request(&instance.begin(NOW));
        for body in bodies {
            let step = instance.answer(&Reply { status: 200, body, ..*last }, NOW);
            let ends = !matches!(step, Ok(Step::Ask(_)));
            check(step);
            if ends {
                break;
            }
        }
    }
    check_request(&instance.begin(NOW + 1));
    // It ends, whatever the answers are.
    let ends = (0..8).any(|_| check_ends(&mut instance, last));
    assert!(ends);
}

fn check_ends(instance: &mut Instance, reply: &Reply) -> bool {
    let step = instance.answer(reply, NOW + 1);
    let ends = !matches!(step, Ok(Step::Ask(_)));
    check(step);
    ends
}

fn check_json(body: &[u8]) {
    let texts = |body: &[u8]| {
        let found = json::texts(body, ["Code", "AccessKeyId"])?;
        Some(found.map(|text| text.map(|text| text.to_string())))
    };
    let found = texts(body);
    assert_eq!(texts(&[b" \n", body, b"\t\r\n"].concat()), found);
    if let Some(found) = found {
        assert!(found.iter().flatten().all(|text| text.len() <= body.len()));
        assert_eq!(texts(&[body, b"x"].concat()), None);
    }
}

fn check_uri(text: &str, asked: Asked) {
    let Ok(uri) = Uri::parse(text, asked) else { return };
    let authority = uri.authority();
    assert!(authority.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b)));
    assert!(uri.target.starts_with('/') && uri.target.bytes().all(|b| b.is_ascii_graphic()));
    let near =
        ["169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23"];
    let is_near =
        |ip: std::net::IpAddr| ip.is_loopback() || near.contains(&ip.to_string().as_str());
    assert!(uri.tls || uri.address().is_some_and(is_near));
    let scheme = if uri.tls { "https" } else { "http" };
    let again = format!("{scheme}://{authority}{}", uri.target);
    assert_eq!(Uri::parse(&again, asked), Ok(uri));
}
