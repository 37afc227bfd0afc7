//! Keys, and the request targets that ask for them.
#![no_main]

use fuzz::answer::{may_be_folder, with_slash};
use fuzz::object::{key_in_uri, sorted_arguments, Key, KeyError, Target, MAX_KEY};
use fuzz::{decode, fields};
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

    let _ = may_be_folder(key);
    if let Some(parts) = with_slash(uri) {
        let location = parts.concat();
        let path = location.split(|&b| b == b'?').next().unwrap();
        let (segment, rest) = path.split_at(path.iter().position(|&b| b == b'/').unwrap());
        assert!(!segment.is_empty() && !segment.contains(&b':'), "it stays on this host");
        assert!(rest == b"/" || segment == b"." && !rest.starts_with(b"//"));
    }
});

fn write(key: &[u8], checked: Key, args: &[u8], names: &[u8]) {
    let names = names.split(|&b| b == b',').filter(|n| !n.is_empty()).map(Box::from).collect();
    let pass_args = sorted_arguments(names);
    let target =
        Target { bucket_in_path: Some(b"bucket"), key: checked, args, pass_args: &pass_args };
    let mut out = vec![0; target.len()];
    assert_eq!(target.write(&mut out), out.len());

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
