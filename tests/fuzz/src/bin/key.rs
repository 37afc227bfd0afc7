//! Keys, and the request targets that ask for them.
#![no_main]

use fuzz::folder::with_slash;
use fuzz::object::{decoded, key_in_uri, sorted_arguments, Key, KeyError, Target, MAX_KEY};
use fuzz::redirect::{target, Paths};
use fuzz::template::with_own_captures;
use fuzz::version::is_same;
use fuzz::{decode, fields, written};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [location, names, args, uri] = fields(data);

    let Ok(key) = key_in_uri(uri, location) else {
        assert!(uri.starts_with(location) && !uri[location.len()..].starts_with(b"/"));
        return;
    };
    let whole = uri.strip_prefix(b"/").unwrap_or(uri);
    assert!(
        key == whole || [location, key].concat() == uri || [location, b"/", key].concat() == uri
    );
    if uri.starts_with(location) && !location.ends_with(b"/") {
        assert!(uri == location || [location, b"/", key].concat() == uri, "another URI's object");
    }
    let dots = key.split(|&b| b == b'/' || b == b'\\').any(|s| matches!(s, b"." | b".."));
    let backslash = key.contains(&b'\\');
    match (Key::new(key, true), Key::new(key, false)) {
        (Ok(_), Err(error)) => assert!(error == KeyError::Backslash && backslash),
        (Err(a), Err(b)) => assert!(a == b || a == KeyError::NotText && b == KeyError::Backslash),
        (at_aws, elsewhere) => assert!(at_aws.is_ok() && elsewhere.is_ok() && !backslash),
    }
    match Key::new(key, true) {
        Ok(checked) => {
            assert!(!key.is_empty() && key.len() <= MAX_KEY && !key.contains(&0) && !dots);
            assert!(std::str::from_utf8(key).is_ok());
            write(key, checked, args, names);
        }
        Err(KeyError::Empty) => assert!(key.is_empty()),
        Err(KeyError::TooLong) => assert!(key.len() > MAX_KEY),
        Err(KeyError::Nul) => assert!(key.contains(&0)),
        Err(KeyError::DotSegment) => assert!(dots),
        Err(KeyError::NotText) => assert!(std::str::from_utf8(key).is_err()),
        Err(KeyError::OtherWord | KeyError::Backslash) => unreachable!(),
    }

    if let Some(parts) = with_slash(uri, key) {
        let location = parts.concat();
        let rest = location.strip_prefix(b"./").expect("it stays on this host");
        let path = rest.split(|&b| b == b'?').next().unwrap();
        assert_eq!(path.iter().position(|&b| b == b'/'), Some(path.len() - 1), "one segment");
        assert!(!location.contains(&b'#') && decode_path(&path[..path.len() - 1]) == last(key));
    }
    let paths = Paths { location, prefix: names };
    for (value, paths) in [(uri, Some(paths)), (args, Some(paths)), (args, None)] {
        if let Ok(target) = target(value, paths) {
            check_redirect(value, paths, &target);
        }
    }
    let (template, digits) = with_own_captures(args, "c_");
    assert!(digits.is_sorted_by(|a, b| a < b) && digits.iter().all(|d| (1..=9).contains(d)));
    assert!(!template.windows(2).any(|w| w[0] == b'$' && matches!(w[1], b'1'..=b'9')));
    assert!(!is_same(names, Some(key), Some(args)) || names == key || names == args);
});

/// A redirect stays on this host and below the location, or says where it leads.
fn check_redirect(value: &[u8], paths: Option<Paths>, target: &[u8]) {
    assert!(target.iter().all(|&b| b.is_ascii_graphic() && b != b'\\'));
    if !target.starts_with(b"/") {
        let target = target.to_ascii_lowercase();
        let host =
            [&b"http://"[..], b"https://"].iter().find_map(|scheme| target.strip_prefix(*scheme));
        assert!(!matches!(host.unwrap().first(), None | Some(b'/' | b'?' | b'#')));
        return;
    }
    assert!(!target.starts_with(b"//"));
    let Paths { location, prefix } = paths.expect("a path of a location");
    let end = |of: &[u8]| of.iter().position(|b| b"?#".contains(b)).unwrap_or(of.len());
    let path = decode_path(&target[..end(target)]);
    let key = decode_path(&value[1..end(value)]);
    let rest = path.strip_prefix(location).expect("below the location");
    let rest =
        if location.ends_with(b"/") { rest } else { rest.strip_prefix(b"/").unwrap_or(rest) };
    assert_eq!([prefix, rest].concat(), key);
    assert_eq!(key_in_uri(&path, location), Ok(rest));
}

fn last(key: &[u8]) -> Vec<u8> {
    key.rsplit(|&b| b == b'/').next().unwrap().to_vec()
}

fn decode_path(segment: &[u8]) -> Vec<u8> {
    decoded(segment, b'+').collect()
}

fn write(key: &[u8], checked: Key, args: &[u8], names: &[u8]) {
    let names = names.split(|&b| b == b',').filter(|n| !n.is_empty()).map(Box::from).collect();
    let pass_args = sorted_arguments(names);
    let bucket_in_path = Some(&b"bucket"[..]);
    let target = Target { bucket_in_path, key: checked, args, pass_args: &pass_args, own: &[] };
    let out = written(&target);

    let (path, query) = match out.iter().position(|&b| b == b'?') {
        Some(at) => (&out[..at], Some(&out[at + 1..])),
        None => (&out[..], None),
    };
    assert_eq!(decode(path, true), [b"/bucket/", key].concat());
    let mut names = Vec::new();
    for arg in query.iter().flat_map(|q| q.split(|&b| b == b'&')) {
        let at = arg.iter().position(|&b| b == b'=').expect("an equals sign");
        names.push(&arg[..at]);
        decode(&arg[at + 1..], false);
    }
    assert!(names.is_sorted_by(|a, b| a < b), "signed in this order");
    for name in names {
        let name = decode(name, false);
        assert!(pass_args.iter().any(|pass| **pass == name));
    }
}
